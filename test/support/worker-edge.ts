import { healthOf, type Replicated, type SaysHealth } from './replicated.ts'
import type { Answer } from './server.ts'
import { startWorker, type TestWorker, type WorkerOptions } from './worker.ts'

/** A Worker edge over the primary of a test, one region for all callers. */
export interface WorkerEdge extends TestWorker, SaysHealth {
  readonly folder: string
  /** Tells it of a position by `POST /nudge`. */
  nudge(token: string): Promise<Answer>
}

/** With these settings beside its own, over what another Worker left in the folder. */
export async function workerEdge(
  world: Replicated,
  env: WorkerOptions['env'] = {},
  options: Partial<Omit<WorkerOptions, 'env'>> = {},
): Promise<WorkerEdge> {
  const folder = options.folder ?? world.newFolder()
  const { origin, sqld } = world
  const own = { PRIMARY_ORIGIN: origin, LIBSQL_URL: sqld.url, LIBSQL_TOKEN: sqld.readOnlyToken, REGION: 'edge' }
  const worker = await startWorker({ ...options, folder, env: { ...own, ...env } })
  const call: WorkerEdge['call'] = (method, path, more) => worker.call(method, path, { key: world.key, ...more })
  return {
    ...worker,
    ...{ folder, call },
    ...healthOf(call),
    nudge: (token) => call('POST', '/nudge', { key: null, headers: { 'Consistency-Token': token } }),
  }
}
