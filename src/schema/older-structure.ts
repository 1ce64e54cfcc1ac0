import { type Draft, fieldIn, freeName, given, LensMistake, oldField, replaceFields, replaceGiven } from './draft.ts'
import type { FieldKind } from './field.ts'
import type { Lens } from './lens.ts'
import { membersSchema, type ShapeField } from './shape.ts'

/** Fields of the record were members of an object. */
export function olderGroup(draft: Draft, { from, fields }: Extract<Lens, { kind: 'hoist' }>) {
  const members = fields.map((name) => fieldIn(draft, name))
  if (members.length === 0) throw new LensMistake('it names no field.')
  freeName(draft, from)
  replaceFields(draft, fields, [groupOf(from, members)])
  replaceGiven(draft, (path) => (fields.includes(path) ? given(`${from}/${path}`) : null))
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
  const made: ShapeField = {
    ...json,
    ...oldField({ ...was, nullable: true }),
    ...{ name, read: { op: 'member', of: json.read, name, kind: was.kind }, fallback: null },
    ...{ isExact: false, column: null },
  }
  const rest: ShapeField = {
    ...json,
    ...{ read: { op: 'without', of: json.read, name }, isExact: false, column: null },
    schema: json.schema.refine((value) => !Object.hasOwn(Object(value), name), `expected no member "${name}"`),
  }
  replaceFields(draft, [into], [made, rest])
  replaceGiven(draft, (path) =>
    path === into ? { op: 'withMember', of: given(into), name, value: given(name) } : null,
  )
}

function leaveGroup(draft: Draft, group: ShapeField, members: readonly ShapeField[], name: string) {
  const member = members.find((each) => each.name === name)
  if (!member) throw new LensMistake(`"${group.name}" has no "${name}".`)
  freeName(draft, name)
  const rest = members.filter((each) => each !== member)
  replaceFields(draft, [group.name], [member, ...(rest.length > 0 ? [groupOf(group.name, rest)] : [])])
  replaceGiven(draft, (path) => (path === `${group.name}/${name}` ? given(name) : null))
}
