import type { Entry, Found, News } from './cache.ts'

/**
 * The position of the last change of whatever entries are made of, as far as a cache was told of the log. With it one knows
 * of every entry whether it is still true: no time limit guesses.
 */
export class LastChanges {
  /** Everything up to here is known; -1 for nothing yet. */
  position = -1
  private at = 0
  private stamp = ''
  /** Of changes up to here nothing is known: an entry that was read before may be of before any of them. */
  private floor = -1
  private readonly seqByName = new Map<string, number>()

  learn({ from, to, at, stamp, seqByName }: News) {
    const goesOn = from !== null && this.position >= from && this.seqByName.size <= namesMax
    if (!goesOn) {
      this.seqByName.clear()
      this.floor = to
    } else {
      for (const [name, seq] of seqByName) if ((this.seqByName.get(name) ?? 0) < seq) this.seqByName.set(name, seq)
    }
    if (goesOn && to < this.position) return
    this.position = to
    this.stamp = stamp
    this.at = goesOn ? Math.max(at, this.at) : at
  }

  /** What is known of an entry. */
  tell<T>(entry: Entry<T>): Found<T> {
    const { seq, at } = entry
    if (!this.areBefore(entry)) return { entry, isProven: false, seq, at, stamp: null }
    const { position } = this
    const stamp = position > seq ? this.stamp : null
    return { entry, isProven: true, seq: Math.max(seq, position), at: Math.max(at, this.at), stamp }
  }

  /** Whether nothing that an entry was made of has changed since it was read. */
  private areBefore({ seq, depends }: Entry<unknown>): boolean {
    if (this.position < 0 || seq < this.floor) return false
    if (this.position <= seq) return true
    for (const name of depends) if ((this.seqByName.get(name) ?? 0) > seq) return false
    return true
  }
}

/** Names whose last change is known; at more they are forgotten, and with them what was kept. */
const namesMax = 100_000
