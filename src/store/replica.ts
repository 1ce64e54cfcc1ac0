import type { Position } from '../log/position.ts'

/** What is known of a copy of the primary's data on this machine. */
export interface ReplicaState {
  /** The file that readers should have open; null until there is a complete copy. */
  readonly file: string | null
  /** Where the copy stands, at the least; null until there is a complete copy. */
  readonly position: Position | null
  /** Milliseconds since the copy is known to have held everything that the primary had; null where that is not known. */
  readonly ageMs: number | null
  /** Why the node should not be sent requests yet, as a sentence; null where it is ready. */
  readonly unready: string | null
  readonly phase: 'starting' | 'bootstrapping' | 'following' | 'failing'
  /** Counted since the start of the node: times that the replicator was started again, and that it began a new copy. */
  readonly restarts: number
  readonly bootstraps: number
}

/** A copy that follows the primary, kept by a process of its own. Implemented by `replica/`, used by an edge. */
export interface Replica {
  state(): ReplicaState
  /** Asks for what is new at the primary, at once. */
  nudge(): void
  /** Whether the copy has `position`, of the same epoch: at once where it has, else as soon as it does, else false after `ms`. */
  reached(position: Position, ms: number): Promise<boolean>
}

/**
 * What became of one sync. `passing` is worth another try on the same copy; a `broken` copy must be made anew; where
 * the primary's database `refused` the token, only whoever runs the node can help.
 */
export type Sync =
  | {
      readonly kind: 'synced'
      /** Pages that were brought. */
      readonly frames: number
      /** Where the copy stands now; null while it has no tables yet. */
      readonly position: Position | null
    }
  | { readonly kind: 'failed'; readonly fault: 'passing' | 'broken' | 'refused'; readonly message: string }

/** A copy's file in the hands of its replicator. Driver: `libsql-replica.ts`. */
export interface Copy {
  /**
   * Brings everything that the primary had when it began. Never rejects. It blocks the whole process, for as long as the
   * primary lets it.
   */
  sync(): Promise<Sync>
}
