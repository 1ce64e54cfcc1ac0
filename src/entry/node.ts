import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import type { AppOptions } from '../http/service.ts'
import { createTokenSealer, type Epoch } from '../log/position.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import { openReader } from '../store/bun-sqlite.ts'
import { openEmbedded } from '../store/embedded.ts'
import { MigrationError, migrateFile, pendingMigrations } from '../store/migrate.ts'
import { SettingsError } from './settings.ts'

export const projectRoot = join(import.meta.dir, '..', '..')
export const migrationsFolder = join(projectRoot, 'drizzle')

export function databaseFile(dataDir: string): string {
  return join(dataDir, 'perigee.db')
}

/** A command cannot go on for a reason that its user can mend. */
export class CommandError extends Error {}

/** Makes the data folder and brings its database to the newest migration. Answers how many were applied. */
export async function migrateDataDir(dataDir: string): Promise<number> {
  const file = databaseFile(dataDir)
  makeFolder(dataDir, file)
  const pending = await usable(dataDir, () => pendingMigrations(file, migrationsFolder))
  if (pending.length > 0) await usable(dataDir, () => migrateFile(file, migrationsFolder))
  return pending.length
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

/** The parts of a standalone node over one data folder. */
export interface Node
  extends Pick<AppOptions, 'model' | 'reader' | 'primary' | 'epoch' | 'sealer' | 'sign' | 'digest' | 'newId'> {
  close(): Promise<void>
}

/** Opens the database of a data folder. The folder must have been migrated. */
export async function openNode(dataDir: string, model: Model, onDeath: (error: Error) => void): Promise<Node> {
  const file = databaseFile(dataDir)
  if (!existsSync(file))
    throw new CommandError(
      `There is no database in ${dataDir}. Run "bun run migrate", or "bun start" for one with data.`,
    )
  const pending = await usable(dataDir, () => pendingMigrations(file, migrationsFolder))
  if (pending.length > 0)
    throw new CommandError(`The database in ${dataDir} lacks ${pending.length} migration(s). Run "bun run migrate".`)
  const reader = openReader(file)
  const meta = Object.fromEntries(await reader.rows('select name, value from meta', []))
  const epoch = String(meta.epoch) as Epoch
  const secret = String(meta.secret)
  const primary = await openEmbedded({ file, waitingMax: limits.pendingWritesMax, onCommit: reader.expire, onDeath })
  const sign = (text: string) => new Bun.CryptoHasher('sha256', secret).update(text).digest('base64url')
  return {
    model,
    reader,
    primary,
    epoch,
    sealer: createTokenSealer(sign),
    sign,
    digest,
    newId: () => Bun.randomUUIDv7(),
    async close() {
      await primary.close()
      reader.close()
    },
  }
}

/** SHA-256 as URL-safe base64. */
export function digest(...parts: (string | Uint8Array)[]): string {
  const hasher = new Bun.CryptoHasher('sha256')
  for (const part of parts) hasher.update(part)
  return hasher.digest('base64url')
}
