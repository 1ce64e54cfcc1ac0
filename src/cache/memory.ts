import type { Cache, Entry, Found, Look, News } from './cache.ts'
import { LastChanges } from './last-changes.ts'

/**
 * A cache in this process, bounded by the bytes of what it holds.
 *
 * It is two maps: what is set goes into the young one; when that holds half of the bytes it becomes the old one, and
 * what the old one held is dropped at once. What is found in the old one moves to the young, so entries in use stay.
 * Dropping entries one by one costs more than the reads it saves: a Map walks over the places of deleted entries to
 * find its first (measured: a quarter of an uncached read).
 */
export class MemoryCache<T> implements Cache<T> {
  private young = new Map<string, Entry<T>>()
  private old = new Map<string, Entry<T>>()
  private youngBytes = 0
  private setOnce = new Set<number>()
  private readonly lastChanges = new LastChanges()
  private readonly bytesMax: number
  private readonly elapsed: () => number

  /** `elapsed` is a clock of milliseconds that never goes back. */
  constructor(bytesMax: number, elapsed: () => number) {
    this.bytesMax = bytesMax
    this.elapsed = elapsed
  }

  /** Everything up to here is known; -1 for nothing yet. */
  get position(): number {
    return this.lastChanges.position
  }

  learn(news: News): number {
    this.lastChanges.learn(news)
    return this.elapsed()
  }

  look(key: string): Look<T> {
    return { time: this.elapsed(), found: this.find(key) }
  }

  /** What is kept under a key; null where there is nothing. */
  find(key: string): Found<T> | null {
    const entry = this.get(key)
    return entry ? this.lastChanges.tell(entry) : null
  }

  private get(key: string): Entry<T> | undefined {
    const young = this.young.get(key)
    if (young) return young
    const old = this.old.get(key)
    if (old) this.hold(key, old)
    return old
  }

  /**
   * Keeps a value, from the second time that it comes: most of what is asked for once is never asked for again. A late
   * one, that was read at an earlier position than the one that is kept, is dropped. What was set once is remembered by a
   * hash: the keys themselves, most of them URLs, would fill memory with what is dropped soon after, and slow every read
   * down. A value whose key has the hash of another is kept at once, which harms nothing.
   */
  keep(key: string, entry: Entry<T>) {
    if (entry.bytes > this.bytesMax / 2) return
    const known = this.young.get(key) ?? this.old.get(key)
    if (known) {
      if (known.seq <= entry.seq) this.hold(key, entry)
      return
    }
    const hash = hashOf(key)
    if (this.setOnce.has(hash)) return this.hold(key, entry)
    if (this.setOnce.size >= setOnceMax) this.setOnce = new Set()
    this.setOnce.add(hash)
  }

  private hold(key: string, entry: Entry<T>) {
    if (this.youngBytes + entry.bytes > this.bytesMax / 2) {
      this.old = this.young
      this.young = new Map()
      this.youngBytes = 0
    }
    this.youngBytes += entry.bytes - (this.young.get(key)?.bytes ?? 0)
    this.young.set(key, entry)
  }
}

/** Keys remembered as set once; at more they are all forgotten. */
const setOnceMax = 10_000

/** 32 bits of a text: FNV-1a over its UTF-16 units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash
}
