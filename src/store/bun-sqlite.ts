import { Database, type Statement } from 'bun:sqlite'
import type { Value } from '../value.ts'
import type { Reader, Row } from './reader.ts'

const statementsMax = 1_000

/**
 * Reads a SQLite file of this machine, read-only, through bun:sqlite, synchronously: a prepared read of one record is
 * cheaper than handing it to another thread. Statements stay prepared, the least recently used is dropped.
 */
export function openReader(file: string): Reader {
  const database = new Database(file, { readonly: true })
  database.run('PRAGMA busy_timeout = 5000')
  // 64 MiB of pages, where SQLite's own default is 2: a page that is not kept is a system call.
  database.run('PRAGMA cache_size = -65536')
  const prepared = new Map<string, Statement<unknown, Value[]>>()

  function prepare(sql: string): Statement<unknown, Value[]> {
    const known = prepared.get(sql)
    if (known) return known
    if (prepared.size >= statementsMax) {
      const [oldest] = prepared
      if (oldest) {
        oldest[1].finalize()
        prepared.delete(oldest[0])
      }
    }
    const statement = database.prepare<unknown, Value[]>(sql)
    prepared.set(sql, statement)
    return statement
  }

  const dataVersion = database.prepare<unknown, Value[]>('PRAGMA data_version')
  let generation = -1
  let isFresh = false
  const expire = () => {
    isFresh = false
  }

  return {
    generation() {
      if (isFresh) return generation
      generation = Number(dataVersion.values()[0]?.[0])
      isFresh = true
      setImmediate(expire)
      return generation
    },
    expire,
    rows: (sql, args) => prepare(sql).values(...args) as Row[],
    close() {
      dataVersion.finalize()
      for (const statement of prepared.values()) statement.finalize()
      database.close()
    },
  }
}
