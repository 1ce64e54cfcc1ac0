import process from 'node:process'
import { nodeSqlite } from '../store/node-sqlite.ts'
import { fileStore } from './file-store.ts'
import { drainMsMax, type Listen, unusable, urlAt } from './listening.ts'
import { CommandError } from './node.ts'
import type { Runtime } from './server.ts'
import { readSettings, type Settings, SettingsError } from './settings.ts'
import { serveStandalone, startOn } from './standalone.ts'

/** What of Deno is used (docs.deno.com, API of Deno.serve). */
declare const Deno: {
  readonly args: readonly string[]
  serve(
    options: { hostname: string; port: number; automaticCompression: boolean; onListen(): void },
    handler: (request: Request, info: { readonly remoteAddr: { readonly hostname: string } }) => Promise<Response>,
  ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> }
}

const deno: Runtime = {
  listen,
  storeOf({ libsql, dataDir }: Settings) {
    if (libsql) throw new SettingsError('LIBSQL_URL is set: on Deno a node is standalone, with a file of its own.')
    return fileStore(dataDir, nodeSqlite)
  },
  hasEdges: () => false,
}

function listen(at: Parameters<Listen>[0], fetch: Parameters<Listen>[1]): ReturnType<Listen> {
  const server = serve(at, fetch)
  const { port } = server.addr
  return {
    ...{ url: urlAt(at.host, port), port },
    async stop() {
      let timer: ReturnType<typeof setTimeout> | undefined
      const late = new Promise<void>((go) => {
        timer = setTimeout(go, drainMsMax)
      })
      await Promise.race([server.shutdown(), late])
      clearTimeout(timer)
    },
  }
}

function serve(at: Parameters<Listen>[0], fetch: Parameters<Listen>[1]) {
  try {
    // What is compressed would need an ETag of its own.
    const options = { hostname: at.host, port: at.port, automaticCompression: false, onListen: () => undefined }
    return Deno.serve(options, async (request, { remoteAddr }) =>
      fetch(request, { requestIP: () => ({ address: remoteAddr.hostname }) }),
    )
  } catch (error) {
    const { name, message } = error as Error
    throw unusable(at, Object.assign(new Error(message), name === 'AddrInUse' && { code: 'EADDRINUSE' }))
  }
}

const usage = `bun run deno [serve]

Without "serve", migrates the database, fills it with data and serves, as "bun start" does. With it, serves the data folder
as it is, as "bun run serve" does; "bun run migrate" and "bun run keys" work on the same folder. Settings are those of
"bun run serve --help" for a node with a file of its own.`

try {
  const [command = 'start', ...more] = Deno.args
  if (more.length > 0 || !['start', 'serve'].includes(command)) throw new CommandError(usage)
  if (command === 'start') await startOn(deno)
  else await serveStandalone(deno, readSettings(process.env, null))
} catch (error) {
  if (!(error instanceof CommandError || error instanceof SettingsError)) throw error
  console.error(error.message)
  process.exit(error instanceof SettingsError ? 2 : 1)
}
