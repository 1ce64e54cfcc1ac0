import { z } from '@hono/zod-openapi'
import type { Field } from '../../schema/field.ts'
import { limits } from '../../schema/limits.ts'
import { type Operator, operatorsOf, sortColumn } from '../../version/asking.ts'
import type { ResourceView } from '../../version/view.ts'
import type { Draft } from './draft.ts'
import { exampleCursor, exampleTerm, offered } from './example.ts'
import { cursorSchema } from './record.ts'
import { tokenCharsMax, tokenPattern } from './request-header.ts'
import { givenInstantCharsMax, givenInstantPattern, idPattern, plainText, wholeNumber } from './value.ts'

type Shape = Record<string, z.ZodType>

/** One query parameter: what it may be, what it does, and one value of it. */
function parameter(schema: z.ZodType, description: string, example: unknown): z.ZodType {
  return schema.optional().openapi({ param: { description, examples: offered(example) } })
}

const text = (pattern: string, maxLength: number) => z.string().openapi({ pattern, maxLength })

/** The parameters of a list. */
export function listParameters(draft: Draft, view: ResourceView): z.ZodObject {
  return z.object({
    sort: sortParameter(view),
    ...pagingParameters(view.pageRowsMax),
    before: parameter(
      cursorSchema,
      'The `rel="prev"` cursor of a page: the page before it. Not beside `after`.',
      exampleCursor,
    ),
    ...recordParameters(view),
    count: parameter(
      z.enum(['exact', 'none']).openapi({ default: 'none' }),
      '`exact` counts all records that match, whatever the page; it costs a look at each of them.',
      'exact',
    ),
    ...filters(draft, view),
  })
}

/** The parameters of a read of one record. */
export function recordParameters(view: ResourceView): Shape {
  const names = [...view.fields.keys()]
  const one = `(${names.join('|')})`
  return {
    ...(view.relations.size > 0 && { include: includeParameter(view) }),
    fields: parameter(
      text(`^${one}(,${one})*$`, limits.urlCharsMax),
      'The fields of the answer, between commas; all without it.',
      names.slice(0, 3).join(),
    ),
    'as-of': parameter(
      text(`${tokenPattern}|${givenInstantPattern}`, tokenCharsMax),
      'The moment to read as of, as the log has it: a position, from a `Consistency-Token`, or a time. Not beside `include`.',
      '2026-11-01T12:00:00Z',
    ),
  }
}

/** The parameters of whatever is read page by page. */
export function pagingParameters(rowsMax: number): Shape {
  const rows = Math.min(limits.pageRowsDefault, rowsMax)
  return {
    limit: parameter(
      z.int().openapi({ format: 'int32', minimum: 1, maximum: rowsMax, default: rows }),
      'How many a page has at most.',
      rows,
    ),
    after: parameter(
      cursorSchema,
      `The \`next\` of a page: the page after it. A cursor is good for the query that gave it, for ${limits.cursorDaysMax} days.`,
      exampleCursor,
    ),
  }
}

function sortParameter(view: ResourceView): z.ZodType {
  const names = [...view.fields.values()].filter((field) => sortColumn(view, field)).map((field) => field.name)
  const key = `-?(${names.join('|')})`
  const longest = Math.max(...names.map((name) => name.length)) + 2
  return parameter(
    text(`^${key}(,${key}){0,${limits.sortKeysMax - 1}}$`, longest * limits.sortKeysMax),
    `The order: up to ${limits.sortKeysMax} of ${listOf(names)}, between commas, a minus before those that run down. The id decides between equals.`,
    `-${names.at(-1)}`,
  )
}

function includeParameter(view: ResourceView): z.ZodType {
  const relations = [...view.relations]
  const names = relations.map(([name]) => name)
  const [many] = relations.find(([, relation]) => relation.kind !== 'belongsTo') ?? []
  const [one] = relations.find(([, relation]) => relation.kind === 'belongsTo') ?? []
  return parameter(
    text(`^(${names.join('|')})([.,(][a-zA-Z0-9.,:()|-]+)?$`, limits.urlCharsMax),
    `Related records that come with each: ${listOf(names)}, between commas, with dots for relations of relations, up to ${limits.includeDepthMax} deep. A relation may have options in brackets: \`fields:id|name\`, and where it holds many also \`limit:3\` and \`sort:-id\`. At most ${limits.includeNodesMax} relations, and ${limits.pageIncludedRowsMax} records in a page.`,
    [one, many && `${many}(limit:3,sort:-id)`].filter((part) => part !== undefined).join(),
  )
}

const meaning: Readonly<Record<Operator, string>> = {
  eq: 'is this',
  ne: 'is not this, or is null',
  gt: 'comes after this',
  gte: 'is this or comes after it',
  lt: 'comes before this',
  lte: 'is this or comes before it',
  in: `is one of these, up to ${limits.inValuesMax} between commas`,
  prefix: 'begins with this',
  contains: 'contains this, in capitals or not',
  null: 'is null (true) or is not (false)',
}

function filters(draft: Draft, view: ResourceView): Shape {
  const shape: Shape = {}
  for (const [name, field] of view.fields) {
    const term = exampleTerm(draft.model, view, field)
    for (const operator of operatorsOf(view, field)) {
      const described = `Only records whose \`${name}\` ${meaning[operator]}.`
      shape[operator === 'eq' ? name : `${name}[${operator}]`] = parameter(
        filterSchema(field, operator),
        described,
        operator === 'null' ? false : operator === 'in' ? String(term) : term,
      )
    }
  }
  return shape
}

function filterSchema(field: Field, operator: Operator): z.ZodType {
  if (operator === 'null') return z.boolean()
  if (operator === 'in') {
    const one = valuePattern(field)
    return text(`^${one}(,${one}){0,${limits.inValuesMax - 1}}$`, limits.urlCharsMax)
  }
  if (operator === 'prefix' || operator === 'contains') return text(plainText, filterCharsMax).min(1)
  switch (field.kind) {
    case 'boolean':
      return z.boolean()
    case 'integer':
      return wholeNumber()
    case 'real':
      return z.number()
    case 'enum':
      return z.enum(field.values)
    case 'instant':
      return text(givenInstantPattern, givenInstantCharsMax)
    case 'id':
      return text(idPattern, 36)
    default:
      return text(plainText, filterCharsMax)
  }
}

/** What a text is compared with at most, in characters. */
const filterCharsMax = 1_000

/** One value of a list between commas. */
function valuePattern(field: Field): string {
  switch (field.kind) {
    case 'integer':
      return '-?\\d{1,16}'
    case 'real':
      return '-?\\d{1,30}(\\.\\d{1,30})?'
    case 'instant':
      return `(${givenInstantPattern.slice(1, -1)})`
    case 'id':
      return `(${idPattern.slice(1, -1)})`
    case 'enum':
      return `(${field.values.map((value) => value.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&')).join('|')})`
    default:
      return `[^,\\u0000]{0,${filterCharsMax}}`
  }
}

function listOf(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ')
}
