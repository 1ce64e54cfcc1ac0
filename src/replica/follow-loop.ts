import type { LogCopy } from './log-copy.ts'

export interface FollowOptions {
  readonly copy: Pick<LogCopy, 'phase' | 'step'>
  /** Called after each step, whatever it came to. */
  readonly onStep: () => void
  /** Has the next run begin in so many milliseconds, unless it is nudged before. It outlives this process. */
  readonly wakeIn: (ms: number) => void
  /** How long there has been nothing new, in milliseconds; whoever waits for news makes that nothing. */
  readonly quietMs: () => number
  readonly onFault: (error: unknown) => void
}

/** Steps of one run: what is left is the next one's, so that none lasts for ever. */
const stepsMax = 200

/** Pauses: after news, as long as it has been quiet, so that they double; and while the source is away. */
const busyMs = 2_000
const idleMsMax = 300_000
const awayMs = 1_000
const awayMsMax = 60_000
/** A run that makes a copy may be cut off with its process: the next begins this long after it began. */
const cutOffMs = 10_000

/** Keeps a copy following: one run at a time takes steps until there is nothing new, and says when to look again. */
export class FollowLoop {
  private readonly options: FollowOptions
  private running: Promise<void> | null = null
  private isNudged = false
  private failures = 0

  constructor(options: FollowOptions) {
    this.options = options
  }

  /** Looks for news now; where it is looking already, once more after that. Resolves when it has. */
  nudge(): Promise<void> {
    this.isNudged = true
    this.running ??= this.run().finally(() => {
      this.running = null
    })
    return this.running
  }

  private async run(): Promise<void> {
    const { wakeIn, quietMs, copy } = this.options
    let steps = 0
    if (copy.phase !== 'following') wakeIn(cutOffMs)
    while (this.isNudged) {
      this.isNudged = false
      steps = await this.follow(steps)
      if (steps >= stepsMax) return wakeIn(0)
      if (this.failures > 0) return wakeIn(Math.min(awayMs * 2 ** (this.failures - 1), awayMsMax))
    }
    wakeIn(Math.min(Math.max(quietMs(), busyMs), idleMsMax))
  }

  /** Takes steps until there is nothing new; answers how many there were, with those before. */
  private async follow(before: number): Promise<number> {
    const { copy, onStep, onFault } = this.options
    for (let steps = before; steps < stepsMax; steps++) {
      try {
        const step = await copy.step()
        this.failures = 0
        if (step === 'whole') return steps
      } catch (error) {
        this.failures++
        onFault(error)
        return steps
      } finally {
        onStep()
      }
    }
    return stepsMax
  }
}
