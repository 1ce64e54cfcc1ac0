import type { Connection, Engine } from './connection.ts'
import { applyMigrations, type MigratedDatabase, type Migration, migrationsOf, pendingIn } from './migrations.ts'

/** The migrations that the file has not had yet. A file that does not exist has had none. */
export async function pendingMigrations(file: string, folder: string, engine: Engine): Promise<Migration[]> {
  const database = openOrNull(file, engine)
  if (!database) return migrationsOf(folder)
  try {
    return await pendingIn(connection(database), folder)
  } finally {
    database.close()
  }
}

function openOrNull(file: string, engine: Engine): Connection | null {
  try {
    const database = engine.open(file, 'read')
    database.run('PRAGMA busy_timeout = 5000') // After a crash another process may be recovering the file just now.
    return database
  } catch {
    return null // There is no file: nothing has been applied to it.
  }
}

/** Brings the file to the newest migration, as `applyMigrations` does. Makes the file. */
export async function migrateFile(file: string, folder: string, engine: Engine): Promise<void> {
  const database = engine.open(file, 'make')
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
export function migrateDatabase(database: Connection, folder: string, isWanted?: (migration: Migration) => boolean) {
  return applyMigrations(connection(database), folder, isWanted)
}

function connection(database: Connection): MigratedDatabase {
  return {
    run(statements) {
      for (const { sql, args } of statements) database.run(sql, args)
    },
    rows(sql) {
      const statement = database.prepare(sql)
      try {
        return statement.rows()
      } finally {
        statement.finalize()
      }
    },
    undo() {
      if (database.inTransaction) database.run('ROLLBACK')
    },
  }
}
