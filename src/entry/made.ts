import type { Database } from 'bun:sqlite'
import type { Trigger } from '../log/triggers.ts'
import type { Model } from '../schema/model.ts'
import { guardTrigger, retiringTrigger } from '../store/guard.ts'
import { keyTriggers } from '../store/key-changes.ts'
import { backfilled } from '../version/retiring-sql.ts'
import { sqlViewMark, sqlViews } from '../version/sql-views.ts'
import { modelTriggers } from './triggers.ts'

/** What migrations make beside tables: triggers, views, and the list of columns that retire. */

interface Made extends Trigger {
  readonly type: 'trigger' | 'view'
  readonly table: string
}

/** Every trigger and view of a database, views first, each kind in the order in which they were made. */
export function madeIn(database: Database): Made[] {
  const sql =
    "select type, name, sql, tbl_name as 'table' from sqlite_master where type in ('trigger', 'view') order by type desc, rowid"
  return database.query(sql).all() as Made[]
}

/** The engine's own, which are of no table of the model. */
const ownTriggers: ReadonlySet<string> = new Set(
  [guardTrigger, retiringTrigger, ...keyTriggers].map(({ name }) => name),
)

/** Whether Perigee makes it; a model's authors may add others by migrations of their own. */
export function isOurs({ type, name, sql, table }: Made, model: Model): boolean {
  if (type === 'view') return sql.includes(sqlViewMark)
  if (ownTriggers.has(name)) return true
  return model.resources.has(table) && /^_(after_(insert|update|delete)|keeps_key)$/.test(name.slice(table.length))
}

/** What must be out of the way before a table is changed deeply: SQLite refuses to drop or rename what it names. */
export function dropsBefore(made: readonly Made[]): string[] {
  // The view that guards writes names no table; what has been dropped with its table is dropped already.
  return made
    .filter(({ name }) => name !== 'mustChange')
    .toReversed()
    .map(dropSql)
}

function dropSql({ type, name }: Pick<Made, 'type' | 'name'>): string {
  return `DROP ${type.toUpperCase()} "${name}";`
}

/** The statements that turn what a database has into what the model asks for; columns that retire no more apart. */
export function madeDifference(database: Database, model: Model): string[] {
  const made = madeIn(database).filter((each) => isOurs(each, model))
  const wanted = [
    ...sqlViews(model).map((view) => ({ ...view, type: 'view' as const })),
    ...modelTriggers(model).map((trigger) => ({ ...trigger, type: 'trigger' as const })),
  ]
  const has = (
    list: readonly Pick<Made, 'type' | 'name' | 'sql'>[],
    { type, name, sql }: Pick<Made, 'type' | 'name' | 'sql'>,
  ) => list.some((each) => each.type === type && each.name === name && each.sql === sql)
  const seeded = columnsOf(database, 'context').length > 0 && database.query('select 1 from context').get() !== null
  return [
    ...(seeded ? [] : ['INSERT INTO context(one) VALUES (1);']),
    ...made.filter((each) => !has(wanted, each)).map(dropSql),
    ...wanted.filter((each) => !has(made, each)).map(({ sql }) => `${sql};`),
    ...arrivals(database, model).map(({ sql }) => sql),
  ]
}

export interface RetiringColumn {
  readonly resource: string
  readonly field: string
  readonly sql: string
}

/** The columns that retire from now on, with the statements that say so. What an empty table has is filled already. */
export function arrivals(database: Database, model: Model): RetiringColumn[] {
  const known = retiringIn(database)
  return [...model.resources.values()].flatMap((resource) =>
    [...resource.retiring.keys()]
      .filter((field) => !known.some((each) => each.resource === resource.name && each.field === field))
      .map((field) => {
        const start = backfilled(resource).has(field)
          ? `iif(exists (SELECT 1 FROM "${resource.name}"), '', null)`
          : 'null'
        const sql = `INSERT INTO retiring(resource, field, tenant, id) SELECT '${resource.name}', '${field}', ${start}, '';`
        return { resource: resource.name, field, sql }
      }),
  )
}

/** The columns that retire in the database and not in the model, with the statements that say so, which may refuse. */
export function departures(database: Database, model: Model): RetiringColumn[] {
  return retiringIn(database)
    .filter(({ resource, field }) => !model.resources.get(resource)?.retiring.has(field))
    .map(({ resource, field }) => {
      const sql = `DELETE FROM retiring WHERE resource = '${resource}' AND field = '${field}';`
      return { resource, field, sql }
    })
}

export function retiringIn(database: Database): Pick<RetiringColumn, 'resource' | 'field'>[] {
  if (columnsOf(database, 'retiring').length === 0) return []
  return database.query('select resource, field from retiring order by resource, field').all() as RetiringColumn[]
}

export interface ColumnInfo {
  readonly name: string
  readonly notnull: number
  readonly dflt_value: string | null
}

export function columnsOf(database: Database, table: string): ColumnInfo[] {
  return database.query('select name, "notnull", dflt_value from pragma_table_info(?)').all(table) as ColumnInfo[]
}
