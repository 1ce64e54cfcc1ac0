import { Database } from 'bun:sqlite'
import { closeSync, fsyncSync, openSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Epoch, Seq } from '../log/position.ts'
import { randomText } from './migrations.ts'

/** A file cannot be copied: it is no database of ours, it is broken, or there is no place for its copy. */
export class BackupError extends Error {}

/** What a copied database is of. */
export interface Copied {
  readonly epoch: Epoch
  readonly seq: Seq
  readonly bytes: number
}

/**
 * Copies a database to the file `to`, which must not exist, as it is at one moment, while others write it. The copy is
 * a single file for its owner's eyes only, checked from end to end and synced to disk before this returns. Throws a
 * BackupError, and leaves no file, where that cannot be.
 */
export function copyDatabase(from: string, to: string): Copied {
  closeSync(openSync(to, 'wx', 0o600))
  try {
    requireOurs(from)
    using source = new Database(from, { readonly: true })
    source.run('PRAGMA busy_timeout = 5000')
    source.query('vacuum into ?').run(to)
    sync(to)
    return checked(to)
  } catch (error) {
    rmSync(to)
    if (error instanceof BackupError) throw error
    throw new BackupError(`${from} could not be copied to ${to}: ${(error as Error).message}.`, { cause: error })
  }
}

/** Gives a database at rest a new epoch, so that no token outlives the history it was given for. Answers the epoch. */
export function renewEpoch(file: string): Epoch {
  const epoch = randomText(8) as Epoch
  using database = new Database(file, { readwrite: true })
  database.query("update meta set value = ? where name = 'epoch'").run(epoch)
  return epoch
}

/** Makes what a rename or a new name in the file's folder did last through a power cut. */
export function syncFolderOf(file: string) {
  sync(dirname(file))
}

function sync(path: string) {
  const descriptor = openSync(path, 'r')
  fsyncSync(descriptor)
  closeSync(descriptor)
}

function requireOurs(file: string) {
  try {
    using database = new Database(file, { readonly: true })
    if (epochOf(database) !== null) return
  } catch (error) {
    throw new BackupError(`${file} is no SQLite database that can be read: ${(error as Error).message}.`)
  }
  throw new BackupError(`${file} is a SQLite database, but not one of Perigee: it has no epoch.`)
}

function epochOf(database: Database): Epoch | null {
  if (!database.query("select 1 from sqlite_master where name = 'meta'").get()) return null
  const row = database.query<{ value: string }, []>("select value from meta where name = 'epoch'").get()
  return (row?.value ?? null) as Epoch | null
}

function checked(file: string): Copied {
  using database = new Database(file, { readonly: true })
  const [found] = database.query('PRAGMA integrity_check').values().flat()
  if (found !== 'ok') throw new BackupError(`The database is broken: ${found}.`)
  const [seq, bytes] = database
    .query(
      'select (select coalesce(max(seq), 0) from changes), page_count * page_size from pragma_page_count, pragma_page_size',
    )
    .values()[0] as [Seq, number]
  const epoch = epochOf(database)
  if (epoch === null) throw new BackupError(`The copy in ${file} has no epoch.`)
  return { epoch, seq, bytes }
}
