import type { Reader } from '../store/reader.ts'
import { backlog, type Ending } from './queue.ts'

/** Between two looks at what waits. */
const lookPauseMs = 5_000

/** What a dispatcher tells of itself in `/metrics`. */
export class WebhookNumbers {
  private readonly reader: Reader
  private readonly now: () => number
  private readonly tries = { delivered: 0, pending: 0, failed: 0 }
  private waiting = 0
  private oldest: string | null = null
  private lookedAt = Number.NEGATIVE_INFINITY

  constructor(reader: Reader, now: () => number) {
    this.reader = reader
    this.now = now
  }

  count(state: Ending['state']) {
    this.tries[state]++
  }

  /** Counts what waits, where that was last done some time ago. */
  async look() {
    const now = this.now()
    if (Math.abs(now - this.lookedAt) < lookPauseMs) return
    this.lookedAt = now
    const { waiting, oldest } = await backlog(this.reader)
    this.waiting = waiting
    this.oldest = oldest
  }

  lines(): string[] {
    const age = this.oldest === null ? 0 : Math.max(0, this.now() - Date.parse(this.oldest)) / 1000
    const { delivered, pending, failed } = this.tries
    const name = 'perigee_webhook_tries_total'
    return [
      `# HELP ${name} Requests to webhooks by what came of them; retry: it is tried again, failed: it is given up.`,
      `# TYPE ${name} counter`,
      ...Object.entries({ delivered, retry: pending, failed }).map(([how, n]) => `${name}{outcome="${how}"} ${n}`),
      '# HELP perigee_webhook_waiting Deliveries to active webhooks that have not ended.',
      '# TYPE perigee_webhook_waiting gauge',
      `perigee_webhook_waiting ${this.waiting}`,
      '# HELP perigee_webhook_oldest_waiting_seconds Since when the oldest of them waits.',
      '# TYPE perigee_webhook_oldest_waiting_seconds gauge',
      `perigee_webhook_oldest_waiting_seconds ${age}`,
    ]
  }
}
