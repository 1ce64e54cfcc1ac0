import { MemoryCache } from '../cache/memory.ts'
import type { Seq } from '../log/position.ts'
import { limits } from '../schema/limits.ts'
import type { Reader } from '../store/reader.ts'
import { readNews } from './news.ts'
import type { ReadAnswer } from './service.ts'

/**
 * What a node keeps of its own answers, for as long as nothing that they were made of has changed: it looks at the log
 * after each commit that reads can see, and at nothing where there was none. A database that is read over a network is
 * not looked at, and nothing is kept of it.
 */
export class KeptAnswers {
  private readonly answers: MemoryCache<ReadAnswer>
  private readonly reader: Reader
  private generation = Number.NaN
  hits = 0
  misses = 0

  constructor(reader: Reader, elapsed: () => number, bytesMax: number = limits.answerCacheBytesMax) {
    this.reader = reader
    this.answers = new MemoryCache(bytesMax, elapsed)
  }

  /** An answer that is still true, and the position that it is true at; null where there is none. */
  find(key: string): { readonly answer: ReadAnswer; readonly seq: Seq } | null {
    const found = this.lookAtLog() ? this.answers.find(key) : null
    if (!found?.isProven) {
      this.misses++
      return null
    }
    this.hits++
    return { answer: found.entry.value, seq: found.seq as Seq }
  }

  keep(key: string, answer: ReadAnswer, depends: readonly string[]) {
    if (isDear(this.reader)) return
    const bytes = 2 * (key.length + answer.body.length) + entryBytes
    this.answers.keep(key, { value: answer, bytes, seq: answer.position.seq, at: 0, depends })
  }

  /** Whether everything that reads can see is known. */
  private lookAtLog(): boolean {
    const generation = this.reader.generation()
    if (generation === this.generation) return true
    if (isDear(this.reader)) return false
    const news = readNews(this.reader, this.answers.position)
    if (news instanceof Promise) return false
    this.answers.learn({ ...news, at: 0, stamp: '' })
    this.generation = generation
    return true
  }
}

/** Whether what it reads is over a network: each read then costs more than all else of its request. */
export function isDear({ newsPauseMs }: Reader): boolean {
  return newsPauseMs > localPauseMsMax
}

/** Of a reader that answers at once. */
const localPauseMsMax = 100

/** Bytes of an answer that is kept beside its key and body: its headers and the objects around them, rounded up. */
const entryBytes = 1_500
