import { limits } from '../schema/limits.ts'
import { operatorsOf, sortColumn } from './asking.ts'
import { bodyJsonSchema, type JsonSchema, recordJsonSchema } from './json-schema.ts'
import type { ResourceView, View } from './view.ts'

/** What one version of the API promises its clients, as plain data in JSON. */
export interface Contract {
  /** Its date. */
  readonly version: string
  readonly alias: string
  /** The methods of each path, in small letters, by its template: `/posts/{id}`. */
  readonly paths: Readonly<Record<string, readonly string[]>>
  /** By the names that the version has. */
  readonly resources: Readonly<Record<string, ResourceContract>>
}

export interface ResourceContract {
  readonly record: JsonSchema
  readonly input: JsonSchema
  readonly patch: JsonSchema
  /** The operators of filters, by field. */
  readonly filters: Readonly<Record<string, readonly string[]>>
  readonly sorts: readonly string[]
  readonly includes: Readonly<Record<string, Include>>
  /** The greatest `limit` of a page, and how many a page has where the request names none. */
  readonly pageRowsMax: number
  readonly pageRowsDefault: number
}

export interface Include {
  /** The resource of the records that come with each. */
  readonly of: string
  readonly many: boolean
}

/** The contract of a view. `paths` are those of its OpenAPI document, which is drawn elsewhere. */
export function contractOf(view: View, paths: Contract['paths']): Contract {
  const { date, alias } = view.version
  const resources = [...view.resources].map(([name, each]) => [name, resourceContract(each)] as const)
  return { version: date, alias, paths, resources: Object.fromEntries(resources) }
}

function resourceContract(view: ResourceView): ResourceContract {
  const fields = [...view.fields.values()]
  const filters = fields.map((field) => [field.name, operatorsOf(view, field)] as const)
  const includes = [...view.relations].map(([name, { target, kind }]) => {
    return [name, { of: view.other(target).name, many: kind !== 'belongsTo' }] as const
  })
  return {
    record: recordJsonSchema(view),
    input: bodyJsonSchema(view, 'create'),
    patch: bodyJsonSchema(view, 'patch'),
    filters: Object.fromEntries(filters.filter(([, operators]) => operators.length > 0)),
    sorts: fields.filter((field) => sortColumn(view, field)).map(({ name }) => name),
    includes: Object.fromEntries(includes),
    pageRowsMax: view.pageRowsMax,
    pageRowsDefault: Math.min(limits.pageRowsDefault, view.pageRowsMax),
  }
}
