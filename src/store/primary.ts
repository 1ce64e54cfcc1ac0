import type { Value } from '../value.ts'
import type { Row } from './reader.ts'

/** A statement and its arguments. */
export interface Call {
  readonly sql: string
  readonly args: readonly Value[]
}

/** One statement of a batch. */
export interface Step extends Call {
  /** The statement must change a row, or the whole batch is refused. */
  readonly guarded?: boolean
  /** Its rows are the batch's answer. */
  readonly answers?: boolean
  /** When this step is refused: read in the same transaction to say why. */
  readonly explain?: Call
}

/** Statements that commit together or not at all. */
export interface Batch {
  readonly steps: readonly Step[]
  /** Who writes, for the log. Batches without are logged without an actor, at SQLite's own time. */
  readonly context?: WriteContext
  /** When the batch is refused, whatever the step: what of an earlier batch explains it before anything else. */
  readonly claimed?: Call
}

/** The actor and the request as the log names them, and the sender's time as an instant. */
export interface WriteContext {
  readonly actor: string
  readonly request: string
  readonly time: string
}

/**
 * Puts a WriteContext where the batch and the triggers of the log find it; null values take it away. Its time is the
 * sender's, or the log's last where that is later: who is late in the queue, or has a clock that is behind, commits at
 * no earlier time than who was before, so that the log as it was at a time is one beginning of it.
 */
export const setContextSql =
  "update context set actor = ?1, request = ?2, time = max(?3, coalesce((select time from changes order by seq desc limit 1), '')) where one = 1"

/** When a batch that has a WriteContext is committed, as the log tells it; an SQL expression for its steps. */
export const commitTimeSql = '(select time from context where one = 1)'

/** Why a batch was refused: its guard changed no row, or a constraint of the table did not hold. */
export type Cause = 'guard' | 'unique' | 'foreign-key' | 'check' | 'not-null'

/** What became of a batch. `committed` is durable. `refused` and `failed` left nothing behind. */
export type Outcome =
  | { readonly kind: 'committed'; readonly rows: readonly Row[] }
  | {
      readonly kind: 'refused'
      readonly step: number
      readonly cause: Cause
      /** SQLite's own words, which name the columns of a unique constraint. */
      readonly message: string
      readonly explanation: Row | null
      /** The row of the batch's `claimed`, where there was one. */
      readonly claimed: Row | null
    }
  | { readonly kind: 'failed'; readonly reason: 'full' | 'io' | 'overloaded' | 'unreachable' }
  /** Whether it was applied is not known. */
  | { readonly kind: 'unknown' }

export type Refused = Extract<Outcome, { kind: 'refused' }>

/** Where writes go: one per shard. Drivers: `embedded.ts`, `libsql.ts`. */
export interface Primary {
  /** Rejects where a statement of the batch is wrong, a fault of ours. */
  commit(batch: Batch): Promise<Outcome>
  /** Commands waiting, and what has been committed, for metrics. */
  stats(): PrimaryStats
  /** Finishes what is in flight and closes. */
  close(): Promise<void>
}

export interface PrimaryStats {
  readonly waiting: number
  readonly groups: number
  readonly batches: number
}
