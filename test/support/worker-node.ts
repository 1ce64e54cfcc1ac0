import { type LinkedNode, linksTo, nodeOf } from './cluster.ts'
import { startWorker } from './worker.ts'

interface WorkerNodeOptions {
  readonly name: string
  /** Where its Durable Objects and its KV stay. */
  readonly folder: string
  readonly primary: { readonly url: string; readonly databaseUrl: string }
  /** Of the primary's database. */
  readonly token: string
  readonly port: number
}

/** A Worker as a node of a cluster, behind links of its own: its process is workerd. */
export async function startWorkerNode({ name, folder, primary, token, port }: WorkerNodeOptions) {
  const links = await linksTo(primary)
  const env = {
    ...{ PRIMARY_ORIGIN: links.primary.origin, LIBSQL_URL: links.database.origin, LIBSQL_TOKEN: token },
    ...{ PUBLIC_TENANT: 'demo', REGION: name },
  }
  const node = await nodeOf(name, async () => {
    const worker = await startWorker({ env, folder, port })
    const ended = Promise.withResolvers<number | null>()
    return {
      ...worker,
      exited: ended.promise,
      async end(signal: 'SIGKILL' | 'SIGTERM') {
        await (signal === 'SIGKILL' ? worker.kill() : worker.stop())
        const code = signal === 'SIGKILL' ? null : 0
        ended.resolve(code)
        return code
      },
    }
  })
  return Object.assign(node, { links } satisfies Pick<LinkedNode, 'links'>)
}
