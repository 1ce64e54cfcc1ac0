import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Soon } from '../soon.ts'
import type { Call } from './primary.ts'
import type { Row } from './reader.ts'

/** The migrations cannot be applied to the database, which is as it was. */
export class MigrationError extends Error {}

export interface Migration {
  readonly tag: string
  readonly when: number
}

/** One connection to a database that is to be migrated. Both reject with SQLite's own words. */
export interface MigratedDatabase {
  run(statements: readonly Call[]): Soon<void>
  rows(sql: string): Soon<readonly Row[]>
  /** Undoes what has not been committed. */
  undo(): Soon<void>
}

/** The committed migrations, oldest first, by drizzle-kit's journal. */
export function migrationsOf(folder: string): Migration[] {
  const journal = JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')) as { entries: Migration[] }
  return journal.entries
}

/** The migrations that the database has not had yet. */
export async function pendingIn(database: Pick<MigratedDatabase, 'rows'>, folder: string): Promise<Migration[]> {
  const has = await database.rows("select 1 from sqlite_master where name = '__drizzle_migrations'")
  const applied = has.length > 0 ? await database.rows('select created_at from __drizzle_migrations') : []
  // The times in the journal of those that were applied, in drizzle's own table.
  const times = new Set(applied.map(([when]) => Number(when)))
  return migrationsOf(folder).filter((migration) => !times.has(migration.when))
}

const begin = [
  'PRAGMA foreign_keys = OFF',
  // Immediate: of two processes that migrate at once, the second waits and finds the migrations done.
  'BEGIN IMMEDIATE',
  'CREATE TABLE IF NOT EXISTS __drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)',
].map(plain)

/**
 * Brings the database to the newest migration that `isWanted`, in one transaction, and gives it its epoch and secret
 * where it has none. Throws, changing nothing, where a migration fails or would leave a broken foreign key. Leaves
 * foreign keys off.
 */
export async function applyMigrations(database: MigratedDatabase, folder: string, isWanted = (_: Migration) => true) {
  try {
    await database.run(begin)
    for (const migration of (await pendingIn(database, folder)).filter(isWanted)) {
      await apply(database, folder, migration)
    }
    const broken = await database.rows('PRAGMA foreign_key_check')
    if (broken.length > 0) throw new MigrationError(`the migrations would leave ${broken.length} broken foreign keys`)
    const found = "insert or ignore into meta(name, value) values ('epoch', ?), ('secret', ?)"
    await database.run([{ sql: found, args: [randomText(8), randomText(43)] }, plain('COMMIT')])
  } catch (error) {
    await database.undo()
    throw error
  }
}

async function apply(database: MigratedDatabase, folder: string, { tag, when }: Migration) {
  const sql = readFileSync(join(folder, `${tag}.sql`), 'utf8')
  const statements = sql.split('--> statement-breakpoint').filter((statement) => statement.trim() !== '')
  try {
    await database.run(statements.map(plain))
  } catch (error) {
    throw new MigrationError(`${tag}.sql: ${(error as Error).message}`, { cause: error })
  }
  const hash = createHash('sha256').update(sql).digest('hex')
  await database.run([{ sql: 'insert into __drizzle_migrations(hash, created_at) values (?, ?)', args: [hash, when] }])
}

function plain(sql: string): Call {
  return { sql, args: [] }
}

/** Random letters and digits, five bits each. */
export function randomText(length: number): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz012345'
  return Array.from(crypto.getRandomValues(new Uint8Array(length)), (byte) => letters[byte & 31]).join('')
}
