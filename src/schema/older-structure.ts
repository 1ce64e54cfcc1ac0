import type { Json } from '../value.ts'
import {
  convertedFallback,
  type Draft,
  fieldIn,
  freeName,
  given,
  LensMistake,
  oldField,
  replaceFields,
} from './draft.ts'
import { type Expression, fill, value } from './expression.ts'
import type { FieldKind } from './field.ts'
import type { Lens } from './lens.ts'
import { triedOf } from './older-convert.ts'
import { membersSchema, type ShapeField } from './shape.ts'

/** Fields of the record were members of an object. */
export function olderGroup(draft: Draft, { from, fields }: Extract<Lens, { kind: 'hoist' }>) {
  const members = fields.map((name) => fieldIn(draft, name))
  if (members.length === 0) throw new LensMistake('it names no field.')
  if (new Set(fields).size < fields.length) throw new LensMistake('it names a field twice.')
  freeName(draft, from)
  replaceFields(draft, fields, [groupOf(from, members)], (path) =>
    fields.includes(path) ? given(`${from}/${path}`) : null,
  )
}

function groupOf(name: string, members: readonly ShapeField[]): ShapeField {
  const isOptional = members.every((member) => !member.writable || member.fallback !== undefined)
  return {
    ...{ name, members, kind: 'json', nullable: false, values: [], column: null },
    fallback: isOptional ? '{}' : undefined,
    writable: members.some((member) => member.writable),
    schema: membersSchema(members, 'create'),
    read: { op: 'object', members: members.map((member) => [member.name, member.read] as const) },
    isExact: members.every((member) => member.isExact),
  }
}

const plainKinds: readonly FieldKind[] = ['text', 'integer', 'real', 'boolean']

/** A member of an object was a field of the record. */
export function olderPlunge(draft: Draft, { field: name, into, was }: Extract<Lens, { kind: 'plunge' }>) {
  const object = draft.fields.get(into)
  if (object?.members) return leaveGroup(draft, object, object.members, name)
  const json = fieldIn(draft, into, ['json'])
  if (!plainKinds.includes(was.kind)) throw new LensMistake(`"${name}" must be ${plainKinds.join(', ')}.`)
  freeName(draft, name)
  if (notObjects.some((each) => json.schema.safeParse(each).success))
    throw new LensMistake(
      `"${into}" may be other than an object, which has no members; validate it, as with z.record().`,
    )
  const strange = triedOf(oldField(was)).find((each) => refusesMember(json, name, each))
  if (strange !== undefined)
    throw new LensMistake(
      `"${into}" takes no ${JSON.stringify(strange)} as its "${name}"; tell with "schema" what old clients send.`,
    )
  const outside: Expression = { op: 'member', of: value, name, kind: was.kind }
  const inside: Expression = { op: 'without', of: value, name }
  const part = (cut: Expression) => ({ ...json, read: fill(cut, json.read), isExact: false, column: null })
  const made: ShapeField = {
    ...part(outside),
    ...oldField({ ...was, nullable: true }),
    ...{ name, fallback: convertedFallback(json, was, outside) ?? null },
  }
  const rest: ShapeField = {
    ...part(inside),
    fallback: convertedFallback(json, json, inside),
    schema: json.schema.refine((given) => !Object.hasOwn(Object(given), name), `expected no member "${name}"`),
  }
  replaceFields(draft, [into], [made, rest], (path) =>
    path === into ? { op: 'withMember', of: given(into), name, value: given(name) } : null,
  )
}

function refusesMember({ schema }: ShapeField, name: string, member: Json): boolean {
  const issues = schema.safeParse({ [name]: member }).error?.issues ?? []
  return issues.some(({ path }) => path.length === 0 || path[0] === name)
}

const notObjects = ['', 0, true, []]

function leaveGroup(draft: Draft, group: ShapeField, members: readonly ShapeField[], name: string) {
  const member = members.find((each) => each.name === name)
  if (!member) throw new LensMistake(`"${group.name}" has no "${name}".`)
  freeName(draft, name)
  const rest = members.filter((each) => each !== member)
  const left = rest.length > 0 ? [groupOf(group.name, rest)] : []
  replaceFields(draft, [group.name], [member, ...left], (path) =>
    path === `${group.name}/${name}` ? given(name) : null,
  )
}
