import { limits } from './limits.ts'

/**
 * Denormalised columns. Each says once what it is the truth of; triggers keep it true inside every write, whoever
 * writes, and `truthSql` says what it must be, for audits and repairs.
 */
export type DerivedDeclaration =
  | { readonly kind: 'copy'; readonly relation: string; readonly field: string; readonly fanoutRowsMax: number }
  | { readonly kind: 'count'; readonly relation: string }
  | { readonly kind: 'sum' | 'max'; readonly relation: string; readonly field: string }

/**
 * A copy of a field of the record that a belongsTo relation names. When that record changes, up to `fanoutRowsMax`
 * copies change in the same transaction; more are queued in it and follow in steps of that many.
 */
export const copy = (relation: string, field: string, options: { fanoutRowsMax?: number } = {}) =>
  ({ kind: 'copy', relation, field, fanoutRowsMax: options.fanoutRowsMax ?? limits.fanoutRowsMax }) as const
/** How many records a hasMany relation holds. */
export const count = (relation: string) => ({ kind: 'count', relation }) as const
/** The sum of an integer field over a hasMany relation, 0 where it is empty. */
export const sum = (relation: string, field: string) => ({ kind: 'sum', relation, field }) as const
/** The greatest value of a field over a hasMany relation, null where it is empty. */
export const max = (relation: string, field: string) => ({ kind: 'max', relation, field }) as const

export const derived = { copy, count, sum, max }

/**
 * A derived column with its names resolved. `holder` has the column; for a copy, `holder.link` names the `source`
 * record; for an aggregate, `source.link` names the `holder` record.
 */
export interface Derived {
  readonly kind: DerivedDeclaration['kind']
  readonly column: string
  readonly nullable: boolean
  readonly holder: string
  readonly source: string
  readonly link: string
  /** The field of the source that is copied, summed or compared; undefined for a count. */
  readonly field: string | undefined
  readonly fanoutRowsMax: number
}

/** The statements that a table's triggers run for derived columns, by event and by when. */
export interface TriggerParts {
  /** Set right the row itself, before its change is logged. */
  readonly correct: string[]
  /** Set right other rows, after its change is logged. */
  readonly spread: string[]
}
export type TriggerEvent = 'insert' | 'update' | 'delete'

const q = (name: string) => `"${name}"`

/**
 * What the column must be, as a scalar SQL expression over a row of the holder named `row`. A copy that cannot be null
 * stays as it is where there is no record to take it from, which foreign keys admit within a transaction only.
 */
export function truthSql(d: Derived, row: string): string {
  const field = `s.${q(d.field ?? '')}`
  const over = (value: string) =>
    `(select ${value} from ${q(d.source)} s where s.tenant = ${row}.tenant and s.${q(d.link)} = ${row}.id)`
  switch (d.kind) {
    case 'copy':
      return d.nullable ? copiedSql(d, row) : `coalesce(${copiedSql(d, row)}, ${row}.${q(d.column)})`
    case 'count':
      return over('count(*)')
    case 'sum':
      return over(`coalesce(sum(${field}), 0)`)
    case 'max':
      return over(`max(${field})`)
  }
}

function copiedSql(d: Derived, row: string): string {
  return `(select s.${q(d.field ?? '')} from ${q(d.source)} s where s.tenant = ${row}.tenant and s.id = ${row}.${q(d.link)})`
}

/** The trigger statements that keep `all` true, for events on `table`. */
export function triggerParts(all: readonly Derived[], table: string, event: TriggerEvent): TriggerParts {
  const own = all.filter((each) => each.holder === table)
  const copies = all.filter((each) => each.kind === 'copy' && each.source === table)
  const aggregates = all.filter((each) => each.kind !== 'copy' && each.source === table)
  // Aggregates of one holder over one link change in one statement, so that the holder's change is logged once.
  const groups = Map.groupBy(aggregates, (each) => `${each.holder}.${each.link}`)
  return {
    correct: own.length === 0 ? [] : correctRow(own, event),
    spread: [
      ...[...groups.values()].flatMap((group) => aggregateStatements(group, event)),
      ...copies.flatMap((each) => spreadCopy(each, event)),
    ],
  }
}

/**
 * Sets the row's own derived columns to their truth: all of them on an insert, also where records that refer to it came
 * first; on an update a copy that follows another record or was overwritten, and an aggregate that was overwritten, which
 * shows in a version that did not move: the engine's own updates of aggregates move it.
 */
function correctRow(own: readonly Derived[], event: TriggerEvent): string[] {
  if (event === 'delete') return []
  const table = q(own[0]?.holder ?? '')
  const row = 'tenant = new.tenant and id = new.id'
  const wrong = (d: Derived) => `${q(d.column)} is not ${truthSql(d, 'new')}`
  if (event === 'insert') {
    const sets = own.map((d) => `${q(d.column)} = ${truthSql(d, 'new')}`)
    return [
      `update ${table} set ${sets.join(', ')}, version = version + 1 where ${row} and (${own.map(wrong).join(' or ')})`,
    ]
  }
  const touched = new Map(own.map((d) => [d, mayBeWrong(d)]))
  const sets = own.map((d) => `${q(d.column)} = iif(${touched.get(d)}, ${truthSql(d, 'new')}, ${q(d.column)})`)
  const any = `(${[...new Set(touched.values())].join(' or ')})`
  // The version is negative for the length of this statement: with recursive triggers on, the trigger that fires for it
  // must neither log nor spread, because this one is going to.
  return [
    `update ${table} set ${sets.join(', ')}, version = -version where ${any} and ${row} and (${own.map((d) => `(${touched.get(d)} and ${wrong(d)})`).join(' or ')})`,
    `update ${table} set version = -version where ${any} and ${row} and version < 0`,
  ]
}

/** Whether an update from `old` to `new` may have left the row's own derived column wrong. */
function mayBeWrong(d: Derived): string {
  const [column, link] = [q(d.column), q(d.link)]
  const overwritten = `old.${column} is not new.${column}`
  return d.kind === 'copy'
    ? `(old.${link} is not new.${link} or ${overwritten})`
    : `(new.version is old.version and ${overwritten})`
}

/** Brings the copies of a record's field up to date, or queues them where they are too many for one transaction. */
function spreadCopy(d: Derived, event: TriggerEvent): string[] {
  if (event === 'delete') return []
  const [holder, field] = [q(d.holder), q(d.field ?? '')]
  const stale = `tenant = new.tenant and ${q(d.link)} = new.id and ${q(d.column)} is not new.${field}`
  const update = `update ${holder} set ${q(d.column)} = new.${field}, version = version + 1 where`
  // Records that refer to one before it is there take foreign keys that are switched off: nothing to count for every insert.
  if (event === 'insert') return [`${update} ${stale}`]
  const changed = `old.${field} is not new.${field}`
  const copies = `from ${holder} where tenant = new.tenant and ${q(d.link)} = new.id`
  const size = `(select count(*) from (select 1 ${copies} limit ${d.fanoutRowsMax + 1}))`
  return [
    `insert into fanout(tenant, source, target, field) select new.tenant, new.id, '${d.holder}', '${d.column}' where ${changed} and ${size} > ${d.fanoutRowsMax}`,
    `${update} ${changed} and ${size} <= ${d.fanoutRowsMax} and ${stale}`,
  ]
}

function aggregateStatements(group: readonly Derived[], event: TriggerEvent): string[] {
  const [first] = group
  if (!first) return []
  const holder = q(first.holder)
  const update = (row: 'old' | 'new', value: (d: Derived) => string, condition: string) => {
    const sets = group.map((d) => `${q(d.column)} = ${value(d)}`)
    const differs = group.map((d) => `${q(d.column)} is not ${value(d)}`).join(' or ')
    return `update ${holder} set ${sets.join(', ')}, version = version + 1 where ${condition}tenant = ${row}.tenant and id = ${row}.${q(first.link)} and (${differs})`
  }
  if (event === 'insert') return [update('new', joined, '')]
  if (event === 'delete') return [update('old', left, '')]
  const moved = `old.${q(first.link)} is not new.${q(first.link)}`
  const statements = [update('old', left, `${moved} and `), update('new', joined, `${moved} and `)]
  return group.every((d) => d.kind === 'count')
    ? statements
    : [...statements, update('new', changedInPlace, `not (${moved}) and `)]
}

/** The column after the row `new` has come under its holder. */
function joined(d: Derived): string {
  const [column, field] = [q(d.column), `new.${q(d.field ?? '')}`]
  if (d.kind === 'count') return `${column} + 1`
  if (d.kind === 'sum') return `${column} + coalesce(${field}, 0)`
  return `case when ${field} is null or ${column} >= ${field} then ${column} else ${field} end`
}

/** The column after the row `old` has gone from its holder. */
function left(d: Derived): string {
  const [column, field] = [q(d.column), `old.${q(d.field ?? '')}`]
  if (d.kind === 'count') return `${column} - 1`
  if (d.kind === 'sum') return `${column} - coalesce(${field}, 0)`
  return `case when ${column} is ${field} then ${truthSql(d, q(d.holder))} else ${column} end`
}

/** The column after a row under the same holder has changed from `old` to `new`. */
function changedInPlace(d: Derived): string {
  const [column, before, after] = [q(d.column), `old.${q(d.field ?? '')}`, `new.${q(d.field ?? '')}`]
  if (d.kind === 'count') return column
  if (d.kind === 'sum') return `${column} + coalesce(${after}, 0) - coalesce(${before}, 0)`
  const truth = truthSql(d, q(d.holder))
  return `case when ${before} is ${after} then ${column} when ${after} is not null and (${column} is null or ${column} <= ${after}) then ${after} when ${column} is ${before} then ${truth} else ${column} end`
}

/**
 * Rows whose derived column is not the truth, in key order: tenant, id, found, expected. Copies that a queued fan-out
 * has yet to reach are not among them. Arguments: tenant and id to start after, row limit.
 */
export function driftSql(d: Derived): string {
  const truth = truthSql(d, 'h')
  const queued = `exists (select 1 from fanout f where f.tenant = h.tenant and f.source = h.${q(d.link)} and f.target = '${d.holder}' and f.field = '${d.column}' and f.reached < h.id)`
  const isDrift = `h.${q(d.column)} is not ${truth}${d.kind === 'copy' ? ` and not ${queued}` : ''}`
  return `select h.tenant, h.id, h.${q(d.column)} as found, ${truth} as expected from ${q(d.holder)} h where (h.tenant, h.id) > (?, ?) and ${isDrift} order by h.tenant, h.id limit ?`
}

/** Sets one row's derived column to the truth. Arguments: tenant, id. */
export function repairSql(d: Derived): string {
  const truth = truthSql(d, q(d.holder))
  return `update ${q(d.holder)} set ${q(d.column)} = ${truth}, version = version + 1 where tenant = ? and id = ? and ${q(d.column)} is not ${truth}`
}

/**
 * One bounded step of a queued fan-out, as statements of one transaction; each takes the queue row's id as `?1`.
 * The queue row remembers the last copy it reached, so a step costs the same wherever a kill left off, and goes
 * when none is left. Copies made or moved meanwhile are right from their own write.
 */
export function fanoutStepSql(d: Derived): readonly string[] {
  const holder = q(d.holder)
  const job = '(select %s from fanout where id = ?1)'
  const next = `select id from ${holder} where tenant = ${job.replace('%s', 'tenant')} and ${q(d.link)} = ${job.replace('%s', 'source')} and id > ${job.replace('%s', 'reached')} order by id limit ${d.fanoutRowsMax}`
  const truth = truthSql(d, holder)
  return [
    `update ${holder} set ${q(d.column)} = ${truth}, version = version + 1 where tenant = ${job.replace('%s', 'tenant')} and id in (${next}) and ${q(d.column)} is not ${truth}`,
    `update fanout set reached = (select max(id) from (${next})) where id = ?1`,
    'delete from fanout where id = ?1 and reached is null',
  ]
}

/** Sets the derived column of every row to its truth, for a column that was added to a table with rows. */
export function backfillSql(d: Derived): string {
  const truth = truthSql(d, q(d.holder))
  return `UPDATE ${q(d.holder)} SET ${q(d.column)} = ${truth}, version = version + 1 WHERE ${q(d.column)} is not ${truth}`
}

/** Whether the trigger, of whatever migration, keeps this column as it is declared. */
export function isKeptBy(d: Derived, trigger: { readonly name: string; readonly sql: string }): boolean {
  const [table, value] = d.kind === 'copy' ? [d.holder, copiedSql(d, 'new')] : [d.source, joined(d)]
  const says = [`update ${q(d.holder)} set`, `${q(d.column)} = `, value, `new.${q(d.link)}`]
  return trigger.name === `${table}_after_insert` && says.every((text) => trigger.sql.includes(text))
}
