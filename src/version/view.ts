import type { Field } from '../schema/field.ts'
import type { Model, Relation, Resource, VersionDeclaration } from '../schema/model.ts'

/**
 * The model as one API version shows it. Everything that a caller names or sees goes through a View: parsing, filters,
 * sorts, projection, errors, documents. Inside the house one shape lives, that of the tables.
 */
export interface View {
  readonly version: VersionDeclaration
  readonly resources: ReadonlyMap<string, ResourceView>
}

/** One resource by its public name, its fields and relations by theirs. */
export interface ResourceView {
  readonly name: string
  readonly version: string
  readonly resource: Resource
  readonly fields: ReadonlyMap<string, Field>
  readonly relations: ReadonlyMap<string, Relation>
  /** The view of another resource of the same version, by its name in the tables. */
  other(resource: string): ResourceView
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

function buildView(model: Model, version: VersionDeclaration): View {
  const resources = new Map<string, ResourceView>()
  for (const resource of model.resources.values()) {
    const { name, fields, relations } = resource
    resources.set(name, {
      name,
      version: version.date,
      resource,
      fields,
      relations,
      other(other) {
        const found = resources.get(other)
        if (!found) throw new Error(`broken invariant: the view has the resource ${other}`)
        return found
      },
    })
  }
  return { version, resources }
}
