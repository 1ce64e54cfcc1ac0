import { expect } from 'bun:test'
import type { KeyOptions } from '../support/keys.ts'
import { type Answer, type CallOptions, call } from '../support/server.ts'
import type { RunningTarget } from './target.ts'

/** One request, as some caller. */
export type Ask = (method: string, path: string, options?: Pick<CallOptions, 'body' | 'headers'>) => Promise<Answer>

/** A part of the story: each sentence, and what holds it against a target. */
export type Chapter = Readonly<Record<string, (world: World) => Promise<void>>>

/** A record, as an answer shows it. */
export type Shown = Answer['body']

/**
 * A target as the sentences use it. Its callers are one session: with each request goes the Consistency-Token of the last
 * write, whoever wrote, so that whoever asks is shown it. What a sentence writes at once, it reads with `strong`.
 */
export interface World extends Pick<RunningTarget, 'url' | 'key' | 'tokenFromBefore'> {
  /** A back end of the tenant `demo`. */
  readonly service: Ask
  readonly anonymous: Ask
  as(options: KeyOptions): Promise<Ask>
  /** With this key or none, outside of the session: it sends no token but what the request has. */
  outside(key: string | null): Ask
  /** A text that nothing at the target has, of letters and digits. */
  unique(): string
  newUser(more?: object): Promise<Shown>
  /** A published post, of a new author unless `more` names one. */
  newPost(more?: object): Promise<Shown>
  newTag(): Promise<Shown>
}

export async function worldAt(target: RunningTarget): Promise<World> {
  const { url } = target
  const run = Date.now().toString(36)
  let made = 0
  let token: string | null = null
  const outside = (key: string | null): Ask => {
    return (method, path, options = {}) => call(url, method, path, { ...options, key })
  }
  const inSession = (ask: Ask): Ask => {
    return async (method, path, { headers, ...options } = {}) => {
      const session: Record<string, string> = token === null ? {} : { 'Consistency-Token': token }
      const answer = await ask(method, path, { ...options, headers: { ...session, ...headers } })
      const hasWritten = !['GET', 'HEAD', 'OPTIONS'].includes(method) && answer.status < 300
      if (hasWritten && !answer.headers.has('idempotency-replayed')) token = answer.headers.get('consistency-token')
      return answer
    }
  }
  const keys = new Map<string, Promise<string>>()
  const key = (options: KeyOptions = {}) => {
    const name = JSON.stringify(options)
    const known = keys.get(name) ?? target.key(options)
    keys.set(name, known)
    return known
  }
  const as = async (options: KeyOptions) => inSession(outside(await key(options)))
  const service = await as({})
  const unique = () => `n${++made}x${run}`
  const create = async (path: string, body: object): Promise<Shown> => {
    const answer = await service('POST', path, { body })
    expect([answer.body, answer.status]).toEqual([answer.body, 201])
    return answer.body
  }
  const newUser: World['newUser'] = (more) => create('/users', { handle: unique(), name: 'Ada Lovelace', ...more })
  return {
    ...{ url, key, as, outside, service, unique, newUser },
    anonymous: inSession(outside(null)),
    tokenFromBefore: () => target.tokenFromBefore(),
    async newPost(more = {}) {
      const post = { slug: unique(), title: 'On engines', status: 'published', ...more }
      if ('authorId' in post) return create('/posts', post)
      const author = { handle: unique(), name: 'Ada Lovelace' }
      const commands = [
        { do: 'create', resource: 'users', as: 'author', body: author },
        { do: 'create', resource: 'posts', body: { authorId: { $ref: 'author' }, ...post } },
      ]
      const { status, body } = await service('POST', '/batch', { body: { commands } })
      expect([body, status]).toEqual([body, 200])
      return body.results[1].record
    },
    newTag: () => create('/tags', { name: unique() }),
  }
}

export const tokenOf = ({ headers }: Answer) => headers.get('consistency-token') ?? ''
export const tagOf = ({ headers }: Answer) => headers.get('etag') ?? ''

/** The path of a link of an answer. */
export function linkOf({ headers }: Answer, relation: string): string | null {
  return new RegExp(`<([^>]+)>; rel="${relation}"`).exec(headers.get('link') ?? '')?.[1] ?? null
}

/** The status of a refusal, the code of its problem, and what it says is wrong. */
export function refusalOf({ status, body }: Answer): [status: number, code: string, ...where: string[]] {
  const faults: Record<string, string>[] = body?.errors ?? []
  const where = faults.map(({ pointer, parameter, header }) => pointer ?? parameter ?? header ?? '')
  return [status, String(body?.type).replace('/problems/', ''), ...where.toSorted()]
}
