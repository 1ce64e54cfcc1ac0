import { Database } from 'bun:sqlite'
import { applyMigrations, type MigratedDatabase, type Migration, migrationsOf, pendingIn } from './migrations.ts'
import type { Row } from './reader.ts'

/** The migrations that the file has not had yet. A file that does not exist has had none. */
export async function pendingMigrations(file: string, folder: string): Promise<Migration[]> {
  const database = openOrNull(file)
  if (!database) return migrationsOf(folder)
  try {
    return await pendingIn(connection(database), folder)
  } finally {
    database.close()
  }
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

/** Brings the file to the newest migration, as `applyMigrations` does. Makes the file. */
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

/** As `migrateFile`, for an open database and the migrations that `isWanted`. */
export function migrateDatabase(database: Database, folder: string, isWanted?: (migration: Migration) => boolean) {
  return applyMigrations(connection(database), folder, isWanted)
}

function connection(database: Database): MigratedDatabase {
  return {
    run(statements) {
      for (const { sql, args } of statements) database.run(sql, [...args])
    },
    rows: (sql) => database.query(sql).values() as Row[],
    undo() {
      if (database.inTransaction) database.run('ROLLBACK')
    },
  }
}
