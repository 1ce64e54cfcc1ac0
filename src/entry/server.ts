import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { createApp } from '../http/app.ts'
import { Metrics } from '../http/metrics.ts'
import { baseHeaders } from '../http/present.ts'
import type { TenantId } from '../schema/access.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import { buildViews } from '../version/view.ts'
import { Dispatcher } from '../webhook/dispatcher.ts'
import { type ResolveHost, Targets } from '../webhook/target.ts'
import { requireFilled } from './backfill.ts'
import type { Listen } from './listening.ts'
import { runMaintenance } from './maintenance.ts'
import { type Node, openNode, projectRoot, type Store } from './node.ts'
import { nudgeEdges } from './nudges.ts'
import { openApi } from './open-api.ts'
import { resolveHost } from './resolve-host.ts'
import type { Settings } from './settings.ts'
import { openShared, type Shared, shareAtPrimary } from './shared.ts'

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

/** What tests put in the place of this machine's own: the clock that webhooks go by, and where hosts are. */
export interface Surroundings {
  readonly now?: () => number
  readonly resolveHost?: ResolveHost
  readonly sendMsMax?: number
}

/** What a runtime has for a node that serves. */
export interface Runtime {
  storeOf(settings: Settings): Store
  listen: Listen
  /** Whether other nodes can read the database that the settings name. */
  hasEdges(settings: Settings): boolean
}

/** Serves a migrated database over HTTP. */
export async function serveOn(
  { storeOf, listen, hasEdges }: Runtime,
  settings: Settings,
  model: Model,
  health?: Health,
  { now = Date.now, resolveHost: resolve = resolveHost, sendMsMax = limits.sendMsMax }: Surroundings = {},
): Promise<RunningServer> {
  const store = storeOf(settings)
  let dispatcher: Dispatcher | undefined
  const onDeath = (error: Error) => {
    console.error(`perigee: ${error.message}`)
    process.exit(70)
  }
  const node = await openNode(store, model, onDeath, () => dispatcher?.learnCommit())
  await closingWhere(node, () => requireFilled(store, node))
  let stopping = false
  const nudges = nudgeEdges(settings.edgeOrigins, node.sealer)
  const more = () => [...(dispatcher?.metrics() ?? []), ...nudges.metrics(), ...(health?.metrics() ?? [])]
  const shared = await openShared(settings)
  const { stop: stopSharing, ...sharing } = shareAtPrimary(shared, node, settings.region, hasEdges(settings))
  const parts = processParts(settings, shared, more, resolve)
  const app = createApp({
    ...node,
    ...parts,
    ...sharing,
    onWritten(position) {
      sharing.onWritten?.(position)
      nudges.onWritten(position)
    },
    unready: () => (stopping ? 'The server is stopping.' : (health?.unready() ?? null)),
  })
  const listening = await closingWhere(node, () => listen(settings, app.fetch))
  const maintenance = runMaintenance(node, settings)
  const onFault = (error: Error) => console.error(`perigee: webhooks: ${error.message}`)
  const { targets } = parts
  dispatcher = new Dispatcher({ ...node, views: buildViews(model), targets, now, sendMsMax, onFault })
  return {
    url: listening.url,
    node,
    async stop() {
      stopping = true
      maintenance.stop()
      app.close()
      await Promise.all([listening.stop(), maintenance.stopped, dispatcher.stop()])
      await Promise.all([stopSharing(), nudges.stop()])
      await node.close()
    },
  }
}

/** Closes the node where what it is opened for fails. */
async function closingWhere<T>(node: Node, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    await node.close()
    throw error
  }
}

/** What an app is given of this process, on every kind of node. */
export function processParts(
  settings: Settings,
  shared: Shared,
  metrics: Health['metrics'] = () => [],
  resolve: ResolveHost = resolveHost,
) {
  const elapsed = () => performance.now()
  return {
    now: Date.now,
    elapsed,
    metrics: new Metrics(elapsed, () => [...metrics(), ...shared.metrics()]),
    ...(shared.rateLimits && { rateLimits: shared.rateLimits }),
    publicTenant: settings.publicTenant as TenantId | null,
    allowedOrigins: new Set(settings.allowedOrigins),
    region: settings.region,
    targets: new Targets(resolve, new Set(settings.webhookOrigins)),
    openApi,
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
  const file = join(projectRoot, 'node_modules', '@scalar', 'api-reference', 'dist', 'browser', 'standalone.js')
  return new Uint8Array(gzipSync(await readFile(file), { level: 6 }))
}
