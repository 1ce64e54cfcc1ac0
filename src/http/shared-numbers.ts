import { labelled, metric } from './metrics.ts'

/** What became of reads that the shared cache stands before. */
export class SharedNumbers {
  readonly reads = { hit: 0, joined: 0, miss: 0, stale: 0, away: 0, bypass: 0 }
  kept = 0

  /** For `/metrics`. */
  lines(): string[] {
    return [
      ...labelled(
        'perigee_shared_reads_total',
        'counter',
        'Reads before which the shared cache stands, by what it had.',
        'result',
        this.reads,
      ),
      ...metric('perigee_shared_answers_kept_total', 'counter', 'Answers put into the shared cache.', this.kept),
    ]
  }
}
