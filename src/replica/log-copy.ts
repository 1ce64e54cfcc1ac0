import type { Epoch, Position, Seq } from '../log/position.ts'
import { assert } from '../problem.ts'
import type { Reader } from '../store/reader.ts'
import type { Value } from '../value.ts'
import { applyChange, type CopyDatabase, compact, putMetaSql } from './apply.ts'
import { type CopySchema, type CopyTable, putKeySql } from './copy-schema.ts'
import {
  type Had,
  pageRowsMax,
  readKeys,
  readRows,
  readSource,
  type SourceFacts,
  type SourcePage,
  SourceUnfit,
} from './log-source.ts'

/** Where a copy stands. It is kept with the rows, in the same transactions. */
interface Stand {
  /** Of which history and of which tables its rows are. Where either is another, it is made anew. */
  readonly epoch: Epoch
  readonly schema: string
  /**
   * `copying`: rows are being brought, those of `tables[table]` up to the key `after`, each as it is when it is read.
   * `catching-up`: the log since `from` makes them rows of one moment, which they are from `target` on. `following`: they are.
   */
  readonly phase: 'copying' | 'catching-up' | 'following'
  readonly table: number
  readonly after: readonly Value[]
  readonly target: Seq
  /** The last change that its rows have. */
  readonly seq: Seq
  readonly horizon: Seq
  /** When it had everything that the primary had, in milliseconds since 1970; null where it never had. */
  readonly heldAt: number | null
  readonly keysChanged: number
  readonly keyHash: string
}

export interface LogCopyOptions {
  readonly database: CopyDatabase
  /** The primary's database. */
  readonly source: Reader
  readonly tables: CopySchema
  /** Migrations that this program needs, by their times. */
  readonly migrations: readonly number[]
  readonly digest: (text: string) => string
  readonly now: () => number
}

/** What a step came to: there is more to do at once, or the copy has everything that there was. */
export type Step = 'more' | 'whole'

const nothingHad: Had = { seq: 0 as Seq, keyHash: '' }
const stateSql = 'create table if not exists copy(one integer primary key, stand text) strict'

/**
 * A copy of the primary's data that follows the log by statements, where no replica of its file can be: it brings the
 * rows in parts, each as it is at that moment, and then applies every change since the first part was read. A change says
 * what its record became, so applying one that a row has already changes nothing, and at the position at which the last
 * part was read all rows are of one moment. Each step is one question and one transaction, which keeps the rows and the
 * position together: it may end anywhere and goes on from where it was.
 */
export class LogCopy {
  private readonly options: LogCopyOptions
  private stand: Stand | null
  /** Of the primary, as it was last asked. */
  private facts: SourceFacts | null = null
  /** Why the primary's database is none to follow by now; null where it is. */
  private obstacle: string | null = null
  bootstraps = 0

  constructor(options: LogCopyOptions) {
    this.options = options
    options.database.rows(stateSql, [])
    const [row] = options.database.rows('select stand from copy where one = 1', [])
    this.stand = row ? (JSON.parse(String(row[0])) as Stand) : null
  }

  /** Where the copy stands, once its rows are of one moment; null before, and where they are none that may be read. */
  get position(): Position | null {
    const { stand } = this
    if (stand?.phase !== 'following' || this.obstacle !== null) return null
    return { epoch: stand.epoch, seq: stand.seq }
  }

  get heldAt(): number | null {
    return this.stand?.heldAt ?? null
  }

  get phase(): 'starting' | 'bootstrapping' | 'following' {
    if (this.stand === null) return 'starting'
    return this.stand.phase === 'following' ? 'following' : 'bootstrapping'
  }

  /** Why nothing can be read here, as a sentence; null where something can. */
  get unready(): string | null {
    if (this.obstacle !== null) return this.obstacle
    return this.position === null ? 'The copy is being made.' : null
  }

  /** Of the primary, where it was last heard of. */
  get primaryPosition(): Position | null {
    return this.facts && { epoch: this.facts.epoch, seq: this.facts.head }
  }

  /** Takes one step. Rejects where the primary's database is away; what the copy has stays as it is. */
  async step(): Promise<Step> {
    const { stand } = this
    if (stand?.phase === 'copying') return this.bring(stand)
    return this.follow()
  }

  /** Asks what is new. Where the copy is of another history, or of other tables, it is made anew. */
  private async follow(): Promise<Step> {
    const { source, now } = this.options
    const asked = now()
    const page = await this.askedPage(source)
    this.facts = page
    this.obstacle = this.obstacleIn(page)
    if (this.obstacle !== null) return 'whole'
    const { stand } = this
    const schema = this.schemaOf(page)
    // Changes that were overtaken are missing before the horizon: what was counted by them would be wrong for ever.
    if (!stand || stand.epoch !== page.epoch || stand.schema !== schema || stand.seq < page.horizon)
      return this.begin(page, schema)
    await this.bringKeys(page)
    return this.apply(page, asked)
  }

  private async askedPage(source: Reader): Promise<SourcePage> {
    try {
      return await readSource(source, this.stand ?? nothingHad, this.stand === null ? 0 : pageRowsMax)
    } catch (error) {
      if (error instanceof SourceUnfit) this.obstacle = error.message
      throw error
    }
  }

  private obstacleIn({ migrations, unfilled }: SourceFacts): string | null {
    const lacking = this.options.migrations.filter((each) => !migrations.includes(each)).length
    if (lacking > 0) return `The primary's database lacks ${lacking} migration(s).`
    return unfilled > 0 ? 'Columns are still being filled from those whose place they take.' : null
  }

  /** A database that had other migrations may have other rows, and a program with other tables has other columns. */
  private schemaOf({ migrations }: SourceFacts): string {
    const { digest, tables } = this.options
    return digest(JSON.stringify([migrations.toSorted((a, b) => a - b), tables.create, [...tables.rowTexts]]))
  }

  private begin({ epoch, head, horizon, secret }: SourcePage, schema: string): Step {
    const { database, tables } = this.options
    this.bootstraps++
    const first = tables.tables[0]
    assert(first, 'a copy has the log')
    this.commit(() => {
      for (const sql of tables.create) database.rows(sql, [])
      const meta = { epoch, secret, horizon: String(horizon) }
      for (const pair of Object.entries(meta)) database.rows(putMetaSql, pair)
      return {
        ...{ epoch, schema, phase: 'copying', table: 0, after: startOf(first) },
        ...{ target: head, seq: head, horizon, heldAt: null, keysChanged: -1, keyHash: '' },
      }
    })
    return 'more'
  }

  /** Brings the next rows of a table; after its last, the first of the next. */
  private async bring(stand: Stand): Promise<Step> {
    const { source, tables, database } = this.options
    const table = tables.tables[stand.table]
    assert(table, 'a copy that is being made has a table to bring')
    const rows = await readRows(source, table, stand.after, stand.seq)
    const last = rows.at(-1)
    const next = tables.tables[stand.table + 1]
    const put = putRowSql(table)
    this.commit(() => {
      for (const row of rows) database.rows(put, row)
      if (last) return { ...stand, after: table.key.map((name) => last[table.columns.indexOf(name)] ?? null) }
      if (next) return { ...stand, table: stand.table + 1, after: startOf(next) }
      // What is asked from now on tells of a later moment than any row was read at: the first answer's is the target.
      return { ...stand, phase: 'catching-up', target: -1 as Seq }
    })
    return 'more'
  }

  /**
   * Brings the keys that have changed; all of them anew where one has gone, which no number tells. Where the one that has
   * the last number is gone, keys to come have numbers from before it.
   */
  private async bringKeys({ keysChanged, keys, hasLastKey }: SourcePage) {
    const { database } = this.options
    if (hasLastKey && this.stand && keysChanged > this.stand.keysChanged) await this.bringChangedKeys()
    const [row] = database.rows('select count(*) from keys', [])
    const { stand } = this
    if (!stand || (hasLastKey && Number(row?.[0]) <= keys)) return
    this.commit(() => {
      database.rows('delete from keys', [])
      return { ...stand, keysChanged: -1, keyHash: '' }
    })
    await this.bringChangedKeys()
  }

  private async bringChangedKeys() {
    const { source, database } = this.options
    for (;;) {
      const { stand } = this
      assert(stand, 'keys are brought to a copy')
      const rows = await readKeys(source, stand.keysChanged, stand.keyHash)
      const last = rows.at(-1)
      if (!last) return
      this.commit(() => {
        for (const [, ...key] of rows) database.rows(putKeySql, key)
        return { ...stand, keysChanged: Number(last[0]), keyHash: String(last[1]) }
      })
      if (rows.length < pageRowsMax) return
    }
  }

  private apply(page: SourcePage, asked: number): Step {
    const { stand } = this
    const { database, tables } = this.options
    assert(stand, 'changes are applied to a copy')
    const isWhole = page.reached >= page.head
    const target = stand.phase === 'catching-up' && stand.target < 0 ? page.head : stand.target
    const phase = stand.phase === 'catching-up' && page.reached >= target ? 'following' : stand.phase
    this.commit(() => {
      for (const change of page.changes) applyChange(database, tables, change)
      if (page.horizon > stand.horizon) compact(database, page.horizon)
      return {
        ...{ ...stand, phase, target, seq: page.reached, horizon: page.horizon },
        heldAt: isWhole ? asked : stand.heldAt,
      }
    })
    return isWhole ? 'whole' : 'more'
  }

  /** Does `work` and keeps the stand that it answers, in one transaction. */
  private commit(work: () => Stand) {
    const { database } = this.options
    let next: Stand | null = null
    database.transaction(() => {
      next = work()
      database.rows('insert or replace into copy(one, stand) values (1, ?1)', [JSON.stringify(next)])
    })
    this.stand = next
  }
}

function putRowSql({ name, columns }: CopyTable): string {
  const places = columns.map((_, i) => `?${i + 1}`)
  return `insert or replace into "${name}"(${columns.map((each) => `"${each}"`).join(', ')}) values (${places.join(', ')})`
}

/** Before the first key of a table. */
function startOf({ key }: CopyTable): readonly Value[] {
  return key.map((name) => (name === 'seq' ? 0 : ''))
}
