import type { Json } from '../value.ts'
import { evaluate } from './evaluate.ts'
import { type Expression, leavesOf } from './expression.ts'
import { toJson } from './field.ts'
import type { Resource } from './model.ts'

/** A record as the log keeps it after a change: its columns, as JSON. */
export type Image = Readonly<Record<string, Json>>

/**
 * What a column has in an image. What the log wrote before the column was there is made of the columns whose place it
 * took, or has its default.
 */
export function columnIn(image: Image, name: string, { fields, origins }: Pick<Resource, 'fields' | 'origins'>): Json {
  if (Object.hasOwn(image, name)) return image[name] ?? null
  const origin = origins.get(name)?.find((each) => columnsIn(each).some((column) => Object.hasOwn(image, column)))
  if (origin) return evaluate(origin, (leaf) => (leaf.op === 'column' ? (image[leaf.name] ?? null) : null))
  const field = fields.get(name)
  return field?.fallback === undefined ? null : toJson(field, field.fallback)
}

export function columnsIn(expression: Expression): string[] {
  return leavesOf(expression).flatMap((leaf) => (leaf.op === 'column' ? [leaf.name] : []))
}
