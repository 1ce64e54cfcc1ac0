import { Database } from 'bun:sqlite'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The migrations cannot be applied to the database, which is as it was. */
export class MigrationError extends Error {}

export interface Migration {
  readonly tag: string
  readonly when: number
}

/** The committed migrations, oldest first, by drizzle-kit's journal. */
export function migrationsOf(folder: string): Migration[] {
  const journal = JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')) as { entries: Migration[] }
  return journal.entries
}

/** The migrations that the database has not had yet. A file that does not exist has had none. */
export function pendingMigrations(file: string, folder: string): Migration[] {
  const database = openOrNull(file)
  const applied = database ? appliedMigrations(database) : new Set()
  database?.close()
  return migrationsOf(folder).filter((migration) => !applied.has(migration.when))
}

function openOrNull(file: string): Database | null {
  try {
    const database = new Database(file, { readonly: true })
    database.run('PRAGMA busy_timeout = 5000') // After a crash another process may be recovering the file just now.
    return database
  } catch {
    return null // bun:sqlite throws where there is no file: nothing has been applied to it.
  }
}

/** The times in the journal of the migrations that were applied, in drizzle's own table. */
function appliedMigrations(database: Database): Set<number> {
  const has = database.query("select 1 from sqlite_master where name = '__drizzle_migrations'").get()
  const rows = has ? database.query('select created_at from __drizzle_migrations').values() : []
  return new Set(rows.map(([when]) => Number(when)))
}

/**
 * Brings the database to the newest migration, in one transaction, and gives it its epoch and secret where it has
 * none. Makes the file. Throws, changing nothing, where a migration fails or would leave a broken foreign key.
 */
export async function migrateFile(file: string, folder: string): Promise<void> {
  const database = new Database(file, { create: true, strict: true })
  try {
    database.run('PRAGMA busy_timeout = 10000')
    database.run('PRAGMA journal_mode = WAL')
    database.run('PRAGMA synchronous = FULL')
    await migrateDatabase(database, folder)
  } finally {
    database.close()
  }
}

/** As `migrateFile`, for an open database and the migrations that `isWanted`. Leaves foreign keys off. */
export async function migrateDatabase(database: Database, folder: string, isWanted = (_: Migration) => true) {
  database.run('PRAGMA foreign_keys = OFF')
  const migrate = database.transaction(() => {
    database.run(
      'CREATE TABLE IF NOT EXISTS __drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)',
    )
    const applied = appliedMigrations(database)
    for (const migration of migrationsOf(folder)) {
      if (!applied.has(migration.when) && isWanted(migration)) apply(database, folder, migration)
    }
    const broken = database.query('PRAGMA foreign_key_check').all()
    if (broken.length > 0) throw new MigrationError(`the migrations would leave ${broken.length} broken foreign keys`)
    const found = database.query("insert or ignore into meta(name, value) values ('epoch', ?), ('secret', ?)")
    found.run(randomText(8), randomText(43))
  })
  // Immediate: of two processes that start at once, the second waits and finds the migrations done.
  migrate.immediate()
}

function apply(database: Database, folder: string, { tag, when }: Migration) {
  const sql = readFileSync(join(folder, `${tag}.sql`), 'utf8')
  try {
    for (const statement of sql.split('--> statement-breakpoint')) if (statement.trim() !== '') database.run(statement)
  } catch (error) {
    throw new MigrationError(`${tag}.sql: ${(error as Error).message}`, { cause: error })
  }
  const hash = new Bun.CryptoHasher('sha256').update(sql).digest('hex')
  database.query('insert into __drizzle_migrations(hash, created_at) values (?, ?)').run(hash, when)
}

function randomText(length: number): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz012345'
  return Array.from(crypto.getRandomValues(new Uint8Array(length)), (byte) => letters[byte & 31]).join('')
}
