import { Database } from 'bun:sqlite'
import { startServer } from '../../src/entry/bun.ts'
import { databaseFile } from '../../src/entry/file-store.ts'
import { makeStrict } from '../../src/entry/generate.ts'
import { migrationsFolder } from '../../src/entry/node.ts'
import { digest } from '../../src/entry/node-identity.ts'
import { readSettings } from '../../src/entry/settings.ts'
import { modelTriggers } from '../../src/entry/triggers.ts'
import { type App, createApp } from '../../src/http/app.ts'
import { Metrics } from '../../src/http/metrics.ts'
import { createTokenSealer, type Epoch } from '../../src/log/position.ts'
import type { TenantId } from '../../src/schema/access.ts'
import type { IdentifiedTable } from '../../src/schema/columns.ts'
import type { Model } from '../../src/schema/model.ts'
import { migrationsOf } from '../../src/store/migrations.ts'
import type { Reader } from '../../src/store/reader.ts'
import * as engineTables from '../../src/store/tables.ts'
import { newKey } from './keys.ts'
import { call, type TestServer, temporaryFolder } from './server.ts'
import { noTargets } from './targets.ts'

/** A model of a test's own, with the tables it is over. */
export interface ModelWithTables {
  readonly model: Model
  readonly tables: readonly IdentifiedTable[]
}

/**
 * Makes the database of a model that has no committed migrations: the tables as drizzle-kit makes them, STRICT as
 * `generate` makes them, the model's triggers, and the project's own migrations noted as applied.
 */
export async function makeDatabase(dataDir: string, { model, tables }: ModelWithTables): Promise<string> {
  const file = databaseFile(dataDir)
  const statements = await tableStatements(tables)
  const database = new Database(file, { create: true, strict: true })
  database.run('PRAGMA journal_mode = WAL')
  database.run('PRAGMA synchronous = OFF')
  database.transaction(() => {
    for (const sql of [...statements, ...modelTriggers(model).map((trigger) => trigger.sql)]) database.run(sql)
    database.run('insert into context(one) values (1)')
    database.run("insert into meta(name, value) values ('epoch', 'testepoch'), ('secret', 'a secret of the test')")
    database.run('create table __drizzle_migrations(id integer primary key, hash text, created_at numeric)')
    const applied = database.prepare("insert into __drizzle_migrations(hash, created_at) values ('', ?)")
    for (const { when } of migrationsOf(migrationsFolder)) applied.run(when)
  })()
  database.close()
  return file
}

async function tableStatements(tables: readonly IdentifiedTable[]): Promise<string[]> {
  const { generateSQLiteDrizzleJson, generateSQLiteMigration } = await import('drizzle-kit/api')
  const wanted: Record<string, unknown> = { ...engineTables }
  for (const [i, table] of tables.entries()) wanted[`table${i}`] = table
  const nothing = await generateSQLiteDrizzleJson({})
  const statements = await generateSQLiteMigration(nothing, await generateSQLiteDrizzleJson(wanted))
  return statements.map(makeStrict)
}

/** A real server of a model of the test's own, over a database made for it. */
export async function modelServer(declared: ModelWithTables): Promise<TestServer> {
  const folder = temporaryFolder()
  const file = await makeDatabase(folder.path, declared)
  const settings = { ...readSettings({}, 'demo'), port: 0, region: 'test', dataDir: folder.path }
  const server = await startServer(settings, declared.model)
  const { node } = server
  const makeKey: TestServer['key'] = (options) => newKey(node.primary, options)
  const defaultKey = await makeKey()
  return {
    url: server.url,
    dataDir: folder.path,
    databaseFile: file,
    node,
    key: makeKey,
    call: (method, path, { key = defaultKey, ...options } = {}) => call(server.url, method, path, { ...options, key }),
    async stop() {
      await server.stop()
      folder.remove()
    },
  }
}

/** A reader that tells of each statement before it runs. */
export function watched(reader: Reader, tell: (sql: string) => void): Reader {
  return {
    ...reader,
    rows(sql, args) {
      tell(sql)
      return reader.rows(sql, args)
    },
  }
}

export interface ReadingAppOptions {
  readonly publicTenant?: string | null
  readonly now?: () => number
  readonly secret?: string
}

/** The app over a reader, without a server around it and without a primary. Its faults end the test. */
export function readingApp(model: Model, reader: Reader, options: ReadingAppOptions = {}): App {
  const { publicTenant = 'demo', now = Date.now, secret = 'a secret of the test' } = options
  const sign = (text: string) => new Bun.CryptoHasher('sha256', secret).update(text).digest('base64url')
  const refuse = () => {
    throw new Error('this app reads only')
  }
  return createApp({
    model,
    reader,
    primary: { commit: refuse, stats: refuse, close: refuse },
    epoch: 'testepoch' as Epoch,
    sealer: createTokenSealer(sign),
    sign,
    digest,
    now,
    elapsed: () => performance.now(),
    metrics: new Metrics(() => performance.now()),
    newId: () => Bun.randomUUIDv7(),
    publicTenant: publicTenant as TenantId | null,
    allowedOrigins: new Set(),
    targets: noTargets,
    region: 'test',
    unready: () => null,
    openApi: refuse,
    docsScript: refuse,
    onFault: (error) => {
      throw error
    },
  })
}
