import type { Owner } from '../support/keys.ts'
import { until } from '../support/replicated.ts'
import { call } from '../support/server.ts'

/** A runtime that serves the API, as the conformance story sees it. */
export interface Target {
  readonly name: string
  /**
   * Starts it over the default model, migrated. Its read models follow; `demo` is its public tenant; pages of
   * `pageOrigin` may call it, and of no other origin. Resolves when it is ready.
   */
  start(): Promise<RunningTarget>
  /** What of the story does not hold there, each sentence with the reason. */
  readonly skips: Readonly<Record<string, string>>
}

/** All that the story knows of a target, and all that it may do there but to send requests. */
export interface RunningTarget extends Owner {
  /** Such as `http://127.0.0.1:8787`. Every request of the story goes there. */
  readonly url: string
  /** Ends it, and throws where it complained of anything. */
  stop(): Promise<void>
}

/** The origin of web pages that a target lets call it. */
export const pageOrigin = 'https://pages.example'

/** Settings that a target which is a process of its own needs from its environment for the story. */
export const storyEnv = { PUBLIC_TENANT: 'demo', ALLOWED_ORIGINS: pageOrigin }

/** What the owner of the database makes, once the node at `url` takes it: an edge does when its copy has it. */
export function ownerAt(url: string, owner: Owner): Owner {
  return {
    ...owner,
    async key(options) {
      const key = await owner.key(options)
      const isTaken = async () => (await call(url, 'GET', '/tags?limit=1', { key })).status !== 401
      await until(isTaken, () => `${url} does not take a key that was made`)
      return key
    },
  }
}
