import { type App, createApp } from '../http/app.ts'
import { Metrics } from '../http/metrics.ts'
import { baseHeaders } from '../http/present.ts'
import type { TenantId } from '../schema/access.ts'
import type { Model } from '../schema/model.ts'
import { type Listening, listen } from './listen.ts'
import { runMaintenance } from './maintenance.ts'
import { type Node, openNode, projectRoot } from './node.ts'
import type { Settings } from './settings.ts'
import { openShared, type Shared, shareAtPrimary } from './shared.ts'
import { storeOf } from './stores.ts'

export interface RunningServer {
  readonly url: string
  readonly node: Node
  /** Stops taking requests, finishes those in flight, closes the database. */
  stop(): Promise<void>
}

/** What more there is to say of a node's health: why it is not ready, or null, and lines of `/metrics`. */
export interface Health {
  unready(): string | null
  metrics(): readonly string[]
}

/** Serves a migrated database over HTTP with Bun. */
export async function startServer(settings: Settings, model: Model, health?: Health): Promise<RunningServer> {
  const node = await openNode(storeOf(settings), model, (error) => {
    console.error(`perigee: ${error.message}`)
    process.exit(70)
  })
  let stopping = false
  const shared = await openShared(settings)
  const { stop: stopSharing, ...sharing } = shareAtPrimary(shared, node, settings)
  const app = createApp({
    ...node,
    ...processParts(settings, shared, health?.metrics),
    ...sharing,
    unready: () => (stopping ? 'The server is stopping.' : (health?.unready() ?? null)),
  })
  const listening = await listenOrClose(settings, app, node)
  const maintenance = runMaintenance(node, settings.logDays)
  return {
    url: listening.url,
    node,
    async stop() {
      stopping = true
      maintenance.stop()
      app.close()
      await Promise.all([listening.stop(), maintenance.stopped])
      await stopSharing()
      await node.close()
    },
  }
}

async function listenOrClose(settings: Settings, app: App, node: Node): Promise<Listening> {
  try {
    return listen(settings, app.fetch)
  } catch (error) {
    await node.close()
    throw error
  }
}

/** What an app is given of this process, on every kind of node. */
export function processParts(settings: Settings, shared: Shared, metrics: Health['metrics'] = () => []) {
  const elapsed = () => performance.now()
  return {
    now: Date.now,
    elapsed,
    metrics: new Metrics(elapsed, () => [...metrics(), ...shared.metrics()]),
    ...(shared.rateLimits && { rateLimits: shared.rateLimits }),
    publicTenant: settings.publicTenant as TenantId | null,
    allowedOrigins: new Set(settings.allowedOrigins),
    region: settings.region,
    docsScript,
    onFault: (error: unknown, requestId: string) => console.error(`perigee: request ${requestId} failed:`, error),
  }
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
