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
