import { getTableConfig } from 'drizzle-orm/sqlite-core'
import type { Json } from '../value.ts'
import { anyOf, type Rule } from './access.ts'
import { type FieldName, type IdentifiedTable, type IdentityField, identityFields } from './columns.ts'
import type { Field } from './field.ts'
import { columnsIn } from './image.ts'
import type { Resource } from './model.ts'
import type { RelationDeclaration } from './relation.ts'
import type { ResourceDeclaration } from './resource.ts'

/**
 * Read models: tables that a consumer of the log keeps. Each record of some other tables contributes to one row; a row is
 * the sum of what is contributed to it, and is there while any of its totals is not zero. Because what a record
 * contributed can be taken back by the same function, a change is counted as what it was before, taken away, and what it
 * is after, added: once, and in any order within a step.
 */

/** What one record adds to the row with this key. */
export interface Contribution<K = Readonly<Record<string, unknown>>, A = Readonly<Record<string, number | undefined>>> {
  readonly key: K
  readonly add: A
}

/** How the records of one table contribute. */
export interface FoldDeclaration<C = Contribution> {
  readonly table: () => IdentifiedTable
  /** The fields that the function looks at; it is given no others. */
  readonly fields: readonly string[]
  contribution(record: Readonly<Record<string, unknown>>): C | null
}

/**
 * What each record of a table contributes to a read model, or null for nothing. The function is pure: it is asked again
 * for what a record was, to take that away. It has the fields as the tables keep them, in JSON.
 */
export function fold<T extends IdentifiedTable, const F extends FieldName<T>, C>(
  table: () => T,
  fields: readonly F[],
  contribution: (record: Pick<T['$inferSelect'], F>) => C | null,
): FoldDeclaration<C> {
  return { table, fields, contribution: contribution as FoldDeclaration<C>['contribution'] }
}

/** The part of a declaration that a resource which callers write does not have. */
export interface ProjectionDeclaration {
  readonly key: readonly string[]
  readonly from: readonly FoldDeclaration[]
}

type KeyOf<T extends IdentifiedTable, K extends FieldName<T>> = Readonly<Pick<T['$inferSelect'], K>>
type TotalsOf<T extends IdentifiedTable, K extends FieldName<T>> = Readonly<
  Partial<Record<Exclude<FieldName<T>, K | IdentityField>, number>>
>

/** What a model says of one read model. */
export interface ProjectionOptions<
  T extends IdentifiedTable,
  K extends FieldName<T>,
  R extends Readonly<Record<string, RelationDeclaration<FieldName<T>>>>,
  F extends FieldName<T>,
  S extends FieldName<T>,
> {
  /** One sentence for the API's documentation. */
  readonly description: string
  /** The columns that say which row: there is one for each combination. All other columns are totals. */
  readonly key: readonly K[]
  /** What contributes; each table once. */
  readonly from: readonly FoldDeclaration<Contribution<KeyOf<T, K>, TotalsOf<T, K>>>[]
  /** No foreign key is needed for them: what they lead to may be gone before the row is. */
  readonly relations?: R
  readonly filter?: readonly F[]
  readonly sort?: readonly S[]
  readonly access: { readonly read: Rule<FieldName<T>> }
  readonly limits?: { readonly pageRowsMax?: number }
}

/** Declares a read model over a table. Callers read it like every resource, and cannot write it. */
export function projection<
  const N extends string,
  T extends IdentifiedTable,
  const K extends FieldName<T>,
  const R extends Readonly<Record<string, RelationDeclaration<FieldName<T>>>> = Record<never, never>,
  const F extends FieldName<T> = never,
  const S extends FieldName<T> = never,
>(
  name: N,
  table: T,
  options: ProjectionOptions<T, K, R, F, S>,
): ResourceDeclaration<N, T, R, Readonly<Record<never, never>>, F, S> & { readonly projection: ProjectionDeclaration } {
  return {
    ...{ name, table, description: options.description },
    relations: options.relations ?? ({} as R),
    ...{ derived: {}, validate: {} },
    filter: options.filter ?? [],
    sort: options.sort ?? [],
    access: { read: options.access.read, write: anyOf() },
    limits: options.limits ?? {},
    projection: { key: options.key, from: options.from as readonly FoldDeclaration[] },
  }
}

/** One table that contributes, its names resolved. */
export interface ProjectionSource {
  readonly resource: Resource
  readonly fields: readonly string[]
  /** The columns of the log's images that the fields are made of. */
  readonly columns: readonly string[]
  contribution(record: Readonly<Record<string, Json>>): Contribution | null
}

/** A read model, ready for its consumer. Its name is that of its resource and of its table. */
export interface Projection {
  readonly name: string
  readonly key: readonly Field[]
  readonly totals: readonly Field[]
  readonly sources: readonly ProjectionSource[]
  /**
   * All that decides what the rows are, as text: rows that were made by another are made anew. What a fold calls that is
   * declared elsewhere is not in it.
   */
  readonly text: string
}

export function compileProjection(
  { name, projection }: ResourceDeclaration & { readonly projection: ProjectionDeclaration },
  resources: ReadonlyMap<string, Resource>,
): Projection {
  const { key: keys, from } = projection
  const all = [...(resources.get(name)?.fields.values() ?? [])]
  const key = keys.flatMap((each) => all.filter((field) => field.name === each))
  const totals = all.filter((field) => !keys.includes(field.name) && !isIdentityField(field.name))
  const sources = from.map(({ table, fields, contribution }) => {
    const resource = resources.get(getTableConfig(table()).name)
    if (!resource) throw new Error(`unchecked read model ${name}`)
    const columns = fields.flatMap((field) => [field, ...(resource.origins.get(field) ?? []).flatMap(columnsIn)])
    return { resource, fields, columns: [...new Set(columns)], contribution }
  })
  const text = JSON.stringify([
    [...key, ...totals].map((field) => [field.name, field.kind, keys.includes(field.name)]),
    sources.map(({ resource, fields, contribution }) => [resource.name, fields, String(contribution)]),
  ])
  return { name, key, totals, sources, text }
}

export function isIdentityField(name: string): boolean {
  return identityFields.includes(name as IdentityField)
}
