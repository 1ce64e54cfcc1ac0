import type { Value } from '../value.ts'
import type { Entry } from './cache.ts'
import { kvText } from './workers-kv.ts'

/** What of Workers KV the keeper needs. */
export interface KvWriter {
  put(key: string, text: string, options: { expirationTtl: number }): Promise<void>
  delete(key: string): Promise<void>
}

/** The database of the copy, in which the keeper remembers what it keeps and what that is made of. */
interface KeeperDatabase {
  rows(sql: string, args: readonly Value[]): readonly (readonly Value[])[]
}

export interface KvKeeperOptions {
  readonly kv: KvWriter
  readonly database: KeeperDatabase
  /** Of which history of the database the positions are. */
  readonly history: string
  /** The last change of what a name stands for, as the copy has it; null where the copy is none. */
  readonly lastChange: (name: string) => number | null
  /** The names of what has changed after a position, of so many changes at most, and up to where those are told. */
  readonly changedAfter: (seq: number, changesMax: number) => { readonly names: readonly string[]; readonly to: number }
  readonly entryMsMax: number
  readonly now: () => number
}

/** KV takes one write of a key in a second. */
const writeMsMin = 1_000
/** Keys that one look at the changes takes out: each is a request, of which an event may make so many. */
const deletesMax = 400
/** Changes that are looked at together. */
const changesMax = 500
/** Keys that were asked for once; an answer is kept from the second time on. */
const askedMax = 10_000

const createSql = [
  'create table if not exists kvKeys(name text, key text, until integer, primary key(name, key)) strict, without rowid',
  'create table if not exists kvForgotten(one integer primary key, history text, seq integer) strict',
]
const keysOfSql = 'select distinct key from kvKeys where name in (select value from json_each(?1)) limit ?2'

/**
 * The one writer of a copy's answers in Workers KV. It takes an answer only while nothing that it was made of has changed
 * since, as the copy stands, and writes a key once at a time, so that a late fill never takes the place of a newer one.
 * What the log then says has changed is taken out; where that is missed, entries end by their time.
 */
export class KvKeeper {
  private readonly options: KvKeeperOptions
  private readonly writing = new Map<string, Promise<void>>()
  private readonly writtenAt = new Map<string, number>()
  private asked = new Set<string>()

  /** What is kept in KV is of this position or later. */
  private forgotten: number

  /** `position` is where the copy stands. Of another history than `options.history`, nothing is kept that is asked for. */
  constructor(options: KvKeeperOptions, position: number) {
    const { database, history } = options
    this.options = options
    for (const sql of createSql) database.rows(sql, [])
    const [row] = database.rows('select seq from kvForgotten where one = 1 and history = ?1', [history])
    this.forgotten = row ? Number(row[0]) : position
    if (row) return
    database.rows('delete from kvKeys', [])
    this.remember()
  }

  async keep(key: string, entry: Entry<string>): Promise<void> {
    const { kv, database, entryMsMax, now } = this.options
    if (!this.isWorthIt(key) || !this.isTrue(entry)) return
    const until = now() + entryMsMax
    for (const name of entry.depends)
      database.rows('insert or replace into kvKeys(name, key, until) values (?1, ?2, ?3)', [name, key, until])
    const write = kv.put(key, kvText(entry), { expirationTtl: Math.ceil(entryMsMax / 1_000) })
    this.writing.set(key, write)
    try {
      await write
    } finally {
      this.writing.delete(key)
      this.writtenAt.delete(key)
      this.writtenAt.set(key, now())
      if (this.writtenAt.size > askedMax) this.writtenAt.delete(this.writtenAt.keys().next().value ?? '')
    }
  }

  /** Takes out what has changed up to where the copy stands; what is more than an event may, the next call does. */
  async forget(position: number): Promise<void> {
    const { database, now, changedAfter } = this.options
    let left = deletesMax
    while (this.forgotten < position && left > 0) {
      const from = this.forgotten
      const { names, to } = changedAfter(from, changesMax)
      const found = database.rows(keysOfSql, [JSON.stringify(names), left])
      left -= found.length
      await Promise.all(found.map(([key]) => this.remove(String(key))))
      // Another call may have come further meanwhile.
      if (left > 0) this.forgotten = Math.max(this.forgotten, to > from ? to : position)
    }
    this.remember()
    database.rows('delete from kvKeys where until < ?1', [now()])
  }

  /** Up to where it has told KV, so that one that takes its place goes on from there. */
  private remember() {
    const { database, history } = this.options
    database.rows('insert or replace into kvForgotten(one, history, seq) values (1, ?1, ?2)', [history, this.forgotten])
  }

  private async remove(key: string) {
    // After what is being written, or that would come back.
    await this.writing.get(key)?.catch(() => undefined)
    await this.options.kv.delete(key)
    this.options.database.rows('delete from kvKeys where key = ?1', [key])
  }

  private isWorthIt(key: string): boolean {
    const since = this.options.now() - (this.writtenAt.get(key) ?? Number.NEGATIVE_INFINITY)
    if (this.writing.has(key) || since < writeMsMin) return false
    if (this.asked.delete(key) || this.writtenAt.has(key)) return true
    if (this.asked.size >= askedMax) this.asked = new Set()
    this.asked.add(key)
    return false
  }

  private isTrue({ seq, depends }: Entry<string>): boolean {
    return depends.every((name) => {
      const last = this.options.lastChange(name)
      return last !== null && last <= seq
    })
  }
}
