import type { FieldKind } from '../schema/field.ts'
import type { ColumnLink, ShapeField } from '../schema/shape.ts'
import type { ResourceView } from './view.ts'

/** What lists of one version can be asked: which fields they are filtered by, with which operators, and sorted by. */
export const operators = ['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'contains', 'prefix', 'null'] as const
export type Operator = (typeof operators)[number]

/** What can be asked of values that the column has under other names. */
export const valueOperators: readonly Operator[] = ['eq', 'ne', 'in', 'null']

/** The column that a field is sorted by; null where it cannot be. */
export function sortColumn({ resource }: ResourceView, { column }: ShapeField): string | null {
  return column?.isSame && resource.sortable.has(column.field.name) ? column.field.name : null
}

/** The column that a field is filtered by; null where it cannot be. */
export function filterColumn({ resource }: ResourceView, { column }: ShapeField): ColumnLink | null {
  return column && resource.filterable.has(column.field.name) ? column : null
}

const equality = ['eq', 'ne', 'in'] as const
const ordered = ['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in'] as const

/** The operators that mean something for each kind of field. */
const operatorsByKind: Readonly<Record<FieldKind, readonly Operator[]>> = {
  id: equality,
  enum: equality,
  boolean: ['eq', 'ne'],
  integer: ordered,
  real: ordered,
  instant: ordered,
  text: [...ordered, 'prefix', 'contains'],
  json: [],
}

/** The operators that are promised for filters by a field; none where it cannot be filtered by. */
export function operatorsOf(view: ResourceView, field: ShapeField): readonly Operator[] {
  const column = filterColumn(view, field)
  if (!column) return []
  const meaningful = operatorsByKind[field.kind].filter((each) => column.isSame || valueOperators.includes(each))
  return field.nullable ? [...meaningful, 'null'] : meaningful
}
