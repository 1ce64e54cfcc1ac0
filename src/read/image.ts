import { assert } from '../problem.ts'
import { type Caller, type Predicate, predicateHolds } from '../schema/access.ts'
import { evaluate } from '../schema/evaluate.ts'
import { type Expression, leavesOf } from '../schema/expression.ts'
import { toJson, toStored } from '../schema/field.ts'
import type { Resource } from '../schema/model.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { Json, Value } from '../value.ts'
import type { ResourceView } from '../version/view.ts'

/** A record as the log keeps it after a change: its columns, as JSON. */
export type Image = Readonly<Record<string, Json>>

/** JSON that the log keeps as text. */
export function parsed<T>(value: Value | undefined): T | null {
  return typeof value === 'string' ? JSON.parse(value) : null
}

/** Whether a caller could read the record as it was. `rule` is the resource's, resolved for the caller. */
export function mayRead(image: Image | null, rule: Predicate, { fields }: Resource, caller: Caller): boolean {
  if (image === null || rule.kind === 'never') return false
  if (rule.kind === 'always') return true
  const stored = (name: string) => {
    const field = fields.get(name)
    const value = image[name] ?? null
    return field && value !== null ? toStored(field, value) : null
  }
  return predicateHolds(rule, stored, caller.kind === 'user' ? caller.subject : null)
}

/** The record of an image, as a version shows it. What the log wrote before a column was there has its default. */
export function recordOf(image: Image | null, view: ResourceView, only: readonly ShapeField[] | null = null): Json {
  if (image === null) return null
  const valueAt = (leaf: Expression): Json => {
    assert(leaf.op === 'column', 'a record is read from columns')
    const field = view.resource.fields.get(leaf.name)
    return image[leaf.name] ?? (field?.fallback === undefined ? null : toJson(field, field.fallback))
  }
  const fields = only ?? [...view.fields.values()]
  return Object.fromEntries(fields.map(({ name, read }) => [name, evaluate(read, valueAt)]))
}

/** The names of the fields that show any of the columns. */
export function changedNames(view: ResourceView, columns: readonly string[]): string[] {
  const shows = ({ read }: ShapeField) =>
    leavesOf(read).some((leaf) => leaf.op === 'column' && columns.includes(leaf.name))
  return [...view.fields.values()].filter(shows).map(({ name }) => name)
}
