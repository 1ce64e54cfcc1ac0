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

/** What the column must be, as a scalar SQL expression over a row of the holder named `row`. */
export function truthSql(derived: Derived, row: string): string {
  const from = `select %s from ${q(derived.source)} s where s.tenant = ${row}.tenant and`
  const children = `${from} s.${q(derived.link)} = ${row}.id`
  switch (derived.kind) {
    case 'copy':
      return `(${from.replace('%s', `s.${q(derived.field ?? '')}`)} s.id = ${row}.${q(derived.link)})`
    case 'count':
      return `(${children.replace('%s', 'count(*)')})`
    case 'sum':
      return `(${children.replace('%s', `coalesce(sum(s.${q(derived.field ?? '')}), 0)`)})`
    case 'max':
      return `(${children.replace('%s', `max(s.${q(derived.field ?? '')})`)})`
  }
}

/** The trigger statements that keep `all` true, for events on `table`. */
export function triggerParts(all: readonly Derived[], table: string, event: TriggerEvent): TriggerParts {
  const copies = all.filter((each) => each.kind === 'copy')
  const aggregates = all.filter((each) => each.kind !== 'copy' && each.source === table)
  // Aggregates of one holder over one link change in one statement, so that the holder's change is logged once.
  const groups = Map.groupBy(aggregates, (each) => `${each.holder}.${each.link}`)
  return {
    correct: copies.filter((each) => each.holder === table).flatMap((each) => correctCopy(each, event)),
    spread: [
      ...[...groups.values()].flatMap((group) => aggregateStatements(group, event)),
      ...copies.filter((each) => each.source === table && event === 'update').flatMap(spreadCopy),
    ],
  }
}

function correctCopy(d: Derived, event: TriggerEvent): string[] {
  if (event === 'delete') return []
  const bump = event === 'insert' ? ', version = version + 1' : ''
  const moved = event === 'update' ? ` and old.${q(d.link)} is not new.${q(d.link)}` : ''
  const truth = truthSql(d, 'new')
  return [
    `update ${q(d.holder)} set ${q(d.column)} = ${truth}${bump} where tenant = new.tenant and id = new.id${moved} and ${q(d.column)} is not ${truth}`,
  ]
}

function spreadCopy(d: Derived): string[] {
  const [holder, field] = [q(d.holder), q(d.field ?? '')]
  const changed = `old.${field} is not new.${field}`
  const copies = `from ${holder} where tenant = new.tenant and ${q(d.link)} = new.id`
  const size = `(select count(*) from (select 1 ${copies} limit ${d.fanoutRowsMax + 1}))`
  return [
    `insert into fanout(tenant, source, target, field) select new.tenant, new.id, '${d.holder}', '${d.column}' where ${changed} and ${size} > ${d.fanoutRowsMax}`,
    `update ${holder} set ${q(d.column)} = new.${field}, version = version + 1 where ${changed} and ${size} <= ${d.fanoutRowsMax} and tenant = new.tenant and ${q(d.link)} = new.id and ${q(d.column)} is not new.${field}`,
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

/** Rows whose derived column is not the truth, in key order: tenant, id, found, expected. Arguments: tenant and id to start after, row limit. */
export function driftSql(d: Derived): string {
  const truth = truthSql(d, 'h')
  return `select h.tenant, h.id, h.${q(d.column)} as found, ${truth} as expected from ${q(d.holder)} h where (h.tenant, h.id) > (?, ?) and h.${q(d.column)} is not ${truth} order by h.tenant, h.id limit ?`
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
