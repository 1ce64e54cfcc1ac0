import type { z } from 'zod'
import type { Model, Relation, Resource } from '../schema/model.ts'
import { membersSchema, type Put, type ShapeField } from '../schema/shape.ts'
import type { Version } from '../schema/versions.ts'

/**
 * The model as one API version shows it. Everything that a caller names or sees goes through a View: parsing, filters,
 * sorts, projection, errors, documents. Inside the house one shape lives, that of the tables.
 */
export interface View {
  readonly version: Version
  readonly resources: ReadonlyMap<string, ResourceView>
}

/** One resource by its public name, its fields and relations by theirs. */
export interface ResourceView {
  readonly name: string
  readonly version: string
  /** What the version is called in paths and in ETags. */
  readonly alias: string
  readonly resource: Resource
  readonly fields: ReadonlyMap<string, ShapeField>
  readonly relations: ReadonlyMap<string, Relation>
  readonly puts: readonly Put[]
  readonly pageRowsMax: number
  readonly createSchema: z.ZodObject
  readonly patchSchema: z.ZodObject
  /** The view of another resource of the same version, by its name in the tables. */
  other(resource: string): ResourceView
  /** What the caller knows a column by: the path of the field that is made of it, `name` or `group/name`. */
  pathOf(column: string): string
}

/** The view of each declared version, by its date; the aliases name the same views. */
export function buildViews(model: Model): ReadonlyMap<string, View> {
  const views = new Map<string, View>()
  for (const version of model.versions) {
    const view = buildView(model, version)
    views.set(version.date, view)
    views.set(version.alias, view)
  }
  return views
}

function buildView(model: Model, version: Version): View {
  const byTable = new Map<string, ResourceView>()
  for (const resource of model.resources.values()) byTable.set(resource.name, resourceView(resource, version, byTable))
  return { version, resources: new Map([...byTable.values()].map((view) => [view.name, view])) }
}

function resourceView(
  resource: Resource,
  { date, alias, shapes }: Version,
  byTable: ReadonlyMap<string, ResourceView>,
): ResourceView {
  const shape = shapes.get(resource.name)
  if (!shape) throw new Error(`broken invariant: version ${date} has a shape of ${resource.name}`)
  const fields = [...shape.fields.values()]
  const pathByColumn = new Map(fields.flatMap(pathsByColumn))
  for (const { column, given } of shape.puts) if (given[0]) pathByColumn.set(column.name, given[0])
  return {
    ...shape,
    ...{ version: date, alias, resource },
    createSchema: membersSchema(fields, 'create'),
    patchSchema: membersSchema(fields, 'patch'),
    pathOf: (column) => pathByColumn.get(column) ?? column,
    other(other) {
      const found = byTable.get(other)
      if (!found) throw new Error(`broken invariant: the view has the resource ${other}`)
      return found
    },
  }
}

/** The columns that fields hold, each with the path of the field. */
function pathsByColumn(field: ShapeField): [column: string, path: string][] {
  if (field.members) {
    return field.members.flatMap(pathsByColumn).map(([column, path]) => [column, `${field.name}/${path}`])
  }
  return field.column ? [[field.column.field.name, field.name]] : []
}
