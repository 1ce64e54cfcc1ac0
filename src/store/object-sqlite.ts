import { Problem } from '../problem.ts'
import type { Value } from '../value.ts'
import type { Reader, Row } from './reader.ts'

const tooBig = 'One record with all that it includes is more than 2 MB here; ask for less of it at a time.'

/** The SQLite database of a Durable Object, which answers at once. */
export interface ObjectDatabase extends Reader {
  rows(sql: string, args: readonly Value[]): readonly Row[]
  transaction(work: () => void): void
}

/**
 * Reads and writes the database of a Durable Object. Every number is bound as a floating-point one (measured in workerd),
 * which a STRICT column or a comparison with one makes an integer again. There is no other writer, so the generation is a
 * count of transactions. A value there has 2,200,000 bytes at most (measured): a read that would make a larger one throws
 * the Problem `filter-too-complex`.
 */
export function openObject(storage: DurableObjectStorage): ObjectDatabase {
  let generation = 0
  return {
    rows(sql, args) {
      try {
        return [...storage.sql.exec(sql, ...args).raw()] as Row[]
      } catch (error) {
        if (error instanceof Error && error.message.startsWith('string or blob too big'))
          throw new Problem('filter-too-complex', { detail: tooBig })
        throw error
      }
    },
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
