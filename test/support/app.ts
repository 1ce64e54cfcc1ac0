import { databaseFile, fileStore } from '../../src/entry/file-store.ts'
import { type Node, openNode } from '../../src/entry/node.ts'
import { openApi } from '../../src/entry/open-api.ts'
import { type App, createApp } from '../../src/http/app.ts'
import { Metrics } from '../../src/http/metrics.ts'
import type { AppOptions } from '../../src/http/service.ts'
import { model } from '../../src/model/index.ts'
import type { TenantId } from '../../src/schema/access.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { type KeyOptions, newKey } from './keys.ts'
import { temporaryFolder } from './server.ts'
import { noTargets } from './targets.ts'

/** The app over a real database, without a socket: for tests that count or that turn the clock. */
export interface TestApp {
  readonly app: App
  readonly node: Node
  readonly databaseFile: string
  /** What `onFault` was told: faults of ours, of which there must be none. */
  readonly faults: unknown[]
  key(options?: KeyOptions): Promise<string>
  stop(): Promise<void>
}

/** `change` replaces parts of the app's options, such as the clock. */
export async function testApp(change: (options: AppOptions) => Partial<AppOptions> = () => ({})): Promise<TestApp> {
  const folder = temporaryFolder()
  await fileStore(folder.path, bunSqlite).migrate()
  const faults: unknown[] = []
  const node = await openNode(fileStore(folder.path, bunSqlite), model, (error) => {
    throw error
  })
  const options: AppOptions = {
    ...node,
    now: Date.now,
    elapsed: () => performance.now(),
    metrics: new Metrics(() => performance.now()),
    publicTenant: 'demo' as TenantId,
    allowedOrigins: new Set(),
    targets: noTargets,
    region: 'test',
    unready: () => null,
    openApi,
    docsScript: async () => new Response(''),
    onFault: (error) => void faults.push(error),
  }
  return {
    app: createApp({ ...options, ...change(options) }),
    node,
    databaseFile: databaseFile(folder.path),
    faults,
    key: (options) => newKey(node.primary, options),
    async stop() {
      await node.close()
      folder.remove()
    },
  }
}
