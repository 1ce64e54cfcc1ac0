import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startServer } from '../../src/entry/bun.ts'
import { databaseFile } from '../../src/entry/file-store.ts'
import type { Node } from '../../src/entry/node.ts'
import type { Surroundings } from '../../src/entry/server.ts'
import { readSettings, type Settings } from '../../src/entry/settings.ts'
import { storeOf } from '../../src/entry/stores.ts'
import { model } from '../../src/model/index.ts'
import { type KeyOptions, newKey } from './keys.ts'

/** A real server on a free port over a real, empty, migrated database in a folder of its own. */
export interface TestServer {
  readonly url: string
  readonly dataDir: string
  readonly databaseFile: string
  readonly node: Node
  key(options?: KeyOptions): Promise<string>
  /** One request. `body` is sent as JSON, or as merge patch with PATCH; `key` null sends none. */
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  stop(): Promise<void>
}

export interface CallOptions {
  readonly key?: string | null
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of many shapes.
export type Answer = { status: number; headers: Headers; text: string; body: any }

export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'perigee-test-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** Its read models stand still: what they write by themselves would come between the changes that a test counts. */
const stillModel = { ...model, projections: [] }

/** Over a file, or over the `libsql` server; with `follows`, its read models follow. */
export async function testServer(
  {
    follows = false,
    ...given
  }: Partial<
    Pick<Settings, 'publicTenant' | 'allowedOrigins' | 'libsql' | 'webhookOrigins' | 'redis' | 'rateLimits'>
  > & {
    follows?: boolean
  } = {},
  surroundings: Surroundings = {},
): Promise<TestServer> {
  const folder = temporaryFolder()
  const settings: Settings = {
    ...readSettings({}, 'demo'),
    ...{ port: 0, dataDir: folder.path, region: 'test' },
    ...given,
  }
  await storeOf(settings).migrate()
  const server = await startServer(settings, follows ? model : stillModel, undefined, surroundings)
  const { node } = server
  const makeKey: TestServer['key'] = (options) => newKey(node.primary, options)
  const defaultKey = await makeKey()
  return {
    url: server.url,
    dataDir: folder.path,
    databaseFile: databaseFile(folder.path),
    node,
    key: makeKey,
    call: (method, path, { key = defaultKey, ...options } = {}) => call(server.url, method, path, { ...options, key }),
    async stop() {
      await server.stop()
      folder.remove()
    },
  }
}

export async function call(
  url: string,
  method: string,
  path: string,
  { key, body, headers }: CallOptions = {},
): Promise<Answer> {
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
  const response = await fetch(url + path, {
    method,
    redirect: 'manual',
    headers: {
      ...(key ? { Authorization: `Bearer ${key}` } : {}),
      ...(body === undefined ? {} : { 'Content-Type': type }),
      ...headers,
    },
    ...(body === undefined
      ? {}
      : { body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, body: text === '' ? null : parseOrText(text) }
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
