import type { z } from 'zod'
import type { Rule } from './access.ts'
import type { FieldName, IdentifiedTable, IdentityField } from './columns.ts'
import type { DerivedDeclaration } from './derived.ts'
import type { ProjectionDeclaration } from './projection.ts'
import type { RelationDeclaration } from './relation.ts'

type Relations<T extends IdentifiedTable> = Readonly<Record<string, RelationDeclaration<FieldName<T>>>>
type DerivedColumns<T extends IdentifiedTable> = Readonly<Partial<Record<FieldName<T>, DerivedDeclaration>>>

/** What a model says of one resource. */
export interface ResourceOptions<
  T extends IdentifiedTable,
  R extends Relations<T>,
  D extends DerivedColumns<T>,
  F extends FieldName<T>,
  S extends FieldName<T>,
> {
  /** One sentence for the API's documentation. */
  readonly description: string
  readonly relations?: R
  /** Columns that follow other records; callers read them and cannot write them. */
  readonly derived?: D
  /** Fields that lists may be filtered by. Each needs an index that begins with the tenant and the field. */
  readonly filter?: readonly F[]
  /** Fields that lists may be sorted by, `id` apart, which always may. Each needs an index as a filter does. */
  readonly sort?: readonly S[]
  /**
   * Who may read and who may write. Beside these rules a key needs the scope `read` to read and `write` to write;
   * a caller without a key reads what `anyone` and `when` open, in the public tenant only.
   */
  readonly access: { readonly read: Rule<FieldName<T>>; readonly write: Rule<FieldName<T>> }
  /** Narrower schemas than the columns' own, for values that callers send. */
  readonly validate?: Readonly<Partial<Record<FieldName<T>, z.ZodType>>>
  readonly limits?: { readonly pageRowsMax?: number }
}

/** One resource as it was declared. Its type parameters carry what a typed client needs. */
export interface ResourceDeclaration<
  N extends string = string,
  T extends IdentifiedTable = IdentifiedTable,
  R extends Readonly<Record<string, RelationDeclaration>> = Readonly<Record<string, RelationDeclaration>>,
  D = Readonly<Record<string, DerivedDeclaration>>,
  F extends string = string,
  S extends string = string,
> {
  readonly name: N
  readonly table: T
  readonly description: string
  readonly relations: R
  readonly derived: D
  readonly filter: readonly F[]
  readonly sort: readonly S[]
  readonly access: { readonly read: Rule; readonly write: Rule }
  readonly validate: Readonly<Record<string, z.ZodType | undefined>>
  readonly limits: { readonly pageRowsMax?: number }
  /** What makes it a read model, which callers cannot write; null where they can. */
  readonly projection: ProjectionDeclaration | null
}

/** Declares a resource over a table. Mistakes that the compiler cannot see are found by `buildModel`. */
export function resource<
  const N extends string,
  T extends IdentifiedTable,
  const R extends Relations<T> = Record<never, never>,
  const D extends DerivedColumns<T> = Readonly<Record<never, DerivedDeclaration>>,
  const F extends FieldName<T> = never,
  const S extends FieldName<T> = never,
>(
  name: N,
  table: T,
  options: ResourceOptions<T, R, D, F, S>,
): ResourceDeclaration<N, T, R, D, F, S> & { readonly projection: null } {
  return {
    name,
    table,
    description: options.description,
    relations: options.relations ?? ({} as R),
    derived: options.derived ?? ({} as D),
    filter: options.filter ?? [],
    sort: options.sort ?? [],
    access: options.access,
    validate: (options.validate ?? {}) as Readonly<Record<string, z.ZodType | undefined>>,
    limits: options.limits ?? {},
    projection: null,
  }
}

type TableOf<X> = X extends { readonly table: infer T extends IdentifiedTable } ? T : never

/** A record as a read answers it, without its includes. */
export type RecordOf<X> = Omit<TableOf<X>['$inferSelect'], 'tenant'>

/** The body of a create or a replace; a read model has none. */
export type InputOf<X> = X extends { readonly derived: infer D; readonly projection: null }
  ? Omit<TableOf<X>['$inferInsert'], 'tenant' | IdentityField | keyof D>
  : never

/** The body of a merge patch: null takes a value away. */
export type PatchOf<X> = { readonly [K in keyof InputOf<X>]?: InputOf<X>[K] | null }

/** The names that `include` takes. */
export type IncludeOf<X> = X extends { readonly relations: infer R } ? keyof R & string : never

/** The fields that a list may be filtered by, with the operators each takes. */
export type FilterOf<X> = X extends { readonly filter: readonly (infer F extends string)[] }
  ? { readonly [K in F | 'id']?: FilterTerm<K extends keyof RecordOf<X> ? RecordOf<X>[K] : never> }
  : never

export type FilterTerm<V> =
  | NonNullable<V>
  | {
      readonly eq?: NonNullable<V>
      readonly ne?: NonNullable<V>
      readonly gt?: NonNullable<V>
      readonly gte?: NonNullable<V>
      readonly lt?: NonNullable<V>
      readonly lte?: NonNullable<V>
      readonly in?: readonly NonNullable<V>[]
      readonly contains?: string
      readonly prefix?: string
      readonly null?: boolean
    }

/** The fields that a list may be sorted by; a leading minus turns the order. */
export type SortOf<X> = X extends { readonly sort: readonly (infer S extends string)[] }
  ? S | 'id' | `-${S}` | '-id'
  : never
