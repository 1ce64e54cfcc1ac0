import { Database } from 'bun:sqlite'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Migration {
  readonly tag: string
  readonly when: number
}

/** The committed migrations, oldest first, by drizzle-kit's journal. */
export function migrationsOf(folder: string): Migration[] {
  const journal = JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')) as { entries: Migration[] }
  return journal.entries
}

/** How many of the migrations the database has not had yet. A file that does not exist has had none. */
export function pendingMigrations(file: string, folder: string): Migration[] {
  const database = openOrNull(file)
  const last = database ? lastApplied(database) : 0
  database?.close()
  return migrationsOf(folder).filter((migration) => migration.when > last)
}

function openOrNull(file: string): Database | null {
  try {
    return new Database(file, { readonly: true })
  } catch {
    return null // bun:sqlite throws where there is no file: nothing has been applied to it.
  }
}

function lastApplied(database: Database): number {
  const has = database.query("select 1 from sqlite_master where name = '__drizzle_migrations'").get()
  if (!has) return 0
  const [row] = database.query('select max(created_at) from __drizzle_migrations').values()
  return Number(row?.[0] ?? 0)
}

/**
 * Brings the database to the newest migration, in one transaction, and gives it its epoch and secret where it has
 * none. Makes the file. Throws, changing nothing, where a migration fails or would leave a broken foreign key.
 */
export async function migrateFile(file: string, folder: string): Promise<void> {
  const database = new Database(file, { create: true, strict: true })
  try {
    database.run('PRAGMA journal_mode = WAL')
    database.run('PRAGMA synchronous = FULL')
    await migrateDatabase(database, folder)
  } finally {
    database.close()
  }
}

export async function migrateDatabase(database: Database, folder: string): Promise<void> {
  const { drizzle } = await import('drizzle-orm/bun-sqlite')
  const { migrate } = await import('drizzle-orm/bun-sqlite/migrator')
  database.run('PRAGMA foreign_keys = OFF')
  migrate(drizzle(database), { migrationsFolder: folder })
  const broken = database.query('PRAGMA foreign_key_check').all()
  if (broken.length > 0) throw new Error(`a migration left ${broken.length} broken foreign keys`)
  const found = database.query("insert or ignore into meta(name, value) values ('epoch', ?), ('secret', ?)")
  found.run(randomText(8), randomText(43))
}

function randomText(length: number): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz012345'
  return Array.from(crypto.getRandomValues(new Uint8Array(length)), (byte) => letters[byte & 31]).join('')
}
