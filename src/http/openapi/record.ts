import { z } from '@hono/zod-openapi'
import type { Derived } from '../../schema/derived.ts'
import { limits } from '../../schema/limits.ts'
import type { ShapeField } from '../../schema/shape.ts'
import type { ResourceView } from '../../version/view.ts'
import type { Draft, Registry } from './draft.ts'
import { targetOf } from './example.ts'
import {
  derivedOf,
  fallbackOf,
  freeText,
  idSchema,
  inputValue,
  instantSchema,
  recordValue,
  wholeNumber,
} from './value.ts'

/** The schemas of one resource, each a component of the document. */
export interface RecordSchemas {
  /** A whole record, as writes answer it. */
  readonly record: z.ZodType
  /** What a read may make of a record: some of its fields, and with it the records that it includes. */
  readonly selection: z.ZodType
  readonly input: z.ZodObject
  readonly patch: z.ZodObject
  readonly page: z.ZodType
  readonly history: z.ZodType
}

export const cursorSchema = z.string().openapi({ pattern: '^[\\w-]+$', minLength: 23, maxLength: 4_096 })

/** `posts` as `Posts`, the beginning of the names of its schemas. */
export function schemaName(view: ResourceView): string {
  return view.name.charAt(0).toUpperCase() + view.name.slice(1)
}

/** The schemas of every resource, by its name in the tables. */
export function recordSchemas({ view, registry }: Draft): ReadonlyMap<string, RecordSchemas> {
  const all = new Map<string, RecordSchemas>()
  const find = (resource: string) => {
    const found = all.get(resource)
    if (!found) throw new Error(`broken invariant: ${resource} has schemas`)
    return found
  }
  for (const each of view.resources.values()) all.set(each.resource.name, schemasOf(each, find, registry))
  return all
}

function schemasOf(view: ResourceView, find: (resource: string) => RecordSchemas, registry: Registry): RecordSchemas {
  const prefix = schemaName(view)
  const values = [...view.fields].map(([name, field]) => [name, ofRecord(view, field)] as const)
  const record = registry.register(
    `${prefix}Record`,
    z.object(Object.fromEntries(values)).openapi({ description: `A record of ${view.name}.` }),
  )
  const some = values.map(([name, schema]) => [name, schema.optional()] as const)
  const selection = registry.register(
    `${prefix}Selection`,
    z.object({ ...Object.fromEntries(some), ...relationsOf(view, find) }).openapi({
      description: `What a read answers of a record of ${view.name}: all its fields or those that \`fields\` names, and the relations that \`include\` names.`,
    }),
  )
  // Of what is not written there is no body to describe.
  const body = (name: string, use: 'input' | 'patch', description: string) => {
    const schema = bodySchema(view, use).openapi({ description })
    return view.resource.isReadOnly ? schema : registry.register(prefix + name, schema)
  }
  const input = body('Input', 'input', `The body that creates or replaces a record of ${view.name}.`)
  const patch = body(
    'Patch',
    'patch',
    `A merge patch (RFC 7396) of a record of ${view.name}: the fields that change, null to take a value away.`,
  )
  return {
    ...{ record, selection, input, patch },
    page: registry.register(
      `${prefix}Page`,
      pageOf(z.union([record, selection]), view.pageRowsMax)
        .extend({
          count: wholeNumber(0).optional().openapi({ description: 'All that match, with `count=exact` only.' }),
        })
        .openapi({ description: `A page of ${view.name}.` }),
    ),
    history: registry.register(
      `${prefix}History`,
      pageOf(changeSchema(view, selection), limits.pageRowsMax).openapi({
        description: `A page of the changes of a record of ${view.name}.`,
      }),
    ),
  }
}

function ofRecord(view: ResourceView, field: ShapeField): z.ZodType {
  const description = describe(view, field)
  const members = field.members?.map((member) => [member.name, ofRecord(view, member)] as const)
  const schema = (members ? z.object(Object.fromEntries(members)) : recordValue(view, field)).openapi({
    ...(description !== '' && { description }),
    ...(!field.writable && { readOnly: true }),
  })
  return field.nullable ? schema.nullable() : schema
}

/** The body of a write. `ids` is what may stand for the id of another record. */
export function bodySchema(view: ResourceView, use: 'input' | 'patch', ids: z.ZodType = idSchema): z.ZodObject {
  return membersOf(view, view.fields.values(), use, ids)
}

function membersOf(
  view: ResourceView,
  fields: Iterable<ShapeField>,
  use: 'input' | 'patch',
  ids: z.ZodType,
): z.ZodObject {
  const members = [...fields]
    .filter((field) => field.writable)
    .map((field) => {
      const { name } = field
      const description = describe(view, field)
      const inside = field.members && membersOf(view, field.members, use, ids)
      const value = inside ?? (field.kind === 'id' ? ids : inputValue(field))
      const told = description === '' ? value : value.openapi({ description })
      const schema = field.nullable ? told.nullable() : told
      if (use === 'patch') return [name, schema.optional()] as const
      return [
        name,
        field.fallback === undefined ? schema : schema.optional().openapi({ default: fallbackOf(field) }),
      ] as const
    })
  return z.strictObject(Object.fromEntries(members))
}

/** What Perigee itself puts into a field, or what the id in it is of. */
function describe(view: ResourceView, field: ShapeField): string {
  const derived = derivedOf(view, field)
  if (derived) return describeDerived(view, derived)
  const name = field.column?.field.name ?? field.name
  const target = targetOf(view.resource, name)
  if (target) return `The id of a record of ${view.other(target).name}.`
  return (view.resource.isReadOnly ? descriptionInReadModel[name] : undefined) ?? descriptionByName[name] ?? ''
}

function describeDerived(view: ResourceView, derived: Derived): string {
  const source = view.other(derived.source)
  const [link, field] =
    derived.kind === 'copy'
      ? [view.pathOf(derived.link), source.pathOf(derived.field ?? '')]
      : [source.pathOf(derived.link), source.pathOf(derived.field ?? '')]
  switch (derived.kind) {
    case 'copy':
      return `The ${field} of the record of ${source.name} in ${link}, kept equal.`
    case 'count':
      return `How many records of ${source.name} have this one in ${link}.`
    case 'sum':
      return `The sum of ${field} over the records of ${source.name} with this one in ${link}.`
    case 'max':
      return `The greatest ${field} of the records of ${source.name} with this one in ${link}.`
  }
}

const descriptionByName: Readonly<Record<string, string>> = {
  id: 'A UUID of version 7, so that the order of ids is that of their creation.',
  version: 'Counts the changes of the record; it is also its ETag.',
  createdAt: 'When the record was created, in UTC.',
  updatedAt: 'When a caller last wrote the record, in UTC.',
}

const descriptionInReadModel: Readonly<Record<string, string>> = {
  id: 'A UUID of version 7 that follows from the key: the row of a key always has the same.',
  updatedAt: 'When the row last changed, in UTC.',
}

function relationsOf(view: ResourceView, find: (resource: string) => RecordSchemas): Record<string, z.ZodType> {
  const members = [...view.relations].map(([name, relation]) => {
    const record = z.lazy(() => find(relation.target).selection)
    const isOne = relation.kind === 'belongsTo'
    const schema = isOne ? record.nullable() : z.array(record).max(limits.pageRowsMax)
    return [name, schema.optional()] as const
  })
  return Object.fromEntries(members)
}

function pageOf(item: z.ZodType, rowsMax: number): z.ZodObject {
  return z.object({
    data: z.array(item).max(rowsMax),
    next: cursorSchema
      .nullable()
      .openapi({ description: 'What `after` takes for the next page; null at the end of the list.' }),
  })
}

export const operationSchema = z.enum(['create', 'update', 'delete'])
export const actorSchema = freeText(limits.textCharsMax)
  .nullable()
  .openapi({ description: 'The key, and the user, that made the change.' })
export const requestSchema = freeText(limits.requestIdCharsMax)
  .nullable()
  .openapi({ description: 'The X-Request-Id of the request.' })

/** The most columns that SQLite gives a table. */
const columnsMax = 2_000

function changeSchema(view: ResourceView, selection: z.ZodType): z.ZodObject {
  const name = z.string().openapi({ pattern: '^[a-z][a-zA-Z0-9]*$', maxLength: 63 })
  return z.object({
    seq: wholeNumber(1).openapi({ description: 'The number of the change in the log, which orders all changes.' }),
    time: instantSchema,
    operation: operationSchema,
    version: wholeNumber(1).openapi({ description: 'The version that the change made.' }),
    changed: z.array(name).max(columnsMax).nullable().openapi({ description: 'The fields that an update changed.' }),
    actor: actorSchema,
    request: requestSchema,
    record: z
      .union([selection, z.null()])
      .openapi({ description: `The record of ${view.name} as it was after the change; null after its deletion.` }),
  })
}
