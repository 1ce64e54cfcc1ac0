import { labelled } from '../http/metrics.ts'
import type { Position, TokenSealer } from '../log/position.ts'

/** Between two nudges of one edge: what is committed in between is told by the second. */
const pauseMs = 100
/** How long an edge may take to hear of it. */
const answerMsMax = 2_000

export interface Nudges {
  /** Takes in that something was committed. */
  onWritten(position: Position): void
  metrics(): readonly string[]
  /** Ends when nothing is on its way any more. */
  stop(): Promise<void>
}

/**
 * Tells edges that do not hold a connection to this primary, Workers that is, that there is news: each gets a token of the
 * last position, soon after a write and never more than one at a time. An edge that is not reached looks by itself later.
 */
export function nudgeEdges(origins: readonly string[], sealer: TokenSealer): Nudges {
  const counts = { told: 0, failed: 0 }
  const edges = origins.map((origin) => new NudgedEdge(origin, counts))
  return {
    onWritten(position) {
      if (edges.length === 0) return
      const token = sealer.seal(position)
      for (const edge of edges) edge.tell(token)
    },
    metrics: () =>
      edges.length === 0
        ? []
        : labelled(
            'perigee_nudges_total',
            'counter',
            'Edges that were told of news, and those not reached.',
            'result',
            counts,
          ),
    async stop() {
      await Promise.all(edges.map((edge) => edge.stop()))
    },
  }
}

class NudgedEdge {
  private readonly url: string
  private readonly counts: { told: number; failed: number }
  private next: string | null = null
  private telling: Promise<void> | null = null
  private isStopped = false

  constructor(origin: string, counts: { told: number; failed: number }) {
    this.url = `${origin}/nudge`
    this.counts = counts
  }

  tell(token: string) {
    if (this.isStopped) return
    this.next = token
    this.telling ??= this.run().finally(() => {
      this.telling = null
    })
  }

  async stop() {
    this.isStopped = true
    await this.telling
  }

  private async run() {
    while (this.next !== null) {
      const token = this.next
      this.next = null
      this.counts[(await this.post(token)) ? 'told' : 'failed']++
      if (!this.isStopped) await new Promise((go) => setTimeout(go, pauseMs))
    }
  }

  private async post(token: string): Promise<boolean> {
    try {
      const headers = { 'Consistency-Token': token }
      const signal = AbortSignal.timeout(answerMsMax)
      const response = await fetch(this.url, { method: 'POST', headers, signal, redirect: 'manual' })
      await response.arrayBuffer()
      return response.status === 202
    } catch {
      return false
    }
  }
}
