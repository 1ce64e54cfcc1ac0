import { isSame } from '../schema/evaluate.ts'
import type { Json } from '../value.ts'
import type { JsonSchema } from './json-schema.ts'

/**
 * One way in which a schema no longer keeps what it promised, at the path of a member. Of what clients read: values may
 * come that could not come before. Of what they send: values are refused that were taken before.
 */
export type SchemaChange = { readonly path: readonly string[] } & (
  | { readonly kind: 'gone' | 'required' | 'needed' | 'missing' | 'nullable' | 'notNullable' }
  | { readonly kind: 'type'; readonly was: string; readonly is: string }
  | { readonly kind: 'values'; readonly values: readonly unknown[] }
  /** A keyword that bounds or describes values; undefined where it is absent. */
  | { readonly kind: 'keyword'; readonly keyword: string; readonly was: unknown; readonly is: unknown }
)

/** Whether clients read the values or send them. */
export type Use = 'read' | 'sent'

type Way = 'wider' | 'narrower' | 'other' | 'same'

/** In what `is` breaks what `was` promised. Both say the same of whatever is not told. */
export function* changesOf(
  use: Use,
  was: JsonSchema,
  is: JsonSchema,
  path: readonly string[] = [],
): Generator<SchemaChange> {
  if (isSame(was as Json, is as Json)) return
  const breaks = (way: Way) => way === 'other' || way === (use === 'read' ? 'wider' : 'narrower')
  // What is sent where nothing is: told first, because its lens stands before the others of the field.
  if (
    use === 'sent' &&
    was.default !== undefined &&
    is.default !== undefined &&
    !isSame(was.default as Json, is.default as Json)
  )
    yield { path, kind: 'keyword', keyword: 'default', was: was.default, is: is.default }
  const [before, after] = [withoutNull(was), withoutNull(is)]
  if (before.nullable !== after.nullable && breaks(after.nullable ? 'wider' : 'narrower'))
    yield { path, kind: after.nullable ? 'nullable' : 'notNullable' }
  const [a, b] = [before.schema, after.schema]
  const types = [a, b].map(typesOf) as [string[], string[]]
  const way = wayOfSets(
    ...types,
    (type, list) => list.includes(type) || (type === 'integer' && list.includes('number')),
  )
  if (breaks(way)) {
    yield { path, kind: 'type', was: typeText(types[0]), is: typeText(types[1]) }
    return
  }
  yield* valuesChange(a, b, path, breaks)
  for (const keyword of new Set([...Object.keys(a), ...Object.keys(b)])) {
    if (!isAside(keyword) && breaks(wayOf(keyword, a[keyword], b[keyword])))
      yield { path, kind: 'keyword', keyword, was: a[keyword], is: b[keyword] }
  }
  yield* memberChanges(use, a, b, path)
  const parts = ['items', 'additionalProperties'] as const
  for (const part of parts) yield* changesOf(use, schemaIn(a[part]), schemaIn(b[part]), [...path, '*'])
  if (use === 'sent' && a.additionalProperties !== false && b.additionalProperties === false)
    yield { path, kind: 'keyword', keyword: 'additionalProperties', was: a.additionalProperties, is: false }
}

function* memberChanges(use: Use, was: JsonSchema, is: JsonSchema, path: readonly string[]): Generator<SchemaChange> {
  const [before, after] = [membersOf(was), membersOf(is)]
  const isOpen = is.additionalProperties !== false && use === 'sent'
  for (const [name, member] of before.schemas) {
    const now = after.schemas.get(name)
    const at = [...path, name]
    if (!now) {
      if (!isOpen) yield { path: at, kind: 'gone' }
      continue
    }
    if (use === 'read' && before.required.has(name) && !after.required.has(name)) yield { path: at, kind: 'missing' }
    if (use === 'sent' && !before.required.has(name) && after.required.has(name)) yield { path: at, kind: 'required' }
    yield* changesOf(use, member, now, at)
  }
  if (use !== 'sent') return
  for (const name of after.required) if (!before.schemas.has(name)) yield { path: [...path, name], kind: 'needed' }
}

function* valuesChange(
  { enum: was }: JsonSchema,
  { enum: is }: JsonSchema,
  path: readonly string[],
  breaks: (way: Way) => boolean,
): Generator<SchemaChange> {
  const [before, after] = [was, is].map((list) => (Array.isArray(list) ? (list as unknown[]) : null))
  if (!before || !after) return
  const [gone, added] = [before.filter((each) => !after.includes(each)), after.filter((each) => !before.includes(each))]
  if (gone.length > 0 && breaks('narrower')) yield { path, kind: 'values', values: gone }
  if (added.length > 0 && breaks('wider')) yield { path, kind: 'values', values: added }
}

/** Keywords that say nothing of which values are valid, and those that have a rule of their own. */
const aside = ['$schema', 'title', 'description', 'default', 'examples', 'readOnly', 'deprecated', 'id']
const structure = ['type', 'properties', 'required', 'items', 'additionalProperties']

function isAside(keyword: string): boolean {
  return aside.includes(keyword) || structure.includes(keyword)
}

/** Whether a keyword lets more values through than it did. One that is unknown here must stay as it is. */
function wayOf(keyword: string, was: unknown, is: unknown): Way {
  if (isSame(was as Json, is as Json) || (keyword === 'enum' && was !== undefined && is !== undefined)) return 'same'
  if (was === undefined) return 'narrower'
  if (is === undefined) return 'wider'
  if (typeof was !== 'number' || typeof is !== 'number') return 'other'
  if (/^(max|exclusiveMax)/.test(keyword)) return is > was ? 'wider' : 'narrower'
  return /^(min|exclusiveMin)/.test(keyword) ? (is < was ? 'wider' : 'narrower') : 'other'
}

function wayOfSets(was: string[], is: string[], has: (one: string, list: string[]) => boolean): Way {
  const isWithin = is.every((each) => has(each, was))
  const isAround = was.every((each) => has(each, is))
  if (isWithin && isAround) return 'same'
  return isWithin ? 'narrower' : isAround ? 'wider' : 'other'
}

const allTypes = ['object', 'array', 'string', 'number', 'boolean']

function typesOf({ type }: JsonSchema): string[] {
  return type === undefined ? allTypes : ([type].flat() as string[])
}

/** The types of a schema in words. */
function typeText(types: readonly string[]): string {
  return types.length === allTypes.length ? 'any JSON' : types.join(' or ')
}

export function withoutNull(schema: JsonSchema): { readonly nullable: boolean; readonly schema: JsonSchema } {
  const { type, enum: values, anyOf, ...rest } = schema
  const isNull = (each: unknown) => isSame(each as Json, { type: 'null' })
  if (Array.isArray(anyOf) && anyOf.length === 2 && anyOf.some(isNull))
    return { nullable: true, schema: { ...rest, ...(anyOf.find((each) => !isNull(each)) as JsonSchema) } }
  if (!Array.isArray(type) || !type.includes('null')) return { nullable: false, schema }
  const types = type.filter((each) => each !== 'null')
  const enumerated = Array.isArray(values) ? { enum: values.filter((each) => each !== null) } : {}
  return { nullable: true, schema: { ...schema, type: types.length === 1 ? types[0] : types, ...enumerated } }
}

function membersOf({ properties, required }: JsonSchema) {
  return {
    schemas: new Map(Object.entries((properties ?? {}) as Record<string, JsonSchema>)),
    required: new Set((required ?? []) as string[]),
  }
}

function schemaIn(part: unknown): JsonSchema {
  return typeof part === 'object' && part !== null ? (part as JsonSchema) : {}
}
