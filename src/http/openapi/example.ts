import { evaluate } from '../../schema/evaluate.ts'
import type { Field } from '../../schema/field.ts'
import type { Model, Resource } from '../../schema/model.ts'
import type { ShapeField } from '../../schema/shape.ts'
import type { Json } from '../../value.ts'
import type { ResourceView } from '../../version/view.ts'
import { fallbackOf } from './value.ts'

/**
 * The examples of the document. They are the same at every start, valid by their schemas, and true to one another: a
 * reference names the example of the record that it refers to, so that the examples can be sent in their order.
 */
const created = '2026-11-01T12:00:00.000Z'
export const changed = '2026-11-01T12:30:00.000Z'

/** A place in a list, in the form that cursors have. */
export const exampleCursor =
  'WzE3OTM1MzQ0MDAsIjAxOWEzZjAwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMSJdq0Zb7hVtR2nLx9KcYwPdUA'
export const exampleToken = 'k3v9x2.1842.Jx0aWm3Qe5Zt'
export const exampleKey = 'a4f1c9d0-create-1'

/** A parameter's example that request forms show but do not send unless they are told to. */
export function offered(value: unknown) {
  return { default: { value, 'x-disabled': true } }
}

/** The id of a resource's example: its place in the model, in the form of a UUID of version 7. */
export function exampleId(model: Model, resource: string): string {
  const place = [...model.resources.keys()].indexOf(resource) + 1
  return `019a3f00-0000-7000-8000-${place.toString(16).padStart(12, '0')}`
}

type Values = Record<string, unknown>

/** A record as it is just after its creation. */
export function exampleRecord(model: Model, view: ResourceView): Values {
  return Object.fromEntries([...view.fields].map(([name, field]) => [name, exampleOf(model, view, field)]))
}

/** What a field of a version shows of the example of the tables. */
function exampleOf(model: Model, { resource }: ResourceView, { read }: ShapeField): Json {
  return evaluate(read, (leaf) => {
    const field = leaf.op === 'column' ? resource.fields.get(leaf.name) : undefined
    return field ? exampleValue(model, resource, field) : null
  })
}

/** The same record after the change that `examplePatch` makes. */
export function exampleChanged(model: Model, view: ResourceView): Values {
  const record = { ...exampleRecord(model, view), ...examplePatch(model, view) }
  for (const [name, { column }] of view.fields) {
    if (column?.field.name === 'version') record[name] = 2
    if (column?.field.name === 'updatedAt' && column.isSame) record[name] = changed
  }
  return record
}

/** The body that creates the record: every field that a caller may write. */
export function exampleInput(model: Model, view: ResourceView): Values {
  const inputOf = (fields: Iterable<ShapeField>): Values =>
    Object.fromEntries(
      [...fields]
        .filter((field) => field.writable)
        .map((field) => [field.name, field.members ? inputOf(field.members) : exampleOf(model, view, field)]),
    )
  return inputOf(view.fields.values())
}

/** A change of one field, of a plain value where the resource has one. */
export function examplePatch(model: Model, view: ResourceView): Values {
  const writable = [...view.fields].filter(([, field]) => field.writable && field.members === null)
  const [name, field] = writable.find(([, each]) => each.kind === 'text') ?? writable[0] ?? []
  if (name === undefined || field === undefined) return {}
  const other = `Another ${wordsOf(name)}`
  const value = field.kind === 'text' && accepts(field, other) ? other : exampleOf(model, view, field)
  return { [name]: value }
}

function exampleValue(model: Model, resource: Resource, field: Field): Json {
  const derived = resource.derived.get(field.name)
  if (derived?.kind === 'count' || derived?.kind === 'sum') return 0
  if (derived?.kind === 'max') return field.nullable ? null : (field.fallback ?? null)
  if (derived) {
    const source = model.resources.get(derived.source)
    const copied = source?.fields.get(derived.field ?? '')
    return source && copied ? exampleValue(model, source, copied) : null
  }
  if (field.name === 'version') return 1
  if (field.kind !== 'id') return fitting(field) as Json
  return exampleId(model, targetOf(resource, field.name) ?? resource.name)
}

/** The resource of the record whose id a column has, as a foreign key or a relation says. */
export function targetOf({ references, relations }: Resource, column: string): string | undefined {
  const reference = references.find((each) => each.column === column)
  const relation = [...relations.values()].find((each) => each.kind === 'belongsTo' && each.column === column)
  return reference?.to ?? relation?.target
}

/** A value to compare a field with, never null. */
export function exampleTerm(model: Model, view: ResourceView, field: ShapeField): unknown {
  return exampleOf(model, view, field) ?? fitting(field)
}

/**
 * The first ready value that the field's schema accepts, else its default. A field that must be given and takes none of
 * them is best told its own examples in the model, with `.meta({ examples })`.
 */
function fitting(field: Field): unknown {
  const given = field.schema.meta()?.examples
  const candidates = [...(Array.isArray(given) ? given : []), ...candidatesFor(field)]
  const found = candidates.find((value) => accepts(field, value))
  if (found !== undefined) return found
  return field.fallback === undefined ? candidates[0] : fallbackOf(field)
}

function accepts(field: Field, value: unknown): boolean {
  return field.schema.safeParse(value).success
}

function candidatesFor(field: Field): readonly unknown[] {
  switch (field.kind) {
    case 'text':
      return textsFor(field.name)
    case 'enum':
      return field.values
    case 'integer':
      return [3, 1, 0, 10, 50, 100, 1_000, 1_000_000, -1]
    case 'real':
      return [1.5, 0.5, 1, 0, 10, 100, 1_000, -1]
    case 'boolean':
      return [true, false]
    case 'instant':
      return [created]
    case 'json':
      return [{ language: 'en' }, {}, ['first'], [], 'text', 1, true]
    case 'id':
      return []
  }
}

const named: readonly (readonly [RegExp, (dashed: string) => string])[] = [
  [/(slug|handle|key|code|path)$/i, (dashed) => `example-${dashed}`],
  [/(url|uri|link|href|homepage|website|avatar|image)$/i, (dashed) => `https://example.com/${dashed}`],
  [/e?mail$/i, () => 'user@example.com'],
]
const forms = [
  ...['user@example.com', 'example.com', '2026-11-01', '12:00:00', '2026-11-01T12:00:00Z', 'P1D', 'en', 'EN', 'en-US'],
  ...['EUR', '+12025550100', '192.0.2.1', '2001:db8::1', '#336699', '1.0.0', '1', 'a', 'A', 'example', 'EXAMPLE'],
]

function textsFor(name: string): string[] {
  const words = wordsOf(name)
  const dashed = words.replaceAll(' ', '-')
  const hinted = named.filter(([form]) => form.test(name)).map(([, text]) => text(dashed))
  const plain = [`Example ${words}`, `example-${dashed}`, dashed, `https://example.com/${dashed}`]
  const long = [20, 50, 100, 200, 1_000].map((chars) => 'example '.repeat(chars / 8 + 1).slice(0, chars))
  return [...hinted, ...plain, ...forms, ...long]
}

/** `lastCommentAt` as `last comment at`. */
function wordsOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}
