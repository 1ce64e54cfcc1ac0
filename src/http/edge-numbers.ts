import type { Epoch, Position } from '../log/position.ts'
import type { ReplicaState } from '../store/replica.ts'
import type { Exchange } from './forward.ts'
import { known, labelled, metric } from './metrics.ts'

/** Why a read was sent to the primary. */
export type Reason = 'strong' | 'bounded' | 'epoch' | 'behind' | 'too-old' | 'no-copy' | 'copy-failed'

type WriteOutcome = 'done' | 'refused' | 'failed' | 'unreachable' | 'unknown' | 'overloaded'

/** What an edge has done since it started, and where it stands beside the primary. */
export class EdgeNumbers {
  readonly writes: Record<WriteOutcome, number> = {
    done: 0,
    refused: 0,
    failed: 0,
    unreachable: 0,
    unknown: 0,
    overloaded: 0,
  }
  readonly forwardedReads: Record<Reason, number> = {
    strong: 0,
    bounded: 0,
    epoch: 0,
    behind: 0,
    'too-old': 0,
    'no-copy': 0,
    'copy-failed': 0,
  }
  readonly waits = { reached: 0, expired: 0 }
  readonly reads = { replica: 0, primary: 0, 'recent-write': 0 }
  /** The newest position of the primary that this node has heard of. */
  private primary: Position | null = null

  learn(position: Position) {
    const { primary } = this
    if (primary === null || primary.epoch !== position.epoch || primary.seq < position.seq) this.primary = position
  }

  /** Of the primary, as far as it has told; else null. */
  get epoch(): Epoch | null {
    return this.primary?.epoch ?? null
  }

  countWrite(exchange: Exchange) {
    this.writes[outcomeOf(exchange)]++
  }

  /** How many changes the copy lacks; null where the primary has not told, or tells of another epoch. */
  private changesBehind(position: Position | null): number | null {
    return position && this.primary?.epoch === position.epoch ? Math.max(0, this.primary.seq - position.seq) : null
  }

  /** For `/readyz`, of a node at `position`. */
  health(position: Position, { ageMs, phase, restarts, bootstraps }: ReplicaState) {
    const lag = { milliseconds: ageMs && Math.round(ageMs), changes: this.changesBehind(position) }
    return { lag, replicator: { phase, restarts, bootstraps } }
  }

  /** For `/metrics`. What is not known is left out. */
  lines(position: Position | null, { ageMs, phase, restarts, bootstraps }: ReplicaState): string[] {
    return [
      ...known(
        'perigee_primary_position',
        'The newest position of the primary that this node has heard of.',
        this.primary?.seq ?? null,
      ),
      ...known(
        'perigee_replica_lag_seconds',
        'Since when the copy is known to have had everything.',
        ageMs === null ? null : ageMs / 1000,
      ),
      ...known('perigee_replica_lag_changes', 'How many changes the copy lacks.', this.changesBehind(position)),
      ...labelled('perigee_replica_phase', 'gauge', 'What the replicator does.', 'phase', { [phase]: 1 }),
      ...metric('perigee_replicator_restarts_total', 'counter', 'Times the replicator was started again.', restarts),
      ...metric('perigee_replica_bootstraps_total', 'counter', 'Times that a new copy was begun.', bootstraps),
      ...labelled('perigee_edge_reads_total', 'counter', 'Reads by who answered them.', 'from', this.reads),
      ...labelled(
        'perigee_edge_reads_forwarded_total',
        'counter',
        'Reads sent to the primary, by why.',
        'reason',
        this.forwardedReads,
      ),
      ...labelled('perigee_edge_waits_total', 'counter', 'Reads that waited for their position.', 'result', this.waits),
      ...labelled('perigee_edge_writes_total', 'counter', 'Writes forwarded, by outcome.', 'outcome', this.writes),
    ]
  }
}

function outcomeOf(exchange: Exchange): WriteOutcome {
  switch (exchange.kind) {
    case 'answered':
      return exchange.status < 400 ? 'done' : exchange.status < 500 ? 'refused' : 'failed'
    case 'unsent':
      return 'unreachable'
    case 'unanswered':
      return 'unknown'
    case 'overloaded':
      return 'overloaded'
  }
}
