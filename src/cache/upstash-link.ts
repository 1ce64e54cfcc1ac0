import { Redis } from '@upstash/redis'

export interface LinkOptions {
  /** `https://...`, of the REST API. */
  readonly url: string
  readonly token: string
  /** How long a call may take, in milliseconds: then whoever asked goes on without it. */
  readonly answerMsMax: number
  /** A clock of milliseconds that never goes back. */
  readonly elapsed: () => number
}

/** The store has not answered in time, or not as it should, or is not asked for now. */
export class Away extends Error {}

/** Calls in a row that fail before no more are made. */
const failuresMax = 3
/** How long none are made then; after that one is, to see. */
const openMs = 500

/**
 * The way to a Redis behind Upstash's REST API. It never waits longer than its deadline, and where calls fail one after
 * another it fails at once, but for one call at a time that finds out whether the store is back. It says nothing of why:
 * what the client throws quotes the command, and with it what was to be kept.
 */
export class UpstashLink {
  readonly counts = { answered: 0, failed: 0, skipped: 0 }
  private readonly options: LinkOptions
  private readonly redis: Redis
  private failures = 0
  private triedAt = Number.NEGATIVE_INFINITY

  constructor(options: LinkOptions) {
    this.options = options
    const { url, token, answerMsMax } = options
    this.redis = new Redis({
      url,
      token,
      retry: false,
      automaticDeserialization: false,
      enableTelemetry: false,
      readYourWrites: false,
      signal: () => AbortSignal.timeout(answerMsMax),
    })
  }

  /** Whether calls are made, as far as is known. */
  get isUp(): boolean {
    return this.failures < failuresMax
  }

  /** A script that the store runs as one step. What it answers is whatever `parse` makes of it, which may throw. */
  script<T>(text: string, parse: (answer: unknown) => T): (keys: string[], args: (string | number)[]) => Promise<T> {
    const script = this.redis.createScript<unknown>(text)
    return (keys, args) => this.call(async () => parse(await script.exec(keys, args.map(String))))
  }

  private async call<T>(work: () => Promise<T>): Promise<T> {
    const now = this.options.elapsed()
    if (!this.isUp && now - this.triedAt < openMs) {
      this.counts.skipped++
      throw new Away('the store is not asked for now')
    }
    this.triedAt = now
    try {
      const answer = await work()
      this.failures = 0
      this.counts.answered++
      return answer
    } catch {
      this.failures++
      this.counts.failed++
      throw new Away('the store has not answered')
    }
  }
}
