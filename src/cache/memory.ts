/**
 * A map bounded by the bytes of what it holds; the oldest entries go first. What is found in it is right only for the
 * generation that it was filled at: asking for another empties it.
 */
export class MemoryCache<T> {
  private readonly entries = new Map<string, { readonly value: T; readonly bytes: number }>()
  private readonly bytesMax: number
  private bytes = 0
  private generation = -1

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get(key: string, generation: number): T | undefined {
    if (generation !== this.generation) {
      this.entries.clear()
      this.bytes = 0
      this.generation = generation
    }
    return this.entries.get(key)?.value
  }

  /** Keeps a value read at `generation`; one of another generation is late and is dropped. */
  set(key: string, value: T, bytes: number, generation: number) {
    if (generation !== this.generation || bytes > this.bytesMax) return
    const replaced = this.entries.get(key)
    if (replaced) {
      this.entries.delete(key)
      this.bytes -= replaced.bytes
    }
    this.entries.set(key, { value, bytes })
    this.bytes += bytes
    for (const [oldest, entry] of this.entries) {
      if (this.bytes <= this.bytesMax) return
      this.entries.delete(oldest)
      this.bytes -= entry.bytes
    }
  }

  get size(): number {
    return this.entries.size
  }
}
