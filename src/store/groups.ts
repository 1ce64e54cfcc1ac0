import type { Batch, Outcome, PrimaryStats } from './primary.ts'

/** How much may wait, and how long. */
export interface Queue {
  /** Batches that may wait; one more fails as overloaded. */
  readonly waitingMax: number
  /**
   * Where the first that waits has done so for longer, or the last would, by how long the last group took, one more fails
   * as overloaded, too: what is taken is done while whoever sent it still waits, however much more is asked for.
   */
  readonly waitMsMax: number
  /** The time, in milliseconds. */
  readonly elapsed: () => number
}

export interface GroupOptions extends Queue {
  /** Starts to commit a group. `settle` is told what became of it, before the next group is sent. */
  readonly send: (group: readonly Batch[]) => void
}

/** At the next turn of the event loop; workerd has a timer for that and nothing else. */
const nextTurn: (work: () => void) => void =
  typeof setImmediate === 'function' ? (work) => void setImmediate(work) : (work) => void setTimeout(work, 0)

/** What became of one batch of a group; an error where the batch itself is wrong, a fault of ours. */
export type Settled = Outcome | Error

export const isFailed = (settled: Settled) => !(settled instanceof Error) && settled.kind === 'failed'

/** Statements in one group, more only in a batch alone: the first batch of a group waits for the last. */
const groupStepsMax = 1_000

interface Waiting {
  readonly batch: Batch
  readonly since: number
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (fault: Error) => void
}

/** Group commit: while one group is in flight, the batches that arrive wait and become the next. */
export class Groups {
  private readonly options: GroupOptions
  private waiting: Waiting[] = []
  private inFlight: Waiting[] = []
  private isSending = false
  private isAbandoned = false
  private waitingSteps = 0
  private sentAt = 0
  private lastGroupMs = 0
  private batches = 0
  private groups = 0
  private whenIdle: (() => void) | undefined

  constructor(options: GroupOptions) {
    this.options = options
  }

  commit(batch: Batch): Promise<Outcome> {
    if (this.isAbandoned) return Promise.resolve({ kind: 'failed', reason: 'io' })
    if (this.isFull()) return Promise.resolve({ kind: 'failed', reason: 'overloaded' })
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
    this.waiting.push({ batch, since: this.options.elapsed(), resolve, reject })
    this.waitingSteps += batch.steps.length
    if (this.inFlight.length === 0 && !this.isSending) {
      // What else arrives in this turn of the event loop shares the group.
      this.isSending = true
      nextTurn(() => this.sendNext())
    }
    return promise
  }

  private isFull(): boolean {
    const { waitingMax, waitMsMax, elapsed } = this.options
    const [first] = this.waiting
    if (first === undefined) return false
    const groupsAhead = Math.ceil(this.waitingSteps / groupStepsMax)
    const isLate = elapsed() - first.since > waitMsMax || groupsAhead * this.lastGroupMs > waitMsMax
    return isLate || this.waiting.length >= waitingMax
  }

  private sendNext() {
    this.isSending = false
    if (this.inFlight.length > 0 || this.waiting.length === 0) return
    this.inFlight = this.waiting.splice(0, groupLength(this.waiting))
    this.waitingSteps -= stepsOf(this.inFlight)
    this.sentAt = this.options.elapsed()
    this.groups++
    this.batches += this.inFlight.length
    this.options.send(this.inFlight.map((each) => each.batch))
  }

  /** The group in flight has ended, each batch as `settled` says in their order; the next group goes. */
  settle(settled: readonly Settled[]) {
    const ended = this.inFlight
    this.inFlight = []
    this.lastGroupMs = this.options.elapsed() - this.sentAt
    this.sendNext()
    for (const [i, { resolve, reject }] of ended.entries()) {
      const each = settled[i] ?? { kind: 'unknown' }
      if (each instanceof Error) reject(each)
      else resolve(each)
    }
    if (this.inFlight.length === 0) this.whenIdle?.()
  }

  /** Nothing can be committed any more: what was in flight or waited has an unknown outcome. */
  abandon() {
    this.isAbandoned = true
    for (const each of [...this.inFlight, ...this.waiting]) each.resolve({ kind: 'unknown' })
    this.inFlight = []
    this.waiting = []
    this.waitingSteps = 0
    this.whenIdle?.()
  }

  /** Ends when nothing is in flight and nothing waits. */
  async finished(): Promise<void> {
    if (this.inFlight.length + this.waiting.length === 0) return
    await new Promise<void>((resolve) => {
      this.whenIdle = resolve
    })
  }

  stats(): PrimaryStats {
    return { waiting: this.waiting.length + this.inFlight.length, groups: this.groups, batches: this.batches }
  }
}

/** How many of those that wait make the next group. */
function groupLength(waiting: readonly Waiting[]): number {
  let steps = 0
  for (const [i, { batch }] of waiting.entries()) {
    steps += batch.steps.length
    if (i > 0 && steps > groupStepsMax) return i
  }
  return waiting.length
}

function stepsOf(group: readonly Waiting[]): number {
  return group.reduce((sum, { batch }) => sum + batch.steps.length, 0)
}
