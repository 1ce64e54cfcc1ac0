import type { Entry } from './memory.ts'

/**
 * The position of the last change of whatever entries are made of, as far as a node has read its log. With it a node that
 * has the log knows of every entry whether it is still true: nothing need be told to it, and no time limit guesses.
 */
export class LastChanges {
  /** Everything up to here is known; -1 for nothing yet. */
  position = -1
  /** Of changes up to here nothing is known: an entry that was read before may be of before any of them. */
  private floor = -1
  private readonly seqByName = new Map<string, number>()

  /** Takes in that something changed at `seq`. */
  learn(name: string, seq: number) {
    if (this.seqByName.size >= namesMax && !this.seqByName.has(name)) this.forget(seq)
    this.seqByName.set(name, seq)
  }

  /** Begins anew at a position, where what happened before cannot be told one by one. */
  forget(position: number) {
    this.seqByName.clear()
    this.floor = Math.max(position, this.floor)
  }

  /** Whether nothing that an entry was made of has changed since it was read. */
  areBefore({ seq, depends }: Entry<unknown>): boolean {
    if (seq < this.floor) return false
    for (const name of depends) if ((this.seqByName.get(name) ?? 0) > seq) return false
    return true
  }
}

/** Names whose last change is known; at more they are forgotten, and with them what was kept. */
const namesMax = 100_000
