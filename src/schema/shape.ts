import * as z from 'zod'
import { assert } from '../problem.ts'
import type { Value } from '../value.ts'
import type { Draft } from './draft.ts'
import { type Expression, leavesOf } from './expression.ts'
import type { Field } from './field.ts'
import type { Relation, Resource } from './model.ts'

/** A field as one version of the API has it. What it says of itself is of that version: its name, its kind, its values. */
export interface ShapeField extends Field {
  /** How it is read from a row. */
  readonly read: Expression
  /** Whether what is written is what is read: false where different records look the same in this version. */
  readonly isExact: boolean
  /** The column that filters and sorts look at; null where none holds its value. */
  readonly column: ColumnLink | null
  /** The members of an object that the tables keep as columns; null of every other field. */
  readonly members: readonly ShapeField[] | null
}

export interface ColumnLink {
  readonly field: Field
  /** Whether the column holds the very value, so that its order and its parts are those of the field. */
  readonly isSame: boolean
  /** A value of the field as the column holds it. */
  readonly toColumn: (value: Value) => Value
}

/** What a write at one version puts into a column. */
export interface Put {
  readonly column: Field
  readonly expression: Expression
  /** The paths that it is made of, `name` or `group/name`; none where the version does not have the column at all. */
  readonly given: readonly string[]
  /** Whether it is the very value of its one field. */
  readonly isSame: boolean
  /** Whether the fields that it is made of are exact. */
  readonly isExact: boolean
}

/** A resource as one version of the API has it. */
export interface Shape {
  readonly name: string
  readonly fields: ReadonlyMap<string, ShapeField>
  readonly relations: ReadonlyMap<string, Relation>
  readonly puts: readonly Put[]
  readonly pageRowsMax: number
}

/** The shape of the tables themselves. */
export function newestDraft({ name, fields, relations, pageRowsMax }: Resource): Draft {
  return {
    ...{ name, pageRowsMax, relations: new Map(relations) },
    fields: new Map([...fields.values()].map((field) => [field.name, ofColumn(field)])),
    puts: new Map(
      [...fields.values()].filter(({ writable }) => writable).map(({ name }) => [name, { op: 'given', path: name }]),
    ),
  }
}

function ofColumn(field: Field): ShapeField {
  return {
    ...field,
    read: { op: 'column', name: field.name, kind: field.kind },
    isExact: true,
    column: { field, isSame: true, toColumn: (value) => value },
    members: null,
  }
}

/** The shape that a draft is now. */
export function shapeOf(draft: Draft, resource: Resource): Shape {
  const { name, pageRowsMax } = draft
  const fieldByPath = new Map(pathsOf(draft.fields))
  const puts = [...draft.puts].map(([column, expression]): Put => {
    const paths = [...new Set(leavesOf(expression).flatMap((leaf) => (leaf.op === 'given' ? [leaf.path] : [])))]
    return {
      ...{ column: resource.fields.get(column) as Field, expression, given: paths },
      isSame: expression.op === 'given' && !expression.isDefaulted,
      isExact: paths.every((path) => fieldByPath.get(path)?.isExact),
    }
  })
  return { name, pageRowsMax, puts, fields: new Map(draft.fields), relations: new Map(draft.relations) }
}

/** Every field that a caller may name by itself, with its path. */
export function* pathsOf(fields: ReadonlyMap<string, ShapeField>): Generator<[path: string, field: ShapeField]> {
  for (const [name, field] of fields) {
    if (field.members === null) yield [name, field]
    else for (const member of field.members) yield [`${name}/${member.name}`, member]
  }
}

/** The field at a path, which there is. */
export function fieldAt(fields: ReadonlyMap<string, ShapeField>, path: string): ShapeField {
  const [name = '', member] = path.split('/')
  const field = fields.get(name)
  const found = member === undefined ? field : field?.members?.find((each) => each.name === member)
  assert(found, `a column is made of fields of its version, and ${path} is none`)
  return found
}

/** What callers may send for fields together. */
export function membersSchema(fields: Iterable<ShapeField>, use: 'create' | 'patch'): z.ZodObject {
  const shape: Record<string, z.ZodType> = {}
  for (const field of fields) {
    if (!field.writable) continue
    const own = field.members ? membersSchema(field.members, use) : field.schema
    const schema = field.nullable ? own.nullable() : own
    shape[field.name] = use === 'patch' || field.fallback !== undefined ? schema.optional() : schema
  }
  return z.object(shape)
}
