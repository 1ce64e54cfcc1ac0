import { existsSync, linkSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { BackupError, type Copied, copyDatabase, renewEpoch, syncFolderOf } from '../store/backup.ts'
import { isOpenElsewhere, takeLock } from '../store/lock.ts'
import { databaseFile } from './file-store.ts'
import { CommandError } from './node.ts'
import type { LibsqlSettings, Settings } from './settings.ts'
import { killSqldOn, shutdownSeconds, sqldUrl } from './sqld.ts'
import { sqldKeys } from './sqld-keys.ts'

/** The data folder of a primary that has a sqld of its own: its tokens, who holds it, its backup and its restoring. */

/** Where its sqld keeps everything. */
export function sqldFolder(dataDir: string): string {
  return join(dataDir, 'sqld')
}

/** The database itself, which others may read while sqld writes it. */
function sqldDatabase(folder: string): string {
  return join(folder, 'dbs', 'default', 'data')
}

export function isPrimaryFolder(dataDir: string): boolean {
  return existsSync(sqldFolder(dataDir))
}

const daySeconds = 86_400

/** How long a token lasts that only its process knows, and that is worth no more than the key beside the data. */
const ownTokenDays = 3_650

/** The database of a primary, for processes of its host. */
export function ownDatabase({ dataDir, libsqlListen }: Settings): LibsqlSettings {
  const token = sqldKeys(dataDir).token('rw', ownTokenDays * daySeconds)
  return { url: sqldUrl(libsqlListen), token, folder: sqldFolder(dataDir) }
}

/** A token that may read and copy the database of a primary, and do nothing else. */
export function replicaToken(dataDir: string, days: number): string {
  requirePrimary(dataDir)
  return sqldKeys(dataDir).token('ro', days * daySeconds)
}

function requirePrimary(dataDir: string) {
  if (!isPrimaryFolder(dataDir)) throw new CommandError(`There is no primary in DATA_DIR=${dataDir}.`)
}

/** What is made ready beside the old data, until it takes its place. */
const restoringFolder = (dataDir: string) => join(dataDir, 'restoring')

/** How long a sqld whose primary was killed may take to end after it; then it is killed as well, and given up after all. */
const orphanMs = shutdownSeconds * 1_000 + 1_000
const orphanMsMax = 10_000

/**
 * Takes the folder for one process, as long as that lives or until `release`: two sqlds on one folder destroy it. Makes
 * the folder. Throws where another process has it, or where its data is not that of a primary.
 */
export async function holdFolder(dataDir: string): Promise<{ release(): void }> {
  mendable(() => mkdirSync(dataDir, { recursive: true, mode: 0o700 }))
  if (existsSync(databaseFile(dataDir)))
    throw new CommandError(
      `DATA_DIR=${dataDir} holds the database of a standalone server. Name another folder; "bun run primary restore ${databaseFile(dataDir)}" takes the data over into it.`,
    )
  const lock = takeLock(join(dataDir, 'primary.lock'))
  if (!lock) throw new CommandError(`A primary is running on DATA_DIR=${dataDir}, or its restore. End it first.`)
  try {
    await unusedBySqld(dataDir)
    return lock
  } catch (error) {
    lock.release()
    throw error
  }
}

/** Waits for the sqld of a primary that was killed just now. */
async function unusedBySqld(dataDir: string) {
  const start = performance.now()
  const database = sqldDatabase(sqldFolder(dataDir))
  while (isOpenElsewhere(database)) {
    const waitedMs = performance.now() - start
    if (waitedMs > orphanMs) killSqldOn(database)
    if (waitedMs > orphanMsMax)
      throw new CommandError(
        `Another process has the database in ${sqldFolder(dataDir)} open, such as a sqld or a backup. Let it end first.`,
      )
    await Bun.sleep(50)
  }
}

/** Throws where a restore was cut off between the old data and the new: nothing is there to serve. */
export function requireWhole(dataDir: string) {
  if (existsSync(restoringFolder(dataDir)) && !existsSync(sqldFolder(dataDir)))
    throw new CommandError(`A restore into DATA_DIR=${dataDir} was cut off. Run it again.`)
}

/** Writes the primary's database, as it is at one moment, to a file that must not exist. The primary may run. */
export function backUp(dataDir: string, file: string): Copied {
  requirePrimary(dataDir)
  const database = sqldDatabase(sqldFolder(dataDir))
  const unfinished = `${file}.${process.pid}.unfinished`
  return mendable(() => {
    if (existsSync(file)) throw new BackupError(`${file} is there already. Name a new file.`)
    try {
      const copied = copyDatabase(database, unfinished)
      linkSync(unfinished, file) // Unlike a rename, it never takes the place of a file that has come since.
      return copied
    } finally {
      rmSync(unfinished, { force: true })
      if (existsSync(file)) syncFolderOf(file)
    }
  })
}

/** What a restore did: the position restored, of a new epoch, and where the data from before is. */
export interface Restored extends Copied {
  readonly aside: string | null
}

/**
 * Puts a backup, or the database of a standalone server, in the place of the primary's data, which is set aside. The
 * replication log is not restored, so sqld begins a new one, and the epoch is a new one: no replica and no token takes
 * the restored history for the old one. Killed at any point, it has not happened, or has, or is to be run again.
 */
export async function restore(dataDir: string, file: string): Promise<Restored> {
  const lock = await holdFolder(dataDir)
  try {
    return mendable(() => replaceData(dataDir, copyForRestoring(dataDir, file)))
  } finally {
    lock.release()
  }
}

/** Makes the data ready beside the old, whole and durable, or leaves nothing. */
function copyForRestoring(dataDir: string, file: string): Copied {
  const folder = restoringFolder(dataDir)
  const database = sqldDatabase(folder)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(dirname(database), { recursive: true, mode: 0o700 })
  try {
    const copied = copyDatabase(file, database)
    const epoch = renewEpoch(database)
    for (const made of [database, dirname(database), join(folder, 'dbs'), folder]) syncFolderOf(made)
    return { ...copied, epoch }
  } catch (error) {
    rmSync(folder, { recursive: true })
    throw error
  }
}

function replaceData(dataDir: string, copied: Copied): Restored {
  const folder = sqldFolder(dataDir)
  const aside = existsSync(folder) ? `${folder}.before-${new Date().toISOString().replaceAll(/[:.]/g, '-')}` : null
  if (aside) renameSync(folder, aside)
  renameSync(restoringFolder(dataDir), folder)
  syncFolderOf(folder)
  return { ...copied, aside }
}

/** Faults of files and disks are told as such: none of them is a fault of the program. */
function mendable<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof BackupError) throw new CommandError(error.message)
    const { code, message } = error as Error & { code?: unknown }
    if (typeof code === 'string' && /^(E[A-Z]+|SQLITE_\w+)$/.test(code)) throw new CommandError(`${message}.`)
    throw error
  }
}
