import { LastChanges } from '../cache/last-changes.ts'
import { MemoryCache } from '../cache/memory.ts'
import type { Seq } from '../log/position.ts'
import { limits } from '../schema/limits.ts'
import type { Reader } from '../store/reader.ts'
import type { ReadAnswer } from './service.ts'

const newsSql = 'select seq, tenant, resource, id from changes where seq > ?1 order by seq limit ?2'

/** The names of what an answer is made of: a resource of a tenant, or one record of it. */
export function dependency(tenant: string, resource: string, id?: string): string {
  return id === undefined ? `${tenant} ${resource}` : `${tenant} ${resource} ${id}`
}

/**
 * What a node keeps of its own answers, for as long as nothing that they were made of has changed: it looks at the log
 * after each commit that reads can see, and at nothing where there was none. A database that is read over a network is
 * not looked at, and nothing is kept of it.
 */
export class KeptAnswers {
  private readonly answers = new MemoryCache<ReadAnswer>(limits.answerCacheBytesMax)
  private readonly lastChanges = new LastChanges()
  private readonly reader: Reader
  private generation = Number.NaN
  hits = 0
  misses = 0

  constructor(reader: Reader) {
    this.reader = reader
  }

  /** An answer that is still true, and the position that it is true at; null where there is none. */
  find(key: string): { readonly answer: ReadAnswer; readonly seq: Seq } | null {
    const entry = this.lookAtLog() ? this.answers.get(key) : undefined
    if (!entry || !this.lastChanges.areBefore(entry)) {
      this.misses++
      return null
    }
    this.hits++
    return { answer: entry.value, seq: this.lastChanges.position as Seq }
  }

  keep(key: string, answer: ReadAnswer, depends: readonly string[]) {
    const bytes = 2 * (key.length + answer.body.length) + entryBytes
    this.answers.set(key, { value: answer, bytes, seq: answer.position.seq, depends })
  }

  /** Whether everything that reads can see is known. */
  private lookAtLog(): boolean {
    const generation = this.reader.generation()
    if (generation === this.generation) return true
    if (this.reader.newsPauseMs > localPauseMsMax) return false
    const { lastChanges } = this
    const rows = this.reader.rows(newsSql, [lastChanges.position, limits.keptNewsMax + 1])
    if (rows instanceof Promise) return false
    if (lastChanges.position < 0 || rows.length > limits.keptNewsMax) {
      const [row] = this.reader.rows('select coalesce(max(seq), 0) from changes', []) as readonly (readonly unknown[])[]
      lastChanges.forget(Number(row?.[0]))
      lastChanges.position = Number(row?.[0])
    }
    for (const [seq, tenant, resource, id] of rows) {
      lastChanges.position = Math.max(lastChanges.position, Number(seq))
      lastChanges.learn(dependency(String(tenant), String(resource)), Number(seq))
      lastChanges.learn(dependency(String(tenant), String(resource), String(id)), Number(seq))
    }
    this.generation = generation
    return true
  }
}

/** Of a reader that answers at once. */
const localPauseMsMax = 100

/** Bytes of an answer that is kept beside its key and body: its headers and the objects around them, rounded up. */
const entryBytes = 1_500
