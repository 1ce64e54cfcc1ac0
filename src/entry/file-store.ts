import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { Engine } from '../store/connection.ts'
import { openEmbedded } from '../store/embedded.ts'
import { openReader } from '../store/file-reader.ts'
import { migrateFile, pendingMigrations } from '../store/migrate.ts'
import { MigrationError } from '../store/migrations.ts'
import { CommandError, migrationsFolder, type Store } from './node.ts'
import { SettingsError } from './settings.ts'
import { writeQueue } from './write-queue.ts'

export function databaseFile(dataDir: string): string {
  return join(dataDir, 'perigee.db')
}

/** The database of a standalone node: one file in its data folder. */
export function fileStore(dataDir: string, engine: Engine): Store {
  const file = databaseFile(dataDir)
  return {
    place: `in ${dataDir}`,
    async migrate() {
      makeFolder(dataDir, file)
      const pending = await usable(dataDir, () => pendingMigrations(file, migrationsFolder, engine))
      if (pending.length > 0) await usable(dataDir, () => migrateFile(file, migrationsFolder, engine))
      return pending.length
    },
    async pending() {
      if (existsSync(file)) return usable(dataDir, () => pendingMigrations(file, migrationsFolder, engine))
      throw new CommandError(
        `There is no database in ${dataDir}. Run "bun run migrate", or "bun start" for one with data.`,
      )
    },
    openReader: () => openReader(file, engine),
    openPrimary: (watch) => openEmbedded({ file, writer: engine.writer, queue: writeQueue, ...watch }),
  }
}

/** A folder that can hold the database. Only its owner may read it: the secret that seals tokens is in there. */
function makeFolder(dataDir: string, file: string) {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    closeSync(openSync(file, 'a', 0o600))
  } catch (error) {
    throw new SettingsError(
      `DATA_DIR=${dataDir} cannot hold the database: ${(error as Error).message}. Name a folder that can be written.`,
    )
  }
}

/** Faults of the file are told as such, and a migration that fails as one: neither is a fault of the program. */
async function usable<T>(dataDir: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const { message } = error as Error
    if (error instanceof MigrationError)
      throw new CommandError(`The database in ${dataDir} was not migrated and is as it was: ${message}.`)
    if (
      !/^SQLITE_(NOTADB|CORRUPT|CANTOPEN|READONLY|PERM|AUTH|BUSY|FULL|IOERR)/.test(
        String((error as { code?: unknown }).code),
      )
    )
      throw error
    throw new SettingsError(
      `DATA_DIR=${dataDir}: its perigee.db cannot be used: ${message}. Name another folder, or mend it.`,
    )
  }
}
