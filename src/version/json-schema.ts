import * as z from 'zod'
import { type FieldKind, instantForm, kindSchema, toJson, uuidv7 } from '../schema/field.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { ResourceView } from './view.ts'

/** A JSON Schema (2020-12) as plain data. */
export type JsonSchema = Readonly<Record<string, unknown>>

const dialect = 'https://json-schema.org/draft/2020-12/schema'

/**
 * What a version serves and takes of a resource, as JSON Schema. It says what the model's zod schemas say and JSON Schema
 * can: a check that is written as a function is not in it, nor a
 * pattern with flags. Values that Perigee keeps are told by their kind alone.
 */
export function recordJsonSchema(view: ResourceView): JsonSchema {
  return { $schema: dialect, ...recordOf(view.fields.values()) }
}

/** The body of a create or a replace, or a merge patch of a record (RFC 7396). */
export function bodyJsonSchema(view: ResourceView, use: 'create' | 'patch'): JsonSchema {
  return { $schema: dialect, ...bodyOf(view.fields.values(), use) }
}

function recordOf(fields: Iterable<ShapeField>): JsonSchema {
  const members = [...fields].map((field) => {
    const value = field.members ? recordOf(field.members) : recordValue(field)
    return [field.name, field.nullable ? orNull(value) : value] as const
  })
  return { type: 'object', properties: Object.fromEntries(members), required: members.map(([name]) => name) }
}

function bodyOf(fields: Iterable<ShapeField>, use: 'create' | 'patch'): JsonSchema {
  const writable = [...fields].filter((field) => field.writable)
  const members = writable.map((field) => {
    const value = field.members ? bodyOf(field.members, use) : givenValue(field)
    const told = field.nullable ? orNull(value) : value
    const fallback = use === 'create' && !field.members ? field.fallback : undefined
    return [field.name, fallback === undefined ? told : { ...told, default: toJson(field, fallback) }] as const
  })
  const required = writable.filter((field) => use === 'create' && field.fallback === undefined)
  return {
    ...{ type: 'object', properties: Object.fromEntries(members), additionalProperties: false },
    ...(required.length > 0 && { required: required.map(({ name }) => name) }),
  }
}

function recordValue(field: ShapeField): JsonSchema {
  if (field.kind === 'instant') return { type: 'string', format: 'date-time' }
  if (field.writable || field.kind === 'id') return givenValue(field)
  // A copy is as long as what it follows.
  const { maxLength: _, ...value } = ofKind(field)
  return value
}

/** What a caller may send for a field, null excluded. */
function givenValue(field: ShapeField): JsonSchema {
  if (field.kind === 'id') return { type: 'string', format: 'uuid', pattern: uuidv7.source }
  if (field.kind === 'instant') return { type: 'string', pattern: instantForm.source }
  const own = drawn(field.schema)
  // Of a schema that makes one value of another, JSON Schema may have no words; its field still has a kind.
  const says = ['type', 'enum', 'const', 'anyOf', 'oneOf', 'allOf'].some((keyword) => Object.hasOwn(own, keyword))
  return says ? own : { ...ofKind(field), ...own }
}

function ofKind({ kind, values }: { readonly kind: FieldKind; readonly values: readonly string[] }): JsonSchema {
  if (kind === 'json') return { type: ['object', 'array', 'string', 'number', 'boolean'] }
  return drawn(kindSchema(kind, { values }))
}

function drawn(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...own } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', override: withoutFlags })
  return own
}

/** A pattern of JSON Schema has no flags: one that has some would refuse what the model takes, and is left out. */
function withoutFlags({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodTypes
  jsonSchema: z.core.JSONSchema.BaseSchema
}) {
  const { patterns } = zodSchema._zod.bag as { readonly patterns?: ReadonlySet<RegExp> }
  if ([...(patterns ?? [])].every((pattern) => pattern.flags.replace('u', '') === '')) return
  delete jsonSchema.pattern
  delete jsonSchema.allOf
}

function orNull(schema: JsonSchema): JsonSchema {
  const { const: only, ...rest } = schema
  if (rest.type === undefined) return { anyOf: [schema, { type: 'null' }] }
  const values = only === undefined ? rest.enum : [only]
  return { ...rest, type: [rest.type, 'null'].flat(), ...(Array.isArray(values) && { enum: [...values, null] }) }
}
