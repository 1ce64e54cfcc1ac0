import type { Soon } from '../soon.ts'
import type { Value } from '../value.ts'

/** One row of a result, in the order of the statement's columns. */
export type Row = readonly Value[]

/**
 * A copy of one shard's data that can be read. Drivers: `bun-sqlite.ts`. A statement is one consistent snapshot.
 * Drivers keep statements prepared by their text, so callers keep texts few: values are always bound.
 */
export interface Reader {
  rows(sql: string, args: readonly Value[]): Soon<readonly Row[]>
  /**
   * A number that is another after every commit which reads can see. Asked again within one turn of the event loop it
   * may be the same as before, but for a commit that `expire` has told of.
   */
  generation(): number
  expire(): void
  /** How long to wait between two looks for news, in milliseconds: what a look costs decides. */
  readonly newsPauseMs: number
  close(): void
}
