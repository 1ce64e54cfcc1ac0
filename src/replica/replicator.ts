import type { Clock } from '../clock.ts'
import type { Copy, Sync } from '../store/replica.ts'

/** What a replicator tells its supervisor after each sync; `began` is when that started, in milliseconds since 1970. */
export type Report = Sync & { readonly began: number }

/** Pauses between syncs in milliseconds: while changes come, and while none do. */
const busyPauseMs = 3
const idlePauseMs = 250
/** How long after the last changes more of them are awaited back to back. */
const busyMs = 1_000
/** Pauses after a failure: doubled from the one to the other while syncs go on failing. */
const failedPauseMs = 50
const failedPauseMsMax = 1_000

export interface Replicator {
  /** Something is new at the primary: the next sync begins at once. */
  nudge(): void
  /** Syncs again and again, until the copy is broken. */
  run(): Promise<void>
}

/** Keeps a copy as near to its primary as the way to it allows: a sync can bring a change as soon as it has begun. */
export function createReplicator(copy: Copy, clock: Clock, report: (report: Report) => void): Replicator {
  let isNudged = false
  let endPause: (() => void) | undefined

  async function pause(ms: number) {
    if (!isNudged) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, ms)
      endPause = resolve
      await promise
      clearTimeout(timer)
    }
    isNudged = false
  }

  return {
    nudge() {
      isNudged = true
      endPause?.()
    },
    async run() {
      let changedAt = Number.NEGATIVE_INFINITY
      let failures = 0
      for (;;) {
        const began = clock.now()
        const sync = await copy.sync()
        report({ ...sync, began })
        if (sync.kind === 'failed') {
          if (sync.fault === 'broken') return
          await pause(Math.min(failedPauseMs * 2 ** failures++, failedPauseMsMax))
        } else {
          failures = 0
          if (sync.frames > 0) changedAt = clock.elapsed()
          await pause(clock.elapsed() - changedAt < busyMs ? busyPauseMs : idlePauseMs)
        }
      }
    },
  }
}
