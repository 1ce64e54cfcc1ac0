import type { Interest, LoggedChange } from '../read/feed.ts'
import { callerIdentity } from '../schema/access.ts'
import type { EventFormat } from './event-text.ts'

/** What decides which events a follower is told, and how. */
export interface Wish {
  readonly interest: Interest
  readonly format: EventFormat
}

/** Followers who are told the same: one look at a change decides for all of them. */
export interface Audience<F extends Wish> extends Wish {
  readonly followers: Set<F>
  /** The same for all audiences that are told an event in the same words, if they are told it. */
  readonly words: string
}

/** Followers by what they wish, so that a change costs those nothing who are not told of it. */
export class Audiences<F extends Wish> {
  private readonly byPlace = new Map<string, Map<string, Audience<F>>>()
  private readonly byFollower = new Map<F, Audience<F>>()

  get size(): number {
    return this.byFollower.size
  }

  has(follower: F): boolean {
    return this.byFollower.has(follower)
  }

  add(follower: F) {
    const { interest, format } = follower
    const place = placeOf(interest.caller.tenant, interest.id)
    const here = this.byPlace.get(place) ?? new Map<string, Audience<F>>()
    this.byPlace.set(place, here)
    const words = wordsOf(follower)
    const key = `${words} ${callerIdentity(interest.caller)}`
    const audience = here.get(key) ?? { interest, format, words, followers: new Set() }
    here.set(key, audience)
    audience.followers.add(follower)
    this.byFollower.set(follower, audience)
  }

  delete(follower: F) {
    const audience = this.byFollower.get(follower)
    if (!audience) return
    this.byFollower.delete(follower)
    audience.followers.delete(follower)
    if (audience.followers.size > 0) return
    const { words, interest } = audience
    const place = placeOf(interest.caller.tenant, interest.id)
    const here = this.byPlace.get(place)
    here?.delete(`${words} ${callerIdentity(interest.caller)}`)
    if (here?.size === 0) this.byPlace.delete(place)
  }

  /** Those who may have to be told of a change. */
  *of({ tenant, id }: LoggedChange): Generator<Audience<F>> {
    for (const place of [placeOf(tenant, null), placeOf(tenant, id)]) yield* this.byPlace.get(place)?.values() ?? []
  }

  *[Symbol.iterator](): Generator<F> {
    yield* this.byFollower.keys()
  }
}

/** Where changes of a tenant are told: all of them, or those of one record. */
function placeOf(tenant: string, id: string | null): string {
  return id === null ? tenant : `${tenant} ${id}`
}

function wordsOf({ interest: { view, resource, fields }, format }: Wish): string {
  return JSON.stringify([view.version.date, resource?.name ?? null, fields?.map(({ name }) => name) ?? null, format])
}
