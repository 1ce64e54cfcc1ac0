import { isSame } from '../../src/schema/evaluate.ts'
import type { ShapeField } from '../../src/schema/shape.ts'
import type { Json } from '../../src/value.ts'
import { valueFor } from './random-lenses.ts'
import type { Draw } from './random-model.ts'

export type Members = { [name: string]: Json }

/** A body with a value that each field takes, now and then without those that may be left out; `share` is of a patch. */
export function randomBody(
  draw: Draw,
  fields: Iterable<ShapeField>,
  { share }: { readonly share: number | null },
): Members {
  const body: Members = {}
  for (const field of fields) {
    if (!field.writable) continue
    const isLeft = share === null ? field.fallback !== undefined && draw.chance(30) : !draw.chance(share)
    if (isLeft) continue
    body[field.name] = field.members ? randomBody(draw, field.members, { share }) : valueFor(draw, field)
  }
  return body
}

/** Of a record, what its caller may send back. */
export function writableOf(fields: Iterable<ShapeField>, record: Members): Members {
  return Object.fromEntries(
    [...fields]
      .filter((field) => field.writable)
      .map((field) => {
        const value = record[field.name] ?? null
        return [field.name, field.members ? writableOf(field.members, value as Members) : value]
      }),
  )
}

/** The paths of a body as puts name them. */
export function pathsOf(fields: Iterable<ShapeField>, body: Members): string[] {
  return [...fields].flatMap((field) => {
    if (!Object.hasOwn(body, field.name)) return []
    const members = field.members && pathsOf(field.members, body[field.name] as Members)
    return members ? members.map((path) => `${field.name}/${path}`) : [field.name]
  })
}

/** The members of two bodies that differ, with both values. */
export function differences(a: Members, b: Members): unknown[] {
  return Object.keys({ ...a, ...b })
    .filter((name) => !isSame(a[name] ?? null, b[name] ?? null))
    .map((name) => [name, a[name], b[name]])
}
