import type { Value } from '../value.ts'
import type { Row } from './reader.ts'

/** One statement of a batch. */
export interface Step {
  readonly sql: string
  readonly args: readonly Value[]
  /** The statement must change exactly one row, or the whole batch is refused. */
  readonly guarded?: boolean
  /** Its rows are the batch's answer. */
  readonly answers?: boolean
  /** When this step is refused: read in the same transaction, before it is rolled back, to say why. */
  readonly explain?: { readonly sql: string; readonly args: readonly Value[] }
}

/** Statements that commit together or not at all. */
export interface Batch {
  readonly steps: readonly Step[]
}

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
    }
  | { readonly kind: 'failed'; readonly reason: 'full' | 'io' | 'overloaded' }
  /** Whether it was applied is not known. */
  | { readonly kind: 'unknown' }

/** Where writes go: one per shard. Drivers: `embedded.ts`. */
export interface Primary {
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
