import type { Soon } from '../soon.ts'

/** What is kept, where in the log and when it was read, and what it was made of: it is as true as the last change of that. */
export interface Entry<T> {
  readonly value: T
  readonly bytes: number
  /** The position that it was read at. */
  readonly seq: number
  /** A time of the cache at which it was not yet read, in milliseconds. What is committed later may lack in it. */
  readonly at: number
  /** Names of what it was made of, as `News` tells them. */
  readonly depends: readonly string[]
}

/** What is known of an entry: that it was true at a position and a time, at the least. */
export interface Found<T> {
  readonly entry: Entry<T>
  /** Whether nothing that it was made of has changed up to the last news; else it is as old as its reading. */
  readonly isProven: boolean
  readonly seq: number
  readonly at: number
  /** What the news says of that position, where it is the news that prove it. */
  readonly stamp: string | null
}

export interface Look<T> {
  /** By the clock of the cache, in milliseconds: what is read from now on has `at` of this. */
  readonly time: number
  readonly found: Found<T> | null
}

/** What the log tells a cache: what has changed, up to a position. */
export interface News {
  /** Everything after this position is told; null where there may be more, so that nothing is known of before `to`. */
  readonly from: number | null
  readonly to: number
  /** A time of the cache: all that was committed until then is at or before `to`. */
  readonly at: number
  readonly stamp: string
  /** The position of the last change, by name. */
  readonly seqByName: ReadonlyMap<string, number>
}

/**
 * A cache of one history of a database, which its epoch names. Drivers: `memory.ts`, `upstash-redis.ts`.
 *
 * It may lose anything at any time. It never takes an older entry for a newer one, whenever a fill arrives, and never
 * calls an entry proven that a change it was told of has overtaken. A driver that is out of reach rejects.
 */
export interface Cache<T> {
  look(key: string): Soon<Look<T>>
  keep(key: string, entry: Entry<T>): Soon<void>
  /** Takes in news, and answers its time. News that do not go on from where it stands are where it begins anew. */
  learn(news: News): Soon<number>
}
