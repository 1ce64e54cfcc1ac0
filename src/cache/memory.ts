/**
 * A map bounded by the bytes of what it holds. What is found in it is right only for the generation that it was filled
 * at: asking for another empties it.
 *
 * It is two maps: what is set goes into the young one; when that holds half of the bytes it becomes the old one, and
 * what the old one held is dropped at once. What is found in the old one moves to the young, so entries in use stay.
 * Dropping entries one by one costs more than the reads it saves: a Map walks over the places of deleted entries to
 * find its first (measured: a quarter of an uncached read).
 */
export class MemoryCache<T> {
  private young = new Map<string, Entry<T>>()
  private old = new Map<string, Entry<T>>()
  private youngBytes = 0
  private setOnce = new Set<number>()
  private readonly bytesMax: number
  private generation = -1

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get(key: string, generation: number): T | undefined {
    if (generation !== this.generation) this.empty(generation)
    const young = this.young.get(key)
    if (young) return young.value
    const old = this.old.get(key)
    if (old) this.keep(key, old)
    return old?.value
  }

  /**
   * Keeps a value read at `generation`, from the second time that it is set: most of what is asked for once is never
   * asked for again. One of another generation is late and is dropped. What was set once is remembered by a hash: the
   * keys themselves, most of them URLs, would fill memory with what is dropped soon after, and slow every read down. A
   * value whose key has the hash of another is kept at once, which harms nothing.
   */
  set(key: string, value: T, bytes: number, generation: number) {
    if (generation !== this.generation || bytes > this.bytesMax / 2) return
    const hash = hashOf(key)
    if (this.setOnce.has(hash)) return this.keep(key, { value, bytes })
    if (this.setOnce.size >= setOnceMax) this.setOnce = new Set()
    this.setOnce.add(hash)
  }

  private keep(key: string, entry: Entry<T>) {
    if (this.youngBytes + entry.bytes > this.bytesMax / 2) {
      this.old = this.young
      this.young = new Map()
      this.youngBytes = 0
    }
    this.youngBytes += entry.bytes - (this.young.get(key)?.bytes ?? 0)
    this.young.set(key, entry)
  }

  private empty(generation: number) {
    if (this.young.size > 0) this.young = new Map()
    if (this.old.size > 0) this.old = new Map()
    if (this.setOnce.size > 0) this.setOnce = new Set()
    this.youngBytes = 0
    this.generation = generation
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

interface Entry<T> {
  readonly value: T
  readonly bytes: number
}
