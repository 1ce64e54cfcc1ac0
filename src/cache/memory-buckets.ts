import type { Buckets, Grant, Quota } from './buckets.ts'

/** Buckets in each of two generations; at more the older is dropped, and what is dropped is full again. */
const bucketsMax = 50_000

/**
 * Buckets of this process. Of each, all that is kept is when it will be full. They are two maps, as in `memory.ts`: those
 * in use stay.
 */
export class MemoryBuckets implements Buckets {
  private readonly elapsed: () => number
  private young = new Map<string, number>()
  private old = new Map<string, number>()

  /** `elapsed` is a clock of milliseconds that never goes back. */
  constructor(elapsed: () => number) {
    this.elapsed = elapsed
  }

  take(name: string, { tokens, windowMs }: Quota, wanted: number): Grant {
    const now = this.elapsed()
    const tokenMs = windowMs / tokens
    const missingMs = Math.max(0, (this.young.get(name) ?? this.old.get(name) ?? now) - now)
    const there = Math.floor((windowMs - missingMs) / tokenMs + 1e-9)
    const taken = Math.min(wanted, there)
    const fullMs = missingMs + taken * tokenMs
    this.set(name, now + fullMs)
    const left = there - taken
    return { taken, left, waitMs: left > 0 ? 0 : Math.ceil(fullMs + tokenMs - windowMs), fullMs: Math.ceil(fullMs) }
  }

  private set(name: string, fullAt: number) {
    if (this.young.size >= bucketsMax) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(name, fullAt)
  }
}
