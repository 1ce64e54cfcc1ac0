import { type App, createApp } from '../http/app.ts'
import { Metrics } from '../http/metrics.ts'
import { baseHeaders } from '../http/present.ts'
import type { TenantId } from '../schema/access.ts'
import type { Model } from '../schema/model.ts'
import { runMaintenance } from './maintenance.ts'
import { type Node, openNode, projectRoot } from './node.ts'
import { type Settings, SettingsError } from './settings.ts'
import { storeOf } from './stores.ts'

export interface RunningServer {
  readonly url: string
  readonly node: Node
  /** Stops taking requests, finishes those in flight, closes the database. */
  stop(): Promise<void>
}

/** How long requests in flight may take to finish when the server stops. */
const stopMsMax = 10_000

/** Serves a migrated data folder over HTTP with Bun. */
export async function startServer(settings: Settings, model: Model): Promise<RunningServer> {
  const node = await openNode(storeOf(settings), model, (error) => {
    console.error(`perigee: ${error.message}`)
    process.exit(70)
  })
  let stopping = false
  const elapsed = () => performance.now()
  const app = createApp({
    ...node,
    now: Date.now,
    elapsed,
    metrics: new Metrics(elapsed),
    publicTenant: settings.publicTenant as TenantId | null,
    allowedOrigins: new Set(settings.allowedOrigins),
    region: settings.region,
    unready: () => (stopping ? 'The server is stopping.' : null),
    docsScript,
    onFault: (error, requestId) => console.error(`perigee: request ${requestId} failed:`, error),
  })

  const server = await listen(settings, app).catch(async (error: Error) => {
    await node.close()
    throw error
  })
  const maintenance = runMaintenance(node)
  return {
    url: `http://${settings.host.includes(':') ? `[${settings.host}]` : settings.host}:${server.port}`,
    node,
    async stop() {
      stopping = true
      maintenance.stop()
      server.stop(false)
      const deadline = performance.now() + stopMsMax
      while (server.pendingRequests > 0 && performance.now() < deadline) await Bun.sleep(5)
      await maintenance.stopped
      await server.stop(true)
      await node.close()
    },
  }
}

async function listen(settings: Settings, app: Pick<App, 'fetch'>) {
  try {
    return Bun.serve({
      port: settings.port,
      hostname: settings.host,
      idleTimeout: 30,
      development: false,
      // Bun would answer a large body itself, with an empty 413; the app refuses it before it is read.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch: app.fetch,
    })
  } catch (error) {
    const { code, message } = error as Error & { code?: string }
    if (code === 'EADDRINUSE')
      throw new SettingsError(`PORT=${settings.port} of HOST=${settings.host} is in use: choose another PORT.`)
    throw new SettingsError(
      `HOST=${settings.host} with PORT=${settings.port} cannot be listened on: ${message}. Choose an address of this machine and a port that is free to you.`,
    )
  }
}

/** Throws a SettingsError where HOST and PORT cannot be listened on, before anything is done for it. */
export async function checkAddress(settings: Settings) {
  const server = await listen(settings, { fetch: () => new Response(null, { status: 503 }) })
  await server.stop(true)
}

/** Scalar's script, from its package: 4 MB, so pressed once, when the page is first asked for. */
let docsScriptBytes: Promise<Uint8Array<ArrayBuffer>> | undefined

async function docsScript(): Promise<Response> {
  docsScriptBytes ??= readDocsScript()
  return new Response(await docsScriptBytes, {
    headers: {
      ...baseHeaders,
      'Content-Type': 'text/javascript; charset=utf-8',
      'Content-Encoding': 'gzip',
      'Cache-Control': 'public, max-age=86400',
    },
  })
}

async function readDocsScript(): Promise<Uint8Array<ArrayBuffer>> {
  const file = Bun.file(`${projectRoot}/node_modules/@scalar/api-reference/dist/browser/standalone.js`)
  return Bun.gzipSync(await file.bytes(), { level: 6 })
}
