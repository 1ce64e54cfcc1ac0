import { Database } from 'bun:sqlite'
import { digest } from '../../src/entry/node-identity.ts'

import type { App } from '../../src/http/app.ts'
import type { Model } from '../../src/schema/model.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { openReader } from '../../src/store/file-reader.ts'
import type { Reader } from '../../src/store/reader.ts'
import { makeDatabase, readingApp, watched } from './database.ts'
import { type CallerSpec, Oracle } from './oracle.ts'
import {
  type Draw,
  declare,
  type Items,
  insertItems,
  type ModelSpec,
  randomItems,
  randomModel,
} from './random-model.ts'
import { randomCallers } from './random-query.ts'
import { temporaryFolder } from './server.ts'

/** A random model over a database of random records, the app that serves it, and what it must answer. */
export interface World {
  readonly spec: ModelSpec
  readonly items: Items
  readonly model: Model
  readonly reader: Reader
  readonly oracle: Oracle
  readonly callers: readonly CallerSpec[]
  /** Every statement that was run, in order. */
  readonly statements: string[]
  get(caller: CallerSpec, path: string): Promise<WorldAnswer>
}

export interface WorldAnswer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of many shapes.
  readonly body: any
  /** The targets of the Link header by their relation. */
  readonly links: Readonly<Record<string, string>>
}

/** Makes a random world, shows it, and takes it down. */
export function inRandomWorld(draw: Draw, visit: (world: World) => Promise<void>): Promise<void> {
  const spec = randomModel(draw)
  const items = randomItems(draw, spec)
  return inWorld(spec, items, randomCallers(draw, items), visit)
}

export async function inWorld(
  spec: ModelSpec,
  items: Items,
  callers: readonly CallerSpec[],
  visit: (world: World) => Promise<void>,
): Promise<void> {
  const folder = temporaryFolder()
  const declared = declare(spec)
  const file = await makeDatabase(folder.path, declared)
  insertItems(file, spec, items)
  const keyOf = insertKeys(file, callers)
  const reader = openReader(file, bunSqlite)
  const statements: string[] = []
  const app = readingApp(
    declared.model,
    watched(reader, (sql) => statements.push(sql)),
  )
  try {
    await visit({
      ...{ spec, items, model: declared.model, reader, callers, statements },
      oracle: new Oracle(spec, items),
      get: (caller, path) => get(app, path, keyOf.get(caller)),
    })
  } finally {
    reader.close()
    folder.remove()
  }
}

function insertKeys(file: string, callers: readonly CallerSpec[]): Map<CallerSpec, string> {
  const database = new Database(file, { strict: true })
  database.run('PRAGMA synchronous = OFF')
  const insert = database.prepare(
    'insert into keys(hash, id, tenant, scopes, subject, createdAt) values (?, ?, ?, ?, ?, ?)',
  )
  const keyOf = new Map<CallerSpec, string>()
  for (const [i, caller] of callers.entries()) {
    if (caller.kind === 'anonymous') continue
    const key = `pgk_${String(i).padStart(43, '0')}`
    keyOf.set(caller, key)
    insert.run(digest(key), `k${i}`, caller.tenant, ['read', ...caller.scopes].join(' '), caller.subject, '')
  }
  database.close()
  return keyOf
}

export async function get(app: App, path: string, key?: string): Promise<WorldAnswer> {
  const headers: Record<string, string> = { Host: 'perigee.test', ...(key ? { Authorization: `Bearer ${key}` } : {}) }
  const response = await app.fetch(new Request(`http://perigee.test${path}`, { headers }))
  const text = await response.text()
  const targets = [...(response.headers.get('link') ?? '').matchAll(/<([^>]*)>; rel="(\w+)"/g)]
  return {
    status: response.status,
    body: text === '' ? null : JSON.parse(text),
    links: Object.fromEntries(targets.map(([, target = '', relation = '']) => [relation, target])),
  }
}
