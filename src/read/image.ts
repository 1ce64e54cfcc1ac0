import { assert } from '../problem.ts'
import { type Caller, type Predicate, predicateHolds } from '../schema/access.ts'
import { evaluate } from '../schema/evaluate.ts'
import type { Expression } from '../schema/expression.ts'
import { toStored } from '../schema/field.ts'
import { columnIn, columnsIn, type Image } from '../schema/image.ts'
import type { Resource } from '../schema/model.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { Json, Value } from '../value.ts'
import type { ResourceView } from '../version/view.ts'

/** JSON that the log keeps as text. */
export function parsed<T>(value: Value | undefined): T | null {
  return typeof value === 'string' ? JSON.parse(value) : null
}

/** Whether a caller could read the record as it was. `rule` is the resource's, resolved for the caller. */
export function mayRead(image: Image | null, rule: Predicate, resource: Resource, caller: Caller): boolean {
  if (image === null || rule.kind === 'never') return false
  if (rule.kind === 'always') return true
  const stored = (name: string) => {
    const field = resource.fields.get(name)
    const value = columnIn(image, name, resource)
    return field && value !== null ? toStored(field, value) : null
  }
  return predicateHolds(rule, stored, caller.kind === 'user' ? caller.subject : null)
}

/** The record of an image, as a version shows it. */
export function recordOf(image: Image | null, view: ResourceView, only: readonly ShapeField[] | null = null): Json {
  if (image === null) return null
  const valueAt = (leaf: Expression): Json => {
    assert(leaf.op === 'column', 'a record is read from columns')
    return columnIn(image, leaf.name, view.resource)
  }
  const fields = only ?? [...view.fields.values()]
  return Object.fromEntries(fields.map(({ name, read }) => [name, evaluate(read, valueAt)]))
}

/** The names of the fields that show any of the columns, or what took their place. */
export function changedNames({ fields, resource }: ResourceView, columns: readonly string[]): string[] {
  const isOf = (column: string) =>
    columns.includes(column) ||
    (resource.origins.get(column) ?? []).some((origin) => columnsIn(origin).some((each) => columns.includes(each)))
  return [...fields.values()].filter(({ read }) => columnsIn(read).some(isOf)).map(({ name }) => name)
}
