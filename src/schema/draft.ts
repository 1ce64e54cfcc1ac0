import type { z } from 'zod'
import type { Json, Value } from '../value.ts'
import { isName, nameRule, reservedFields } from './check-table.ts'
import { evaluateOn } from './evaluate.ts'
import { type Expression, fill, type Leaf, replaceLeaves } from './expression.ts'
import { type Field, type FieldKind, kindSchema, toJson, toStored } from './field.ts'
import type { OldField } from './lens.ts'
import type { Relation } from './model.ts'
import { type ColumnLink, fieldAt, type ShapeField } from './shape.ts'

/** A lens that does not fit what it is declared of; the message says why, and what would. */
export class LensMistake extends Error {}

/** A shape that lenses turn into an older one, the newest lens first. */
export interface Draft {
  name: string
  fields: Map<string, ShapeField>
  relations: Map<string, Relation>
  /** By column. */
  readonly puts: Map<string, Expression>
  pageRowsMax: number
}

export function given(path: string): Expression {
  return { op: 'given', path }
}

/** A field of the newer version that a lens may change; groups are none. */
export function fieldIn(draft: Draft, name: string, kinds?: readonly FieldKind[]): ShapeField {
  const field = draft.fields.get(name)
  if (!field) {
    const names = [...draft.fields.keys()].join(', ')
    throw new LensMistake(`there is no field "${name}" in the version that it leads to; there are ${names}.`)
  }
  if (name === 'id' || name === 'version') throw new LensMistake(`"${name}" is the same in every version.`)
  if (field.members !== null) throw new LensMistake(`"${name}" is an object of fields there; name one of its fields.`)
  if (kinds && !kinds.includes(field.kind))
    throw new LensMistake(`"${name}" is ${field.kind}; this lens is for ${kinds.join(', ')}.`)
  return field
}

export function newName(name: string): string {
  if (!isName(name) || reservedFields.includes(name))
    throw new LensMistake(`"${name}" is no name; ${nameRule}, and none that queries use.`)
  return name
}

/** A name that nothing has in the older version. */
export function freeName(draft: Draft, name: string, going: readonly string[] = []): string {
  const taken = [...draft.fields.keys(), ...draft.relations.keys()].filter((each) => !going.includes(each))
  if (taken.includes(name)) throw new LensMistake(`there is a "${name}" already.`)
  return newName(name)
}

/**
 * Puts `made` in the place of the first of `names`, which go. `replace` says what writes then make the fields of the newer
 * version of, by their paths: null where a path stays what it is.
 */
export function replaceFields(
  draft: Draft,
  names: readonly string[],
  made: readonly ShapeField[],
  replace: (path: string) => Expression | null,
) {
  const newer = draft.fields
  const entries = [...newer]
  const at = entries.findIndex(([name]) => names.includes(name))
  const rest = entries.filter(([name]) => !names.includes(name))
  const before = at < 0 ? rest.length : at
  draft.fields = new Map([
    ...rest.slice(0, before),
    ...made.map((field) => [field.name, field] as const),
    ...rest.slice(before),
  ])
  const olderOf = (leaf: Leaf): Expression => {
    const by = leaf.op === 'given' ? replace(leaf.path) : null
    if (by === null || leaf.op !== 'given') return leaf
    const told = leaf.isDefaulted ? replaceLeaves(by, defaulted) : by
    const field = fieldAt(newer, leaf.path)
    const isField = told.op === 'given' && fieldAt(draft.fields, told.path).read === field.read
    return told.op === 'hidden' || isField ? told : { op: 'made', by: told, field }
  }
  for (const [column, expression] of draft.puts) draft.puts.set(column, replaceLeaves(expression, olderOf))
}

function defaulted(leaf: Leaf): Leaf {
  return leaf.op === 'given' ? { ...leaf, isDefaulted: true } : leaf
}

/** One value in another form, by a pair of expressions over it. */
export interface Conversion {
  readonly was: OldField
  /** What it is called in the older version, where that is another name. */
  readonly name?: string
  readonly toOld: Expression
  readonly toNew: Expression
  /** Whether each value of the newer version comes back as it was. */
  readonly isExact: boolean
  /** Whether one value is always one other, so that equality can be looked up in the column. */
  readonly isOneToOne: boolean
}

export function convertField(draft: Draft, field: ShapeField, conversion: Conversion) {
  const { was, toOld, toNew, isExact, isOneToOne, name = field.name } = conversion
  const { column } = field
  const older: ShapeField = {
    ...field,
    ...oldField(was),
    ...{ name, read: fill(toOld, field.read), isExact: field.isExact && isExact },
    fallback: convertedFallback(field, was, toOld),
    column: isOneToOne && column ? { ...column, isSame: false, toColumn: through(field, column, was, toNew) } : null,
  }
  replaceFields(draft, [field.name], [older], (path) => (path === field.name ? fill(toNew, given(name)) : null))
}

function through(field: Field, column: ColumnLink, was: OldField, toNew: Expression): ColumnLink['toColumn'] {
  return (value) => column.toColumn(stored(field, evaluateOn(toNew, toJson(was, value))))
}

/** What a field of an older version has where nothing is sent: made of what its newer one has. */
export function convertedFallback(field: Field, was: Pick<Field, 'kind'>, toOld: Expression): Value | undefined {
  return field.fallback === undefined ? undefined : stored(was, evaluateOn(toOld, toJson(field, field.fallback)))
}

export function stored(field: { readonly kind: FieldKind }, value: Json): Value {
  return value === null ? null : toStored(field, value)
}

/** What old clients know of a field, in full. */
export function oldField(was: OldField): Pick<ShapeField, 'kind' | 'nullable' | 'values'> & { schema: z.ZodType } {
  const { kind, nullable = false, values = [] } = was
  return { kind, nullable, values, schema: was.schema ?? kindSchema(kind, { values }) }
}
