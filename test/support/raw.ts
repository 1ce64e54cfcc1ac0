import { Database } from 'bun:sqlite'
import type { SQLiteTable } from 'drizzle-orm/sqlite-core'
import { makeStrict } from '../../src/entry/generate.ts'
import { modelTriggers } from '../../src/entry/triggers.ts'
import type { Model } from '../../src/schema/model.ts'
import * as engineTables from '../../src/store/tables.ts'

/**
 * Databases of a model for tests that write raw SQL: each `open` answers another one, empty, in memory, with foreign keys
 * on. The tables are made once, because drizzle-kit takes its time.
 */
export async function databaseCopies(model: Model, tables: readonly SQLiteTable[]): Promise<() => Database> {
  const { generateSQLiteDrizzleJson, generateSQLiteMigration } = await import('drizzle-kit/api')
  const wanted = await generateSQLiteDrizzleJson({ ...engineTables, ...tables })
  const statements = await generateSQLiteMigration(await generateSQLiteDrizzleJson({}), wanted)
  using made = new Database(':memory:')
  for (const sql of [...statements.map(makeStrict), ...modelTriggers(model).map((trigger) => trigger.sql)])
    made.run(sql)
  made.run('insert into context(one) values (1)')
  const bytes = made.serialize()
  return () => {
    const database = Database.deserialize(bytes)
    database.run('pragma foreign_keys = on')
    return database
  }
}
