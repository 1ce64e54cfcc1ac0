import { Database } from 'bun:sqlite'
import { existsSync } from 'node:fs'

/** Locks that are held. A handle that nobody knows any more is closed sooner or later, and would let its lock go. */
const held = new Set<Database>()

/**
 * Takes the lock that a file stands for, and holds it until it is released or the process ends, however that ends.
 * Null where another process holds it. The file is made where there is none, and stays.
 */
export function takeLock(file: string): { release(): void } | null {
  const database = new Database(file, { create: true, readwrite: true })
  if (!begins(database)) {
    database.close()
    return null
  }
  held.add(database)
  return {
    release() {
      held.delete(database)
      database.close()
    },
  }
}

/** Whether another process has the database open, reading or writing. */
export function isOpenElsewhere(file: string): boolean {
  if (!existsSync(file)) return false
  using database = new Database(file, { readwrite: true })
  database.run('PRAGMA locking_mode = EXCLUSIVE')
  return !begins(database)
}

function begins(database: Database): boolean {
  try {
    database.run('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if ((error as { code?: unknown }).code === 'SQLITE_BUSY') return false
    throw error
  }
}
