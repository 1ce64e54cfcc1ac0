import { OpenAPIHono, z } from '@hono/zod-openapi'
import type { Derived } from '../../schema/derived.ts'
import { type Field, toJson } from '../../schema/field.ts'
import { limits } from '../../schema/limits.ts'
import type { ShapeField } from '../../schema/shape.ts'
import type { ResourceView } from '../../version/view.ts'

/** What JSON Schema says of the values of a field. */
type Described = Readonly<Record<string, unknown>>

/** Every text of this API: JSON bodies with NUL are refused. */
export const plainText = '^[^\\u0000]*$'
export const idPattern = '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'
/** The one form in which instants are stored and answered. */
const instantPattern = '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$'
/** The forms in which they are taken. */
export const givenInstantPattern =
  '^\\d{4}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}(:\\d{2}(\\.\\d{1,9})?)?(Z|[+-]\\d{2}:\\d{2}))?$'
export const givenInstantCharsMax = 35

export const idSchema = z.string().openapi({ format: 'uuid', pattern: idPattern, minLength: 36, maxLength: 36 })

export const instantSchema = z
  .string()
  .openapi({ format: 'date-time', pattern: instantPattern, minLength: 24, maxLength: 24 })

/** A whole number of JSON that every client can hold, 2^53 - 1 at most. */
export function wholeNumber(min: number = Number.MIN_SAFE_INTEGER, max: number = Number.MAX_SAFE_INTEGER) {
  return z.int().openapi({ format: 'int64', minimum: min, maximum: max })
}

/** A text of people's language, at most as long as a body may be. */
export function freeText(charsMax: number = limits.bodyBytesMax) {
  return z.string().max(charsMax).openapi({ pattern: plainText })
}

/** The values of a field in a record, null apart. */
export function recordValue(view: ResourceView, field: ShapeField): z.ZodType {
  if (field.kind === 'id') return idSchema
  if (field.kind === 'instant') return instantSchema
  if (field.name === 'version') return wholeNumber(1)
  const derived = derivedOf(view, field)
  if (derived?.kind === 'count') return wholeNumber(0)
  return given(keptBy(view, field))
}

/** What a field of the view follows, where it is a derived column as it is. */
export function derivedOf({ resource }: ResourceView, { column }: ShapeField): Derived | undefined {
  return column?.isSame ? resource.derived.get(column.field.name) : undefined
}

/** The values of a field in a body, null apart. */
export function inputValue(field: Field): z.ZodType {
  if (field.kind === 'id') return idSchema
  if (field.kind === 'instant')
    return z.string().openapi({ pattern: givenInstantPattern, minLength: 10, maxLength: givenInstantCharsMax })
  return given(field).openapi(protocolOf(field.schema))
}

/** The field whose schema the stored values keep: a copy has the values of the field that it follows. */
function keptBy(view: ResourceView, field: ShapeField): Field {
  const derived = derivedOf(view, field)
  const followed = derived?.kind === 'copy' && view.other(derived.source).resource.fields.get(derived.field ?? '')
  return followed || field
}

/** What the table stores when the caller gives nothing, as JSON carries it. */
export function fallbackOf(field: Field): unknown {
  return field.fallback === undefined ? undefined : toJson(field, field.fallback)
}

/** The field's own schema with the limits that hold beside it. Where no JSON Schema can say it, the kind alone. */
function given(field: Field): z.ZodType {
  const own = described(field.schema)
  // The model's schemas are older than the extension of zod: a copy has what the generator needs.
  const schema = own ? field.schema.clone() : ofKind(field)
  return schema.openapi(limitsOf(own ?? described(ofKind(field)) ?? {}))
}

/** The protocols of a URL, which the generator leaves out; callers may write them in capitals too. */
function protocolOf(schema: z.ZodType): { pattern?: string } {
  const protocol = schema instanceof z.ZodURL ? schema._zod.def.protocol : undefined
  return protocol ? { pattern: `^(${protocol.source.replace(/^\^|\$$/g, '')}):` } : {}
}

function ofKind(field: Field): z.ZodType {
  switch (field.kind) {
    case 'integer':
      return z.int()
    case 'real':
      return z.number()
    case 'boolean':
      return z.boolean()
    case 'enum':
      return z.enum(field.values)
    case 'json':
      return z.unknown()
    default:
      return z.string()
  }
}

const describedBySchema = new WeakMap<z.ZodType, Described | null>()

/** What the generator makes of a schema by itself, or null where it has no words for it. */
function described(schema: z.ZodType): Described | null {
  const known = describedBySchema.get(schema)
  if (known !== undefined) return known
  const made = describe(schema)
  describedBySchema.set(schema, made)
  return made
}

function describe(schema: z.ZodType): Described | null {
  const alone = new OpenAPIHono()
  try {
    alone.openAPIRegistry.register('Value', schema.clone())
    const document = alone.getOpenAPI31Document({ openapi: '3.1.0', info: { title: '', version: '' } })
    return (document.components?.schemas?.Value ?? {}) as Described
  } catch {
    return null
  }
}

/** A schema inside another with its limits, for what a json field holds. */
function limited(own: unknown): unknown {
  return typeof own === 'object' && own !== null ? { ...own, ...limitsOf(own as Described) } : own
}

/** The limits that hold of a value beside those that its schema says. */
function limitsOf(own: Described): Record<string, unknown> {
  const types = [own.type].flat()
  const parts = Object.entries(own).filter(([name]) => ['anyOf', 'oneOf', 'allOf'].includes(name))
  return {
    ...Object.fromEntries(parts.map(([name, list]) => [name, (list as unknown[]).map(limited)])),
    ...(types.includes('integer') && integerLimits(own)),
    ...(types.includes('string') && own.enum === undefined && own.const === undefined && textLimits(own)),
    ...(types.includes('object') && objectLimits(own)),
    ...(types.includes('array') && { maxItems: own.maxItems ?? limits.jsonMembersMax, items: limited(own.items) }),
  }
}

function integerLimits(own: Described): Record<string, unknown> {
  return {
    format: 'int64',
    ...(own.minimum === undefined && own.exclusiveMinimum === undefined && { minimum: Number.MIN_SAFE_INTEGER }),
    ...(own.maximum === undefined && own.exclusiveMaximum === undefined && { maximum: Number.MAX_SAFE_INTEGER }),
  }
}

function textLimits(own: Described): Record<string, unknown> {
  // A pattern with flags ends in them, and JSON Schema has none.
  const flagged = typeof own.pattern === 'string' && /\/[dgimsuvy]+$/.test(own.pattern)
  const isFree = flagged || (own.pattern === undefined && own.format === undefined)
  return { maxLength: own.maxLength ?? limits.bodyBytesMax, ...(isFree && { pattern: plainText }) }
}

function objectLimits(own: Described): Record<string, unknown> {
  const { properties, additionalProperties } = own
  return {
    maxProperties: own.maxProperties ?? limits.jsonMembersMax,
    ...(properties !== undefined && {
      properties: Object.fromEntries(
        Object.entries(properties as Described).map(([name, value]) => [name, limited(value)]),
      ),
    }),
    ...(additionalProperties !== undefined && { additionalProperties: limited(additionalProperties) }),
  }
}
