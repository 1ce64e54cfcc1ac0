import type { Model } from '../schema/model.ts'
import type { Version } from '../schema/versions.ts'
import { expressionSql, rowLeaf } from './expression-sql.ts'
import { filledRows } from './retiring-sql.ts'

/** A view of the database, made by migrations. */
export interface SqlView {
  readonly name: string
  /** What it reads. */
  readonly table: string
  readonly sql: string
}

/** What the text of each view has that Perigee makes, whatever the model is by now. */
export const sqlViewMark = '-- Perigee:'

/**
 * One view for each resource and version, for people who query the database themselves: the tenant, and the fields as
 * that version shows them, objects as JSON text and booleans as 0 and 1.
 */
export function sqlViews({ resources, versions }: Model): SqlView[] {
  return versions.flatMap((version) =>
    [...version.shapes].map(([table, shape]) => {
      const resource = resources.get(table)
      if (!resource) throw new Error(`broken invariant: there is a resource ${table}`)
      const name = sqlViewName(version, shape.name)
      const leaf = rowLeaf('t')
      const fields = [...shape.fields.values()].map(
        (field) => `  ${expressionSql(field.read, leaf).sql} AS "${field.name}"`,
      )
      const columns = ['  t.tenant AS "tenant"', ...fields].join(',\n')
      return {
        name,
        table,
        sql: `CREATE VIEW "${name}" AS ${sqlViewMark} ${shape.name} as version ${version.date} shows them\nSELECT\n${columns}\nFROM ${filledRows(resource)} t`,
      }
    }),
  )
}

/** No table, resource or field has an underscore in its name. */
export function sqlViewName({ alias }: Pick<Version, 'alias'>, resource: string): string {
  return `${alias}_${resource}`
}
