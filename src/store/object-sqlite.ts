import type { Value } from '../value.ts'
import type { Reader, Row } from './reader.ts'

/** The SQLite database of a Durable Object, which answers at once. */
export interface ObjectDatabase extends Reader {
  rows(sql: string, args: readonly Value[]): readonly Row[]
  transaction(work: () => void): void
}

/**
 * Reads and writes the database of a Durable Object. Every number is bound as a floating-point one (measured in workerd),
 * which a STRICT column or a comparison with one makes an integer again. There is no other writer, so the generation is a
 * count of transactions.
 */
export function openObject(storage: DurableObjectStorage): ObjectDatabase {
  let generation = 0
  return {
    rows: (sql, args) => [...storage.sql.exec(sql, ...args).raw()] as Row[],
    transaction(work) {
      storage.transactionSync(work)
      generation++
    },
    generation: () => generation,
    expire() {},
    newsPauseMs: 10,
    close() {},
  }
}
