import type { Epoch, Position, Seq, TokenSealer } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { type ChangeEvent, eventOf, type Interest, type LoggedChange, readLog } from '../read/feed.ts'
import { callerIdentity } from '../schema/access.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import type { Reader } from '../store/reader.ts'

/** The database that is followed, and who seals its positions. */
export interface Followed {
  readonly model: Model
  readonly reader: Reader
  readonly epoch: Epoch
  readonly sealer: TokenSealer
}

/** What is told to one follower. Only `tell` may be called after `end`, and does nothing then. */
export interface Follower {
  readonly interest: Interest
  readonly format: 'plain' | 'cloudevents'
  /** Everything up to here was told. */
  position: Seq
  /** Tells an event as JSON, or that nothing of the follower's has happened up to its position. */
  tell(event: string | null, token: string): unknown
  /** Resolves when more may be told; at once where that is now. */
  ready(): Promise<void>
  /** There is no more; with a problem, the follower must begin anew. */
  end(problem: Problem | null): void
}

/**
 * The followers of one node. Those who have caught up are served by one look at the log for all of them: it is looked at
 * when there was a commit, and only while somebody follows.
 */
export class Followers {
  private readonly followed: Followed
  private readonly caughtUp = new Set<Follower>()
  private readonly all = new Set<Follower>()
  private position = 0 as Seq
  private generation = Number.NaN
  private timer: Timer | undefined
  private isClosed = false

  constructor(followed: Followed) {
    this.followed = followed
  }

  get count(): number {
    return this.all.size
  }

  /** Tells a follower what happened after its position, and then what happens. Answers how to end that. */
  follow(follower: Follower): () => void {
    if (this.isClosed || this.all.size >= limits.followersMax)
      throw new Problem('overloaded', {
        detail: 'This node has as many followers as it can, or is about to stop.',
        headers: { 'Retry-After': '1' },
      })
    this.all.add(follower)
    void this.catchUp(follower).catch((error: Error) => this.drop(follower, problemIn(error)))
    return () => this.remove(follower)
  }

  /** Resolves when there is something to tell of what happened after a position, or after `ms`. */
  async firstEvent(interest: Interest, position: Seq, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    const leave = this.follow({
      ...{ interest, format: 'plain', position },
      tell: (event) => event !== null && resolve(),
      ready: () => Promise.resolve(),
      end: () => resolve(),
    })
    await promise
    clearTimeout(timer)
    leave()
  }

  /** Ends all: a follower that comes back goes on where it was. */
  close() {
    this.isClosed = true
    clearTimeout(this.timer)
    for (const follower of this.all) this.drop(follower, null)
  }

  private remove(follower: Follower) {
    this.all.delete(follower)
    this.caughtUp.delete(follower)
  }

  private drop(follower: Follower, problem: Problem | null) {
    if (!this.all.has(follower)) return
    this.remove(follower)
    follower.end(problem)
  }

  private async catchUp(follower: Follower) {
    const { model, reader } = this.followed
    while (this.all.has(follower)) {
      const page = await readLog(model, reader, follower.interest.caller.tenant, follower.position)
      if (follower.position < page.horizon) throw mustRefetch()
      for (const change of page.changes) this.tell(follower, change)
      follower.position = page.reached
      if (page.reached >= page.head && this.join(follower)) return
      await follower.ready()
    }
  }

  /** Takes in a follower who has had everything that the others have. */
  private join(follower: Follower): boolean {
    if (!this.all.has(follower)) return true
    if (this.caughtUp.size === 0) this.position = follower.position
    if (follower.position < this.position) return false
    this.caughtUp.add(follower)
    follower.tell(null, this.tokenOf(follower.position))
    if (this.caughtUp.size === 1) this.lookSoon(0)
    return true
  }

  private lookSoon(ms: number) {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => void this.look(), ms)
  }

  private async look() {
    const { reader } = this.followed
    try {
      const generation = reader.generation()
      if (generation !== this.generation) await this.spread()
      this.generation = generation
    } catch (error) {
      // Whoever follows comes back, and is told then what is wrong.
      for (const follower of [...this.caughtUp]) this.drop(follower, problemIn(error as Error))
    }
    if (!this.isClosed && this.caughtUp.size > 0) this.lookSoon(reader.newsPauseMs)
  }

  private async spread() {
    const { model, reader } = this.followed
    for (;;) {
      const page = await readLog(model, reader, null, this.position)
      const byTenant = Map.groupBy(this.caughtUp, ({ interest }) => interest.caller.tenant as string)
      for (const change of page.changes) {
        for (const follower of byTenant.get(change.tenant) ?? [])
          if (change.seq > follower.position) this.tell(follower, change)
      }
      this.position = page.reached
      for (const follower of this.caughtUp) if (follower.position < page.reached) follower.position = page.reached
      if (page.reached >= page.head || this.caughtUp.size === 0) return
    }
  }

  private tell(follower: Follower, change: LoggedChange) {
    const token = this.tokenOf(change.seq)
    const text = this.textOf(change, follower, token)
    if (text !== null) follower.tell(text, token)
  }

  private tokenOf(seq: Seq): string {
    const position: Position = { epoch: this.followed.epoch, seq }
    return this.followed.sealer.seal(position)
  }

  /** The texts of one change, which followers with the same interest share. */
  private lastChange: LoggedChange | undefined
  private texts = new Map<string, string | null>()

  private textOf(change: LoggedChange, { interest, format }: Follower, token: string): string | null {
    if (interest.id !== null && interest.id !== change.id) return null
    if (change !== this.lastChange) {
      this.lastChange = change
      this.texts = new Map()
    }
    const key = interestKey(interest, format)
    const known = this.texts.get(key)
    if (known !== undefined) return known
    const event = eventOf(change, interest)
    const text = event && eventText(event, token, format)
    this.texts.set(key, text)
    return text
  }
}

const keyByInterest = new WeakMap<Interest, string>()

function interestKey(interest: Interest, format: string): string {
  const known = keyByInterest.get(interest)
  if (known !== undefined) return known
  const { caller, view, resource, fields } = interest
  const names = fields?.map(({ name }) => name) ?? null
  const key = JSON.stringify([callerIdentity(caller), view.version.date, resource?.name ?? null, names, format])
  keyByInterest.set(interest, key)
  return key
}

/** An event as JSON: as the feed's own shape, or as a CloudEvent (1.0.2, JSON format). */
export function eventText(event: ChangeEvent, token: string, format: Follower['format']): string {
  const { seq, time, resource, id, operation, version, changed, actor, request, record } = event
  if (format === 'plain') return JSON.stringify({ position: token, ...event })
  return JSON.stringify({
    ...{ specversion: '1.0', id: String(seq), source: '/changes', type: `perigee.${resource}.${operation}` },
    ...{ subject: `${resource}/${id}`, time, datacontenttype: 'application/json' },
    data: { position: token, version, changed, actor, request, record },
  })
}

export function mustRefetch(): Problem {
  return new Problem('must-refetch')
}

function problemIn(error: Error): Problem | null {
  return error instanceof Problem ? error : null
}
