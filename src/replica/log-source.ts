import type { Epoch, Seq } from '../log/position.ts'
import { quoted } from '../schema/field.ts'
import type { Soon } from '../soon.ts'
import type { Reader, Row } from '../store/reader.ts'
import type { Value } from '../value.ts'
import { type CopyTable, keysSql } from './copy-schema.ts'

/** What the primary's database says of itself, in the same statement as a part of its log. */
export interface SourceFacts {
  readonly epoch: Epoch
  /** Its last change; and up to where overtaken changes may have been taken out of its log. */
  readonly head: Seq
  readonly horizon: Seq
  readonly secret: string
  /** The migrations that it has had, by their times in the journal. */
  readonly migrations: readonly number[]
  /** Columns that are still being filled from those whose place they take. */
  readonly unfilled: number
  /** The number of the last change of a key, and how many keys there are. */
  readonly keysChanged: number
  readonly keys: number
  /** Whether it still has the key that was brought last; true where none was. */
  readonly hasLastKey: boolean
}

export interface SourcePage extends SourceFacts {
  /** Rows of `changes`, in the order of a copy's columns. */
  readonly changes: readonly Row[]
  /** Everything up to here is in it. */
  readonly reached: Seq
}

/** The primary's database is none that a copy can be made of yet. */
export class SourceUnfit extends Error {}

/** Rows in one answer, and about their bytes: one row more, however large it is. */
const pageRowsMax = 500
const pageBytesMax = 524_288

const changeColumns = 'seq, time, tenant, resource, id, operation, version, image, changed, actor, request'

const factsSql = [
  "(select value from meta where name = 'epoch')",
  '(select coalesce(max(seq), 0) from changes)',
  "(select coalesce(max(cast(value as integer)), 0) from meta where name = 'horizon')",
  "(select value from meta where name = 'secret')",
  '(select group_concat(created_at) from __drizzle_migrations)',
  '(select count(*) from retiring where tenant is not null)',
  '(select coalesce(max(changed), 0) from keys)',
  '(select count(*) from keys)',
  "?4 = '' or exists (select 1 from keys where hash = ?4)",
  '(select count(*) from found)',
].join(', ')

const pageSql = `with found as materialized (
  select seq, coalesce(sum(bytes) over (order by seq rows between unbounded preceding and 1 preceding), 0) as bytes
  from (select seq, 200 + coalesce(octet_length(image), 0) as bytes from changes where seq > ?1 order by seq limit ?2))
select * from (select ${changeColumns.replace(/\w+/g, 'c.$&')} from found f cross join changes c on c.seq = f.seq where f.bytes < ?3 order by c.seq)
union all select ${factsSql}, null`

/** What a copy has: changes up to `seq`, and keys of which this one was brought last; '' where none was. */
export interface Had {
  readonly seq: Seq
  readonly keyHash: string
}

/** The log after a position, and where the database stands: one statement, so that the two are of one moment. */
export async function readSource(source: Reader, { seq, keyHash }: Had, rowsMax: number): Promise<SourcePage> {
  const rows = await asked(source.rows(pageSql, [seq, rowsMax, pageBytesMax, keyHash]))
  const facts = rows.at(-1) ?? []
  const changes = rows.slice(0, -1)
  const [epoch, head, horizon, secret, migrations, unfilled, keysChanged, keys, hasLastKey, found] = facts
  if (typeof epoch !== 'string' || typeof secret !== 'string') throw new SourceUnfit('The database has no epoch yet.')
  const isPart = Number(found) === rowsMax || changes.length < Number(found)
  const last = Number(changes.at(-1)?.[0] ?? seq)
  return {
    ...{ epoch: epoch as Epoch, secret, changes },
    ...{ head: Number(head) as Seq, horizon: Number(horizon) as Seq },
    migrations: String(migrations ?? '')
      .split(',')
      .map(Number),
    ...{ unfilled: Number(unfilled), keysChanged: Number(keysChanged), keys: Number(keys) },
    hasLastKey: Boolean(hasLastKey),
    reached: (isPart ? last : Math.max(Number(head), seq)) as Seq,
  }
}

/** Where the database is away, the error goes on; where it lacks what this program needs, it is told as that. */
async function asked(rows: Soon<readonly Row[]>): Promise<readonly Row[]> {
  try {
    return await rows
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    if (/no such (table|column)/i.test(message)) throw new SourceUnfit(`The database lacks a migration: ${message}.`)
    throw error
  }
}

/** The next rows of a table after a key, in the order of its columns; `to` is the last `seq` of the log that is taken. */
export async function readRows(
  source: Reader,
  table: CopyTable,
  after: readonly Value[],
  to: Seq,
): Promise<readonly Row[]> {
  const places = table.key.map((_, i) => `?${i + 1}`)
  const [rowsMax, bytesMax, last] = [1, 2, 3].map((n) => `?${places.length + n}`)
  const names = table.key.map(quoted).join(', ')
  const until = table.name === 'changes' ? ` and seq <= ${last}` : ''
  const isSame = table.key.map((name) => `t.${quoted(name)} = p.${quoted(name)}`)
  const sum = `coalesce(sum(bytes) over (order by ${names} rows between unbounded preceding and 1 preceding), 0)`
  const sql = `with page as materialized (
  select ${names}, ${sum} as bytes from (
    select ${names}, ${table.bytes} as bytes from ${quoted(table.name)} t where (${names}) > (${places.join(', ')})${until} order by ${names} limit ${rowsMax}))
select ${table.columns.map((name) => `t.${quoted(name)}`).join(', ')} from page p cross join ${quoted(table.name)} t on ${isSame.join(' and ')} where p.bytes < ${bytesMax} order by ${table.key.map((name) => `p.${quoted(name)}`).join(', ')}`
  return asked(source.rows(sql, [...after, pageRowsMax, pageBytesMax, ...(until === '' ? [] : [to])]))
}

/** The keys that changed after a number and its key, none where that is gone: `changed`, then the columns of a copy. */
export async function readKeys(source: Reader, changed: number, hash: string): Promise<readonly Row[]> {
  return asked(source.rows(keysSql, [changed, hash, pageRowsMax]))
}

export { pageRowsMax }
