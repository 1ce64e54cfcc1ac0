import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { Value } from '../value.ts'
import type { Connection, Engine } from './connection.ts'
import type { Row } from './reader.ts'

/** SQLite as Node's API has it, which other runtimes have as well. */
export const nodeSqlite: Engine = {
  open(file, mode) {
    if (mode !== 'make' && !existsSync(file)) throw new Error(`there is no file ${file}`)
    return connectionOver(new DatabaseSync(file, { readOnly: mode === 'read', enableForeignKeyConstraints: false }))
  },
  writer: new URL('./node-writer.ts', import.meta.url),
}

function connectionOver(database: DatabaseSync): Connection {
  return {
    prepare(sql) {
      const statement = database.prepare(sql)
      statement.setReturnArrays(true)
      return {
        rows: (...args) => statement.all(...args.map(bound)) as unknown as Row[],
        run: (...args) => Number(statement.run(...args.map(bound)).changes),
        // Node's API ends them with their connection.
        finalize: () => undefined,
      }
    },
    run(sql, args = []) {
      if (args.length === 0) database.exec(sql)
      else database.prepare(sql).run(...args.map(bound))
    },
    get inTransaction() {
      return database.isTransaction
    },
    codeOf: (error) => (error instanceof Error && 'errcode' in error ? nameOf(Number(error.errcode)) : ''),
    close: () => database.close(),
  }
}

/** Node's API binds every number as a floating-point one, and a BigInt as an integer (measured). */
function bound(value: Value): string | number | bigint | null {
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value
}

/** SQLite's names of its result codes (sqlite.org/rescode.html), those that something depends on. */
const names: Readonly<Record<number, string>> = {
  5: 'SQLITE_BUSY',
  7: 'SQLITE_NOMEM',
  8: 'SQLITE_READONLY',
  10: 'SQLITE_IOERR',
  11: 'SQLITE_CORRUPT',
  13: 'SQLITE_FULL',
  14: 'SQLITE_CANTOPEN',
  15: 'SQLITE_PROTOCOL',
  23: 'SQLITE_AUTH',
  26: 'SQLITE_NOTADB',
  275: 'SQLITE_CONSTRAINT_CHECK',
  778: 'SQLITE_IOERR_WRITE',
  787: 'SQLITE_CONSTRAINT_FOREIGNKEY',
  1299: 'SQLITE_CONSTRAINT_NOTNULL',
  1555: 'SQLITE_CONSTRAINT_PRIMARYKEY',
  1811: 'SQLITE_CONSTRAINT_TRIGGER',
  2067: 'SQLITE_CONSTRAINT_UNIQUE',
  3091: 'SQLITE_CONSTRAINT_DATATYPE',
}

/** An extended code that has no name of its own here has that of its kind, which is its last byte. */
function nameOf(code: number): string {
  return names[code] ?? names[code & 0xff] ?? 'SQLITE_ERROR'
}
