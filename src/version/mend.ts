import type { FieldKind } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { ResourceContract } from './contract.ts'
import type { JsonSchema } from './json-schema.ts'
import { type SchemaChange, withoutNull } from './schema-changes.ts'

/**
 * The lens that gives a field back to clients of a published version, as it would be written; null where there is none.
 * Names and kinds alone cannot tell a rename from a removal: it is the likeliest, for the author to judge.
 */
export function lensFor(change: SchemaChange, was: ResourceContract, is: ResourceContract): string | null {
  const [name, inside] = change.path
  if (name === undefined || inside !== undefined) return null
  const before = memberOf(was.record, name) ?? {}
  const after = memberOf(is.record, name) ?? {}
  const field = literal(name)
  switch (change.kind) {
    case 'gone':
      return memberOf(is.record, name) ? null : lensOfGone(name, before, was.record, is.record)
    case 'needed':
      return `add(${field}, { fresh: ${sampleOf(memberOf(is.input, name) ?? {})} })`
    case 'required':
      return `changeDefault(${field}, { from: ${literal(memberOf(was.input, name)?.default ?? null)} })`
    case 'nullable':
      return convert(field, before, 'nullable: false', `orElse(value, ${sampleOf(before)})`, 'value')
    case 'notNullable':
      return convert(field, before, null, 'value', `orElse(value, ${sampleOf(after)})`)
    case 'type':
      return convert(field, before, null, '...', '...')
    case 'values':
      return lensOfValues(field, before, after)
    case 'keyword':
      return lensOfKeyword(change, before, memberOf(is.input, name) ?? {})
    default:
      return null
  }
}

function lensOfGone(name: string, before: JsonSchema, was: JsonSchema, is: JsonSchema): string {
  const kind = kindOf(before)
  const gone = membersOf(was).filter(([each]) => !memberOf(is, each))
  const fresh = membersOf(is).filter(([each]) => !memberOf(was, each))
  const ofKind = (list: typeof gone) => list.filter(([, each]) => kindOf(each) === kind).map(([each]) => each)
  const hoisted = membersOf(before).filter(([each]) => fresh.some(([other]) => other === each))
  if (hoisted.length > 0)
    return call(
      'hoist',
      name,
      hoisted.map(([each]) => each),
    )
  const into = membersOf(is).find(([, each]) => memberOf(withoutNull(each).schema, name))
  if (into) return `plunge(${literal(name)}, ${literal(into[0])}, ${oldField(before)})`
  const [sources, targets] = [ofKind(gone), ofKind(fresh)]
  if (kind === 'text' && sources.length === 1 && targets.length === 2) return texts('split', name, targets)
  if (kind === 'text' && sources.length === 2 && targets.length === 1 && hasNoSpace(memberOf(was, sources[0] ?? '')))
    return texts('join', sources, targets[0] ?? '')
  const target = targets[sources.indexOf(name)]
  if (target !== undefined) return call('rename', name, target)
  const list = fresh.find(([, each]) => typesOf(each).includes('array'))
  if (list) return `wrap(${literal(name)}, ${literal(list[0])}, ${oldField(before)})`
  return `remove(${literal(name)}, ${oldField(before)}, { stands: ${sampleOf(before)} })`
}

function texts(lens: 'split' | 'join', from: unknown, to: unknown): string {
  return `${lens}(${literal(from)}, ${literal(to)}, atFirstSpace)`
}

/** Whether a text can be the first of a join: what stands before the separator. */
function hasNoSpace(schema: JsonSchema = {}): boolean {
  return typeof schema.pattern === 'string' && !new RegExp(schema.pattern).test('a b')
}

/** Of an enum: values that are gone are others now, and values that are new are shown as old ones. */
function lensOfValues(field: string, before: JsonSchema, after: JsonSchema): string | null {
  const [old, now] = [valuesOf(before), valuesOf(after)]
  const [gone, added] = [old.filter((each) => !now.includes(each)), now.filter((each) => !old.includes(each))]
  const kept = old.find((each) => now.includes(each))
  const renamed = gone.map((each, i) => [each, added[i] ?? kept] as const)
  const hidden = added.slice(gone.length).map((each) => [each, old[0]] as const)
  const back = [...hidden, ...renamed.flatMap(([, to], i) => (i < added.length ? [] : [[to, to] as const]))]
  const told = back.length > 0 ? `, { back: ${literal(Object.fromEntries(back))} }` : ''
  return `mapValues(${field}, ${literal(Object.fromEntries(renamed))}${told})`
}

function lensOfKeyword(
  change: Extract<SchemaChange, { kind: 'keyword' }>,
  before: JsonSchema,
  taken: JsonSchema,
): string | null {
  const { keyword, was, is, path } = change
  const field = literal(path[0])
  if (keyword === 'default') return takes(taken, was) ? `changeDefault(${field}, { from: ${literal(was)} })` : null
  const isLonger = keyword === 'maxLength' && typeof was === 'number' && (is === undefined || Number(is) > was)
  if (isLonger && kindOf(before) === 'text') return `changeLimit(${field}, { from: ${was} })`
  return null
}

/** Whether a schema has room for what was the default of a field. */
function takes(schema: JsonSchema, value: unknown): boolean {
  const { enum: values, minimum, maximum, minLength, maxLength } = withoutNull(schema).schema
  if (Array.isArray(values) && value !== null) return values.includes(value)
  const size = typeof value === 'string' ? value.length : Number(value)
  const [least, most] = typeof value === 'string' ? [minLength, maxLength] : [minimum, maximum]
  return size >= Number(least ?? -Infinity) && size <= Number(most ?? Infinity)
}

function convert(field: string, before: JsonSchema, told: string | null, toOld: string, toNew: string): string | null {
  if (['id', 'json'].includes(kindOf(before))) return null
  const was = oldField(before)
  return `convert(${field}, ${told ? was.replace(' }', `, ${told} }`) : was}, { toOld: ${toOld}, toNew: ${toNew} })`
}

/** What old clients know of a field, as a lens is told it. */
function oldField(schema: JsonSchema): string {
  const kind = kindOf(schema)
  const zod = zodText(kind, withoutNull(schema).schema)
  const parts = [
    `kind: ${literal(kind)}`,
    ...(kind === 'enum' ? [`values: ${literal(valuesOf(schema))}`] : []),
    ...(withoutNull(schema).nullable ? ['nullable: true'] : []),
    ...(zod === null ? [] : [`schema: ${zod}`]),
  ]
  return `{ ${parts.join(', ')} }`
}

/** The bounds of a text or a number beside those that its kind has by itself; null where there are none. */
function zodText(kind: FieldKind, schema: JsonSchema): string | null {
  const begin = { text: 'z.string()', integer: 'z.int()', real: 'z.number()' }[kind as 'text' | 'integer' | 'real']
  if (begin === undefined) return null
  const own = [limits.textCharsMax, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER] as unknown[]
  const bounds = (['minLength', 'minimum', 'maxLength', 'maximum'] as const)
    .filter((keyword) => schema[keyword] !== undefined && !own.includes(schema[keyword]))
    .map((keyword) => `.${keyword.slice(0, 3)}(${schema[keyword]})`)
  const pattern = typeof schema.pattern === 'string' ? [`.regex(${new RegExp(schema.pattern)})`] : []
  const all = [...bounds, ...pattern]
  return all.length === 0 ? null : begin + all.join('')
}

export function kindOf(schema: JsonSchema): FieldKind {
  const { type, format, enum: values } = withoutNull(schema).schema
  if (Array.isArray(values)) return 'enum'
  if (type === 'string') return format === 'uuid' ? 'id' : format === 'date-time' ? 'instant' : 'text'
  if (type === 'integer' || type === 'boolean') return type
  return type === 'number' ? 'real' : 'json'
}

/** A value that could stand in a field, as it is written in a lens. */
function sampleOf(schema: JsonSchema): string {
  const { nullable, schema: own } = withoutNull(schema)
  if (own.default !== undefined && own.default !== null) return literal(own.default)
  if (nullable) return 'null'
  const least = typeof own.minimum === 'number' ? Math.max(0, own.minimum) : 0
  const samples: Readonly<Record<FieldKind, unknown>> = {
    text: '?'.repeat(typeof own.minLength === 'number' ? own.minLength : 0),
    enum: valuesOf(own)[0],
    instant: '2026-01-01T00:00:00.000Z',
    ...{ integer: least, real: least, boolean: false, json: {} },
    id: '00000000-0000-7000-8000-000000000000',
  }
  return literal(samples[kindOf(own)])
}

function call(lens: string, ...args: readonly unknown[]): string {
  return `${lens}(${args.map(literal).join(', ')})`
}

/** A value as it is written in TypeScript. */
export function literal(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const members = Object.entries(value).map(([name, each]) => {
    return `${/^[a-zA-Z]\w*$/.test(name) ? name : JSON.stringify(name)}: ${literal(each)}`
  })
  return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`
}

function membersOf(schema: JsonSchema): [name: string, member: JsonSchema][] {
  return Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>)
}

function memberOf(schema: JsonSchema, name: string): JsonSchema | undefined {
  return membersOf(schema).find(([each]) => each === name)?.[1]
}

function valuesOf(schema: JsonSchema): string[] {
  const values = withoutNull(schema).schema.enum
  return Array.isArray(values) ? values.map(String) : []
}

function typesOf(schema: JsonSchema): unknown[] {
  return [withoutNull(schema).schema.type].flat()
}
