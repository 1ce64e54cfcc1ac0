import { leavesOf } from '../schema/expression.ts'
import { quoted, toJson } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { Resource } from '../schema/model.ts'
import type { Heir, Leaving, Retirement } from '../schema/retiring.ts'
import { expressionSql, type LeafSql, literalSql, rowLeaf } from './expression-sql.ts'

/**
 * What keeps a column that retires and those that take its place true, whoever writes: nodes of the release before write
 * the one, nodes of this release the others. The two sides agree where either is what the other makes of it: a name of
 * three words was split by one rule and is joined again by another, and neither side's writers lose what they wrote.
 */

/** The statements that set a row's columns right which retire or take the place of others, before it is logged. */
export interface RetiringParts {
  /** Run before the row's derived columns are set right, and after. */
  readonly first: readonly string[]
  readonly last: readonly string[]
  /** A statement that reads the row `new` of an event as it is once it is right. */
  readonly settled: (statement: string) => string
}

type RowEvent = 'insert' | 'update'

export function retiringParts({ name, retirements }: Resource, event: RowEvent): RetiringParts {
  const twoWay = retirements.filter(({ heirs }) => heirs.length > 0)
  const oneWay = retirements.filter(({ heirs }) => heirs.length === 0).flatMap(({ leaving }) => leaving)
  const followers = oneWay.filter(({ read }) => leavesOf(read).some(({ op }) => op === 'column'))
  const finals = new Map(twoWay.flatMap((each) => finalValues(each, event)))
  return {
    first: twoWay.flatMap((each) => correctSides(name, each, event)),
    last: followers.flatMap((each) => {
      const value = madeSql(each, quoted(name))
      return [correctSql(name, [[each, value]], `${columnOf(each)} is not ${value}`), correctedSql(name)]
    }),
    settled: (statement) => statement.replaceAll(/\bnew\."(\w+)"/g, (found, column) => finals.get(column) ?? found),
  }
}

/** The columns that the triggers of a table may set so. */
export function correctedColumns({ retirements }: Resource): string[] {
  return retirements.flatMap(({ leaving, heirs }) => [...leaving, ...heirs].map(({ column }) => column.name))
}

type Side = Leaving | Heir

const columnOf = ({ column }: Side) => quoted(column.name)

/**
 * Where the sides of the row `new` do not agree, the one that was written tells; an update of neither finds a row that no
 * step of the backfill has reached, in which the leaving columns do.
 */
function correctSides(table: string, retirement: Retirement, event: RowEvent): string[] {
  const { leaving, heirs } = retirement
  const [differ, wrote] = [`not ${agreesSql(retirement, 'new')}`, wroteHeirs(heirs, event)]
  const made = (each: Side) => [each, madeSql(each, 'new')] as const
  return [
    correctSql(table, heirs.map(made), `${differ} and not (${wrote})`),
    correctSql(table, leaving.map(made), `${differ} and (${wrote})`),
    correctedSql(table),
  ]
}

/** Sets columns of the row `new` without being logged: its version is negative from this until `correctedSql`. */
function correctSql(table: string, values: readonly (readonly [Side, string])[], condition: string): string {
  const sets = values.map(([side, value]) => `${columnOf(side)} = ${value}`)
  return `update ${quoted(table)} set ${sets.join(', ')}, version = -version where ${condition} and tenant = new.tenant and id = new.id`
}

function correctedSql(table: string): string {
  return `update ${quoted(table)} set version = -version where version < 0 and tenant = new.tenant and id = new.id`
}

/** Whether the columns that take the place of others were written; nobody has where a new row has their defaults. */
function wroteHeirs(heirs: readonly Heir[], event: RowEvent): string {
  const isWritten = (heir: Heir) => {
    const before = event === 'insert' ? literalSql(toJson(heir.column, heir.fresh)).sql : `old.${columnOf(heir)}`
    return `new.${columnOf(heir)} is not ${before}`
  }
  return heirs.map(isWritten).join(' or ')
}

/** What the columns of both sides are once they have been set right. */
function finalValues(retirement: Retirement, event: RowEvent): [column: string, value: string][] {
  const [agree, wrote] = [agreesSql(retirement, 'new'), wroteHeirs(retirement.heirs, event)]
  const final = (each: Side, stays: string): [string, string] => [
    each.column.name,
    `iif(${agree} or ${stays}, new.${columnOf(each)}, ${madeSql(each, 'new')})`,
  ]
  return [
    ...retirement.heirs.map((each) => final(each, wrote)),
    ...retirement.leaving.map((each) => final(each, `not (${wrote})`)),
  ]
}

/** Whether the two sides of the row agree. */
function agreesSql({ leaving, heirs }: Retirement, row: string): string {
  const side = (each: Side) => `${row}.${columnOf(each)} is ${madeSql(each, row)}`
  return `(${heirs.map(side).join(' and ')} or ${leaving.map(side).join(' and ')})`
}

/** What is made of the other side of the row. */
function madeSql(each: Side, row: string): string {
  return expressionSql('made' in each ? each.made : each.read, rowLeaf(row)).sql
}

/** What a new row has in the columns that retire, over the values that it has in the others. */
export function leavingValues({ retirements }: Resource, leaf: LeafSql): [column: string, value: string][] {
  return retirements.flatMap(({ leaving }) =>
    leaving.map(({ column, read }): [string, string] => [column.name, expressionSql(read, leaf).sql]),
  )
}

/** The rows of a table, right also where no step of a backfill has been, to be read from. */
export function filledRows({ name, fields, retirements }: Resource): string {
  const filled = retirements.flatMap((retirement) =>
    retirement.heirs.map((heir) => {
      const value = `iif(${agreesSql(retirement, 'r')}, r.${columnOf(heir)}, ${madeSql(heir, 'r')})`
      return [heir.column.name, `${value} AS ${columnOf(heir)}`] as const
    }),
  )
  if (filled.length === 0) return quoted(name)
  const byName = new Map(filled)
  const columns = [...fields.keys()].map((field) => byName.get(field) ?? `r.${quoted(field)}`)
  return `(\n  SELECT r.tenant, ${columns.join(', ')}\n  FROM ${quoted(name)} r\n)`
}

/** The retiring columns whose heirs are filled from them in steps: the first of each group stands for all. */
export function backfilled({ retirements }: Resource): ReadonlyMap<string, Retirement> {
  return new Map(
    retirements.flatMap((each) => {
      const name = each.heirs.length > 0 ? each.leaving[0]?.column.name : undefined
      return name === undefined ? [] : [[name, each] as const]
    }),
  )
}

/**
 * One bounded step of a backfill, as statements of one transaction. Arguments: resource, retiring column, and the tenant
 * and id of the last record that was looked at, which the row of `retiring` remembers, so a step costs the same wherever
 * a kill left off; its tenant is null when no record is left. What is written meanwhile is right from its own write.
 */
export function backfillStepSql(
  table: string,
  retirement: Retirement,
  rowsMax: number = limits.backfillRowsMax,
): readonly string[] {
  const next = `select tenant, id from ${quoted(table)} where (tenant, id) > (?3, ?4) order by tenant, id limit ${rowsMax}`
  const sets = retirement.heirs.map((heir) => `${columnOf(heir)} = ${madeSql(heir, quoted(table))}`)
  return [
    `update ${quoted(table)} set ${sets.join(', ')}, version = version + 1 where (tenant, id) in (${next}) and not ${agreesSql(retirement, quoted(table))}`,
    `update retiring set (tenant, id) = (select tenant, id from (${next}) order by tenant desc, id desc limit 1) where resource = ?1 and field = ?2 and tenant = ?3 and id = ?4`,
  ]
}
