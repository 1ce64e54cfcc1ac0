import type { Position, Seq } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { eventOf, type LoggedChange, type LogPage, readLog, sightOf } from '../read/feed.ts'
import { limits } from '../schema/limits.ts'
import { type Audience, Audiences, type Wish } from './audiences.ts'
import { eventBlock, positionBlock } from './event-text.ts'
import type { Service } from './service.ts'

/** What is told to one follower. All but `end` may be called after it, and do nothing then. */
export interface Follower extends Wish {
  /** Everything up to here was told before the follower had caught up with the others. */
  position: Seq
  /** An event, as a block of a stream that others are told as well. */
  tell(event: Uint8Array): unknown
  /** A sign of life: nothing of the follower's has happened up to its position. */
  reach(position: Uint8Array): unknown
  /** Resolves when more may be told; at once where that is now. */
  ready(): Promise<void>
  /** Rejects where the follower may no longer listen. Asked at each sign of life. */
  check(): Promise<unknown>
  /** There is no more; with a problem, for that reason. */
  end(problem: Problem | null): void
}

/** Bytes of the records that are read at once for streams: what is made of them, clients can read before the next. */
const partBytesMax = limits.followerBytesMax / 4

/**
 * The followers of one node. Those who have caught up are served by one look at the log for all of them: it is looked at
 * when there was a commit, and only while somebody follows.
 */
export class Followers {
  private readonly service: Service
  /** All, with the time of the next sign of life, which comes first for the first. */
  private readonly signMsByFollower = new Map<Follower, number>()
  private readonly caughtUp = new Audiences<Follower>()
  /** Those who have caught up were told everything up to here. */
  private position = 0 as Seq
  private generation = Number.NaN
  private isLooking = false
  private isClosed = false

  constructor(service: Service) {
    this.service = service
  }

  get count(): number {
    return this.signMsByFollower.size
  }

  /** Tells a follower what happened after its position, and then what happens. Answers how to end that. */
  follow(follower: Follower): () => void {
    if (this.isClosed) {
      // Browsers come back to a stream that has ended, and give one up that is refused.
      follower.end(null)
      return () => {}
    }
    if (this.count >= limits.followersMax)
      throw new Problem('overloaded', {
        detail: 'This node has as many followers as it can.',
        headers: { 'Retry-After': '1' },
      })
    this.signMsByFollower.set(follower, this.service.elapsed() + limits.signOfLifeMs)
    if (!this.isLooking) void this.look()
    void this.catchUp(follower).catch((error: unknown) => this.drop([follower], this.reasonOf(error)))
    return () => this.remove(follower)
  }

  /** Resolves when there is something to tell of what happened after a position, when `over` is aborted, or after `ms`. */
  async firstEvent(wish: Wish & { readonly position: Seq }, ms: number, over: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const ready = () => Promise.resolve()
    const leave = this.follow({ ...wish, tell: () => resolve(), reach() {}, ready, check: ready, end: () => resolve() })
    const timer = setTimeout(resolve, ms)
    const gone = () => resolve()
    over.addEventListener('abort', gone)
    await promise
    over.removeEventListener('abort', gone)
    clearTimeout(timer)
    leave()
  }

  /** Ends all: a follower that comes back goes on where it was. */
  close() {
    this.isClosed = true
    this.drop(this.signMsByFollower.keys(), null)
  }

  private remove(follower: Follower) {
    this.signMsByFollower.delete(follower)
    this.caughtUp.delete(follower)
  }

  private drop(followers: Iterable<Follower>, problem: Problem | null) {
    for (const follower of [...followers]) {
      if (!this.signMsByFollower.has(follower)) continue
      this.remove(follower)
      follower.end(problem)
    }
  }

  /** Whoever follows and is dropped comes back. A fault of ours it is not told; it is reported. */
  private reasonOf(error: unknown): Problem | null {
    if (error instanceof Problem) return error
    this.service.onFault(error, this.service.newId())
    return null
  }

  private async catchUp(follower: Follower) {
    const { interest } = follower
    while (this.signMsByFollower.has(follower)) {
      const page = await this.readPart(interest.caller.tenant, follower.position)
      if (follower.position < page.horizon) throw mustRefetch()
      for (const change of page.changes) {
        const event = eventOf(change, interest)
        if (event) follower.tell(eventBlock(event, this.tokenOf(change.seq), follower.format))
      }
      follower.position = page.reached
      if (page.reached >= page.head && this.join(follower, page.head)) return
      await follower.ready()
      // However far behind it is, whoever else asks is answered in between.
      await pause(0)
    }
  }

  /** Takes in a follower who has had everything that the others have. Its position may be one that is still to come. */
  private join(follower: Follower, head: Seq): boolean {
    if (!this.signMsByFollower.has(follower)) return true
    if (this.caughtUp.size === 0) this.position = head
    if (follower.position < this.position) return false
    this.caughtUp.add(follower)
    follower.reach(positionBlock(this.tokenOf(follower.position)))
    return true
  }

  /** Looks again and again, as long as somebody follows. */
  private async look() {
    this.isLooking = true
    for (;;) {
      await pause(this.service.reader.newsPauseMs)
      if (this.count === 0) break
      await this.lookOnce().catch((error: unknown) => this.drop(this.caughtUp, this.reasonOf(error)))
      this.giveSigns()
    }
    this.isLooking = false
  }

  private async lookOnce() {
    if (this.caughtUp.size === 0) return
    const generation = this.service.reader.generation()
    if (generation !== this.generation) await this.spread()
    this.generation = generation
  }

  /** Tells those who have caught up what has happened since. */
  private async spread() {
    while (this.caughtUp.size > 0) {
      const page = await this.readPart(null, this.position)
      for (const change of page.changes) this.tellOf(change)
      this.position = page.reached
      if (page.reached >= page.head) return
      // What was told is on its way to those who read before there is more.
      await pause(0)
    }
  }

  private tellOf(change: LoggedChange) {
    const made = new Map<string, Uint8Array>()
    for (const audience of this.caughtUp.of(change)) {
      const event = this.eventFor(change, audience, made)
      if (event === null) continue
      for (const follower of audience.followers) if (change.seq > follower.position) follower.tell(event)
    }
  }

  /** `made` has what was made of the change for other audiences. */
  private eventFor(change: LoggedChange, audience: Audience<Follower>, made: Map<string, Uint8Array>) {
    const sight = sightOf(change, audience.interest)
    if (sight === 'hidden') return null
    const known = made.get(sight + audience.words)
    if (known) return known
    const event = eventOf(change, audience.interest, sight)
    if (event === null) return null
    const block = eventBlock(event, this.tokenOf(change.seq), audience.format)
    made.set(sight + audience.words, block)
    return block
  }

  /** Signs of life to those for whom it is time, with how far they were told. */
  private giveSigns() {
    const now = this.service.elapsed()
    for (const [follower, ms] of this.signMsByFollower) {
      if (ms > now) return
      this.signMsByFollower.delete(follower)
      this.signMsByFollower.set(follower, now + limits.signOfLifeMs)
      const reached = this.caughtUp.has(follower) ? Math.max(this.position, follower.position) : follower.position
      follower.reach(positionBlock(this.tokenOf(reached as Seq)))
      follower.check().catch((error: unknown) => this.drop([follower], this.reasonOf(error)))
    }
  }

  private readPart(tenant: string | null, after: Seq): Promise<LogPage> {
    const { model, reader } = this.service
    return readLog(model, reader, { tenant, after, bytesMax: partBytesMax })
  }

  private tokenOf(seq: Seq): string {
    const position: Position = { epoch: this.service.epoch, seq }
    return this.service.sealer.seal(position)
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

export function mustRefetch(): Problem {
  return new Problem('must-refetch')
}
