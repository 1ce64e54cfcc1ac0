import type { Json } from '../value.ts'
import { convertField, type Draft, fieldIn, LensMistake, oldField } from './draft.ts'
import { evaluateOn, isSame } from './evaluate.ts'
import type { Expression } from './expression.ts'
import { kindOf, valueKind } from './expression-kind.ts'
import { type FieldKind, toJson, toStored } from './field.ts'
import type { Lens, OldField } from './lens.ts'
import type { ShapeField } from './shape.ts'

const kinds: readonly FieldKind[] = ['text', 'enum', 'integer', 'real', 'boolean', 'instant']

/** Values that a conversion is tried with, in both directions. */
const samples: Readonly<Record<FieldKind, readonly Json[]>> = {
  text: ['', 'a', 'A', 'Ada', 'ada lovelace', '@ada', 'x/y', '7', 'ÄÖ'],
  enum: [],
  id: [],
  integer: [0, 1, -1, 2, 7, 10, 59, 60, 61, 99, 100, 1_000, 86_400, 1_000_001],
  real: [0, 1, -1, 0.5, 0.25, 1.5, 2.25, 10.75, 99.5, 1_000.125],
  boolean: [true, false],
  instant: ['2026-01-31T12:00:00.000Z', '1999-12-31T23:59:59.999Z'],
  json: [],
}

/** A value was told in another way. */
export function olderConvert(
  draft: Draft,
  { field: name, was, toOld, toNew, loses }: Extract<Lens, { kind: 'convert' }>,
) {
  const field = fieldIn(draft, name, kinds)
  requireKinds(field, was, toOld, toNew)
  const { schema, values } = oldField(was)
  const strange = triedOf(field).find((each) => !schema.safeParse(evaluateOn(toOld, each)).success)
  if (strange !== undefined) {
    const shown = JSON.stringify(evaluateOn(toOld, strange))
    throw new LensMistake(
      `"${name}": the new ${JSON.stringify(strange)} is shown as ${shown}, which is no value of the old version.`,
    )
  }
  const tried = triedOf({ kind: was.kind, schema, values })
  const refused = tried.find((each) => !field.schema.safeParse(evaluateOn(toNew, each)).success)
  if (refused !== undefined) {
    const there = JSON.stringify(evaluateOn(toNew, refused))
    throw new LensMistake(
      `"${name}": the old ${JSON.stringify(refused)} becomes ${there}, which the field does not take; tell with "schema" what old clients send.`,
    )
  }
  const kept = (each: Json) => toJson(field, toStored(field, evaluateOn(toNew, each)))
  const lost = tried.find((each) => !isSame(evaluateOn(toOld, kept(each)), each))
  if (lost !== undefined && loses === null) {
    const [there, again] = [kept(lost), evaluateOn(toOld, kept(lost))].map((each) => JSON.stringify(each))
    throw new LensMistake(
      `"${name}": the old ${JSON.stringify(lost)} becomes ${there}, which comes back as ${again}; say with "loses" what old clients lose, or make the two the way back from each other.`,
    )
  }
  const conversion = { was: { nullable: field.nullable, ...was }, toOld, toNew, isExact: false, isOneToOne: false }
  convertField(draft, field, conversion)
}

/** Values that a field takes, as far as a conversion is tried with them. */
export function triedOf({ kind, values, schema }: Pick<ShapeField, 'kind' | 'values' | 'schema'>): Json[] {
  return [...samples[kind], ...values].filter((each) => schema.safeParse(each).success)
}

function requireKinds(field: ShapeField, was: OldField, toOld: Expression, toNew: Expression) {
  if (!kinds.includes(was.kind))
    throw new LensMistake(`"${field.name}" was ${was.kind}; it is to be ${kinds.join(', ')}.`)
  for (const [way, expression, from, to] of [
    ['toOld', toOld, field.kind, was.kind],
    ['toNew', toNew, was.kind, field.kind],
  ] as const) {
    const made = kindOf(expression, from)
    if (made !== valueKind(to))
      throw new LensMistake(`"${way}" of "${field.name}" makes a ${made}; ${to} is no ${made}.`)
  }
}
