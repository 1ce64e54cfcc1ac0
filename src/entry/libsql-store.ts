import { join } from 'node:path'
import { bunSqlite } from '../store/bun-sqlite.ts'
import { openReader } from '../store/file-reader.ts'
import { openLibsql } from '../store/libsql.ts'
import { NoAnswer, NotTaken } from '../store/libsql-link.ts'
import { migrateLibsql, pendingLibsqlMigrations } from '../store/libsql-migrate.ts'
import { openLibsqlReader } from '../store/libsql-reader.ts'
import { MigrationError } from '../store/migrations.ts'
import { onDisk } from '../store/sqld-log.ts'
import { CommandError, migrationsFolder, type Store } from './node.ts'
import { type LibsqlSettings, SettingsError } from './settings.ts'
import { writeQueue } from './write-queue.ts'

/**
 * The database of a primary node, behind sqld or Turso. Where sqld runs on this host, its file is read directly, and
 * what it commits is put on the disk here.
 */
export function libsqlStore(settings: LibsqlSettings): Store {
  const { url, folder } = settings
  const walFolder = folder === null ? null : join(folder, 'dbs', 'default')
  return {
    place: `at ${url}`,
    async migrate() {
      const pending = await usable(url, () => pendingLibsqlMigrations(settings, migrationsFolder))
      if (pending.length > 0) await usable(url, () => migrateLibsql(settings, migrationsFolder))
      return pending.length
    },
    pending: () => usable(url, () => pendingLibsqlMigrations(settings, migrationsFolder)),
    openReader: () =>
      walFolder === null ? openLibsqlReader(settings) : openReader(join(walFolder, 'data'), bunSqlite),
    openPrimary: async ({ onCommit }) =>
      openLibsql({
        ...settings,
        durable: walFolder === null ? null : (settled) => onDisk(settled, walFolder),
        queue: writeQueue,
        onCommit,
      }),
  }
}

/** A server that is away or refuses the token is told as such, and a migration that fails as one. */
async function usable<T>(url: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof MigrationError)
      throw new CommandError(`The database at ${url} was not migrated and is as it was: ${error.message}.`)
    if (error instanceof NotTaken)
      throw new SettingsError(`LIBSQL_URL=${url} does not take requests: ${error.message}. Check it and LIBSQL_TOKEN.`)
    if (error instanceof NoAnswer) throw new CommandError(`The database at ${url} did not answer: ${error.message}.`)
    throw error
  }
}
