import { healthOf, type Replicated, type SaysHealth } from './replicated.ts'
import type { Answer } from './server.ts'
import { startWorker, type TestWorker, type WorkerOptions } from './worker.ts'

/** A Worker edge over the primary of a test, one region for all callers. */
export interface WorkerEdge extends TestWorker, SaysHealth {
  readonly folder: string
  /** Tells it of a position by `POST /nudge`. */
  nudge(token: string): Promise<Answer>
}

/** With these settings beside its own, or without one where it is null, over what another Worker left in the folder. */
export async function workerEdge(
  world: Replicated,
  env: Readonly<Record<string, string | null>> = {},
  options: Partial<Omit<WorkerOptions, 'env'>> = {},
): Promise<WorkerEdge> {
  const folder = options.folder ?? world.newFolder()
  const { origin, sqld } = world
  const own = { PRIMARY_ORIGIN: origin, LIBSQL_URL: sqld.url, LIBSQL_TOKEN: sqld.readOnlyToken, REGION: 'edge' }
  const given = Object.entries({ ...own, ...env }).filter((each): each is [string, string] => each[1] !== null)
  const worker = await startWorker({ ...options, folder, env: Object.fromEntries(given) })
  const call: WorkerEdge['call'] = (method, path, more) => worker.call(method, path, { key: world.key, ...more })
  return {
    ...worker,
    ...{ folder, call },
    ...healthOf(call),
    nudge: (token) => call('POST', '/nudge', { key: null, headers: { 'Consistency-Token': token } }),
  }
}
