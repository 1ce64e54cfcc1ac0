import type { Epoch } from '../log/position.ts'
import { Problem } from '../problem.ts'
import type { Value } from '../value.ts'
import type { Connection, Engine, Prepared } from './connection.ts'
import type { Reader, Row } from './reader.ts'

const statementsMax = 1_000

/** A reader of a file: it answers at once. */
export interface FileReader extends Reader {
  rows(sql: string, args: readonly Value[]): readonly Row[]
}

/**
 * Reads a SQLite file of this machine, read-only, synchronously: a prepared read of one record is cheaper than handing it
 * to another thread. Statements stay prepared, the oldest is dropped.
 */
export function openReader(file: string, engine: Engine): FileReader & Pick<Connection, 'codeOf'> {
  const database = engine.open(file, 'read')
  database.run('PRAGMA busy_timeout = 5000')
  // 64 MiB of pages, where SQLite's own default is 2: a page that is not kept is a system call.
  database.run('PRAGMA cache_size = -65536')
  const prepared = new Map<string, Prepared>()

  function prepare(sql: string): Prepared {
    const known = prepared.get(sql)
    if (known) return known
    if (prepared.size >= statementsMax) {
      const [oldest] = prepared
      if (oldest) {
        oldest[1].finalize()
        prepared.delete(oldest[0])
      }
    }
    const statement = database.prepare(sql)
    prepared.set(sql, statement)
    return statement
  }

  const dataVersion = database.prepare('PRAGMA data_version')
  let generation = -1
  let isFresh = false
  const expire = () => {
    isFresh = false
  }

  return {
    generation() {
      if (isFresh) return generation
      generation = Number(dataVersion.rows()[0]?.[0])
      isFresh = true
      setImmediate(expire)
      return generation
    },
    expire,
    newsPauseMs: 10,
    codeOf: database.codeOf,
    rows: (sql, args) => prepare(sql).rows(...args),
    close() {
      dataVersion.finalize()
      for (const statement of prepared.values()) statement.finalize()
      database.close()
    },
  }
}

/**
 * Reads a copy that a replicator writes, as `openReader` reads a database: a statement whose rows might be of another
 * epoch than `epoch`, or that the copy is too damaged to answer, is a `not-ready` Problem, and `onUnfit` is told.
 */
export function openCopyReader(file: string, engine: Engine, epoch: Epoch, onUnfit: () => void): FileReader {
  const reader = openReader(file, engine)
  let checkedAt = -1

  /** Looked at after a statement: what it could see is then at most as new as what is looked at. */
  function checkEpoch() {
    reader.expire()
    const generation = reader.generation()
    if (generation === checkedAt) return
    const [row] = reader.rows("select value from meta where name = 'epoch'", [])
    if (row?.[0] !== epoch) throw unfit()
    checkedAt = generation
  }

  function unfit(): Problem {
    onUnfit()
    return new Problem('not-ready', {
      detail: 'The copy of the data on this node is being replaced.',
      headers: { 'Retry-After': '1' },
    })
  }

  return {
    ...reader,
    rows(sql, args) {
      try {
        const rows = reader.rows(sql, args)
        checkEpoch()
        return rows
      } catch (error) {
        throw damage.test(reader.codeOf(error)) ? unfit() : error
      }
    },
  }
}

const damage = /^SQLITE_(CORRUPT|NOTADB|IOERR|CANTOPEN)/
