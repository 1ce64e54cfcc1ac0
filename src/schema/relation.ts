import type { FieldName, IdentifiedTable } from './columns.ts'

/**
 * How records refer to one another. Tables are named through functions, so that files may refer to each other in any
 * order; columns are names, checked by the compiler against the table that has them.
 */
export type RelationDeclaration<F extends string = string> =
  | { readonly kind: 'belongsTo'; readonly target: () => IdentifiedTable; readonly column: F }
  | { readonly kind: 'hasMany'; readonly target: () => IdentifiedTable; readonly column: string }
  | {
      readonly kind: 'manyToMany'
      readonly target: () => IdentifiedTable
      readonly through: () => IdentifiedTable
      readonly near: string
      readonly far: string
    }

/** This record names one record of the target in its `column`. */
export const belongsTo = <U extends IdentifiedTable, const F extends string>(target: () => U, column: F) =>
  ({ kind: 'belongsTo', target, column }) as const

/** Records of the target name this one in their `column`. */
export const hasMany = <U extends IdentifiedTable>(target: () => U, column: FieldName<U>) =>
  ({ kind: 'hasMany', target, column }) as const

/** Records of `through` pair this one (in `near`) with one of the target (in `far`). */
export const manyToMany = <U extends IdentifiedTable, J extends IdentifiedTable>(
  target: () => U,
  through: () => J,
  near: FieldName<J>,
  far: FieldName<J>,
) => ({ kind: 'manyToMany', target, through, near, far }) as const
