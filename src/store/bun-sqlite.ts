import { Database, SQLiteError } from 'bun:sqlite'
import type { Value } from '../value.ts'
import type { Connection, Engine } from './connection.ts'
import type { Row } from './reader.ts'

/** SQLite as Bun has it. */
export const bunSqlite: Engine = {
  open(file, mode) {
    return connectionOver(new Database(file, { strict: true, ...optionsOf[mode] }))
  },
  writer: new URL('./bun-writer.ts', import.meta.url),
}

const optionsOf = { read: { readonly: true }, write: { readwrite: true }, make: { create: true } } as const

export function connectionOver(database: Database): Connection {
  return {
    prepare(sql) {
      const statement = database.prepare<unknown, Value[]>(sql)
      return {
        rows: (...args) => statement.values(...args) as Row[],
        run: (...args) => statement.run(...args).changes,
        finalize: () => statement.finalize(),
      }
    },
    run: (sql, args = []) => void database.run(sql, [...args]),
    get inTransaction() {
      return database.inTransaction
    },
    codeOf: (error) => (error instanceof SQLiteError ? (error.code ?? '') : ''),
    close: () => database.close(),
  }
}
