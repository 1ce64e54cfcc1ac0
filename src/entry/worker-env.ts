import { Problem } from '../problem.ts'
import type { TenantId } from '../schema/access.ts'
import type { Model } from '../schema/model.ts'
import type { View } from '../version/view.ts'
import type { ReplicaObject } from './replica-object.ts'
import { readWorkerSettings, type WorkerSettings } from './settings.ts'

/** What wrangler.toml binds. Settings and secrets are texts beside these. */
export interface WorkerEnv {
  readonly REPLICA: DurableObjectNamespace<ReplicaObject>
  /** Answers that every location has at hand; absent for none. */
  readonly CACHE?: KVNamespace
  /** What `worker-assets.ts` writes. */
  readonly ASSETS?: Fetcher
}

export function settingsOf(env: WorkerEnv): WorkerSettings {
  const texts = Object.entries(env).filter(([, value]) => typeof value === 'string')
  return readWorkerSettings(Object.fromEntries(texts))
}

export const now = () => Date.now()
export const elapsed = () => performance.now()

/** What an app is given of its Worker, and of its copy alike. */
export function workerParts(env: WorkerEnv, { publicTenant, allowedOrigins }: WorkerSettings) {
  return {
    ...{ now, elapsed },
    publicTenant: publicTenant as TenantId | null,
    allowedOrigins: new Set(allowedOrigins),
    openApi: async (_: Model, { version }: View) => {
      const document = await asset(env, `openapi-${version.date}.json`)
      if (document === null) throw new Problem('not-found', { detail: 'This Worker was made without its documents.' })
      return document.text()
    },
    docsScript: async () => (await asset(env, 'scalar.js')) ?? new Response(null, { status: 404 }),
    onFault: (error: unknown, requestId: string) => console.error(`perigee: request ${requestId} failed:`, error),
  }
}

/** A file that was deployed beside the program, see `worker-assets.ts`; null where there is none. */
async function asset({ ASSETS }: WorkerEnv, name: string): Promise<Response | null> {
  const found = await ASSETS?.fetch(`https://assets.internal/${name}`)
  return found?.ok ? new Response(found.body, found) : null
}

/** The names under which a region's copy of a history keeps answers in KV. */
export function kvPrefix(region: string, epoch: string): string {
  return `answer:${region}:${epoch}:`
}

/** The names under which regions say that they have a copy. */
export const replicaPrefix = 'replica:'
