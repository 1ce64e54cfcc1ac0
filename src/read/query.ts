import { Problem } from '../problem.ts'
import { type Field, parseInstant, uuidv7 } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import { ShapeCache } from '../store/text.ts'
import type { Value } from '../value.ts'
import type { ResourceView } from '../version/view.ts'
import { type Include, parseIncludes } from './include.ts'
import { Faults, parseFields, parseSort, refuseUnknown, type SortKey } from './names.ts'

export const operators = ['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'contains', 'prefix', 'null'] as const
export type Operator = (typeof operators)[number]

/** One term of a filter. `value` is bound: for `in` a JSON array of values, for `null` 1 or 0. */
export interface Filter {
  readonly field: Field
  readonly operator: Operator
  readonly value: Value
}

/** What a record read may choose. */
export interface Selection {
  /** The fields of the answer; null for all. */
  readonly fields: readonly Field[] | null
  readonly includes: readonly Include[]
}

/** What lists ask for that differ in nothing but the values of their filters and the place where they start. */
export interface QueryForm extends Selection {
  readonly view: ResourceView
  readonly terms: readonly Pick<Filter, 'field' | 'operator'>[]
  readonly sort: readonly SortKey[]
  readonly limit: number
  readonly count: boolean
}

/** What a list asks for, by the names of the caller's view, its values checked. */
export interface Query {
  readonly form: QueryForm
  readonly filters: readonly Filter[]
  readonly cursor: { readonly direction: 'after' | 'before'; readonly text: string } | null
}

/** A query string as decoded pairs. Throws `invalid-parameter` where it is not UTF-8 in percent-encoding. */
export function parsePairs(search: string): [string, string][] {
  if (search === '' || search === '?') return []
  const text = search.startsWith('?') ? search.slice(1) : search
  return text
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=')
      return at < 0 ? [decode(pair), ''] : [decode(pair.slice(0, at)), decode(pair.slice(at + 1))]
    })
}

function decode(text: string): string {
  try {
    const decoded = decodeURIComponent(text.replaceAll('+', ' '))
    if (!decoded.includes('\0')) return decoded
  } catch {
    // decodeURIComponent throws a URIError where the bytes are not UTF-8; it is answered as the NUL is, below.
  }
  throw new Problem('invalid-parameter', { detail: 'The query string is not percent-encoded UTF-8 text without NUL.' })
}

const listParameters = ['sort', 'limit', 'after', 'before', 'include', 'fields', 'count']

const forms = new ShapeCache<QueryForm>()
/** A longer form is read anew each time, so that what is kept has a bound. */
const formCharsMax = 1_000

/** What a list asks for. A form is read when it is first seen; then only the values are, unless one of them is wrong. */
export function parseListQuery(view: ResourceView, search: string): Query {
  const pairs = parsePairs(search)
  const values: string[] = []
  let cursor: Query['cursor'] = null
  let shape = ''
  // No name and no text has a NUL in it.
  for (const [name, text] of pairs) {
    const isForm = listParameters.includes(name) && name !== 'after' && name !== 'before'
    shape += `${name}\0${isForm ? text : ''}\0`
    if (name === 'after' || name === 'before') cursor = { direction: name, text }
    else if (!isForm) values.push(text)
  }
  if (shape.length > formCharsMax) return parseWhole(view, pairs)
  const form = forms.get(view, shape, () => parseWhole(view, pairs).form)
  const filters = filtersOf(form, values)
  return filters ? { form, filters, cursor } : parseWhole(view, pairs)
}

/** The terms of a form with values; null where one of them is none of its field's. */
function filtersOf({ terms }: QueryForm, values: readonly string[]): Filter[] | null {
  const filters: Filter[] = []
  for (const [i, { field, operator }] of terms.entries()) {
    const value = filterValue(field, operator, values[i] ?? '')
    if (value === undefined) return null
    filters.push({ field, operator, value })
  }
  return filters
}

/** Reads all of a query, and tells of everything that is wrong with it. */
function parseWhole(view: ResourceView, pairs: readonly (readonly [string, string])[]): Query {
  const faults = new Faults()
  const filters: Filter[] = []
  const given = new Map<string, string>()
  for (const [name, text] of pairs) {
    if (listParameters.includes(name)) {
      takeOnce(given, name, text, faults)
      continue
    }
    const filter = parseFilter(view, name, text, faults)
    if (filter) filters.push(filter)
  }
  if (filters.length > limits.filterTermsMax) {
    const message = `A query takes at most ${limits.filterTermsMax} filter terms; this one has ${filters.length}.`
    faults.add('filter-too-complex', filters[0]?.field.name ?? '', 'too-many-terms', message)
  }
  const limit = parseLimit(given.get('limit'), view.resource.pageRowsMax, faults)
  const form: QueryForm = {
    view,
    terms: filters.map(({ field, operator }) => ({ field, operator })),
    sort: parseSort(view, given.get('sort'), 'sort', faults),
    limit,
    count: parseCount(given.get('count'), faults),
    ...parseSelection(view, given, limit, faults),
  }
  const query: Query = { form, filters, cursor: parseCursorChoice(given, faults) }
  faults.throwIfAny()
  return query
}

export function parseRecordQuery(view: ResourceView, search: string): Selection {
  const faults = new Faults()
  const given = new Map<string, string>()
  for (const [name, text] of parsePairs(search)) {
    if (name === 'fields' || name === 'include') takeOnce(given, name, text, faults)
    else refuseUnknown(name, ['fields', 'include'], 'unknown-parameter', faults)
  }
  const selection = parseSelection(view, given, 1, faults)
  faults.throwIfAny()
  return selection
}

/** Parameters of a read that pages by position alone, such as a history. */
export function parsePaging(search: string): { limit: number; after: string | null } {
  const faults = new Faults()
  const given = new Map<string, string>()
  for (const [name, text] of parsePairs(search)) {
    if (name === 'limit' || name === 'after') takeOnce(given, name, text, faults)
    else refuseUnknown(name, ['limit', 'after'], 'unknown-parameter', faults)
  }
  const limit = parseLimit(given.get('limit'), limits.pageRowsMax, faults)
  faults.throwIfAny()
  return { limit, after: given.get('after') ?? null }
}

/** Two values of one parameter are refused: which of them a proxy or a cache on the way went by is not known. */
function takeOnce(given: Map<string, string>, name: string, text: string, faults: Faults) {
  if (given.has(name)) faults.add('invalid-parameter', name, 'repeated', `The parameter "${name}" is given twice.`)
  else given.set(name, text)
}

function parseSelection(view: ResourceView, given: Map<string, string>, rows: number, faults: Faults): Selection {
  return {
    fields: parseFields(view, given.get('fields'), ',', 'fields', faults),
    includes: parseIncludes(view, given.get('include'), rows, faults),
  }
}

function parseFilter(view: ResourceView, name: string, text: string, faults: Faults): Filter | null {
  const match = /^([^[\]]*)(?:\[([^[\]]*)\])?$/.exec(name)
  const fieldName = match?.[1] ?? name
  const operator = (match?.[2] ?? 'eq') as Operator
  const field = view.fields.get(fieldName)
  const filterable = [...view.fields.keys()].filter((each) => view.resource.filterable.has(each))
  if (!match || !field) {
    refuseUnknown(fieldName, [...filterable, ...listParameters], 'unknown-field', faults, name)
    return null
  }
  if (!view.resource.filterable.has(field.name)) {
    faults.add(
      'unknown-field',
      name,
      'not-filterable',
      `"${fieldName}" cannot be filtered by; these can: ${filterable.join(', ')}.`,
    )
    return null
  }
  if (!operators.includes(operator)) {
    refuseUnknown(operator, operators, 'invalid-parameter', faults, name)
    return null
  }
  const value = filterValue(field, operator, text)
  if (value !== undefined) return { field, operator, value }
  faults.add(
    'invalid-value',
    name,
    'invalid-value',
    `"${text.slice(0, 100)}" is not a value of ${name}: expected ${expected(field, operator)}.`,
  )
  return null
}

function filterValue(field: Field, operator: Operator, text: string): Value | undefined {
  if (operator === 'null') return text === 'true' ? 1 : text === 'false' ? 0 : undefined
  if (operator === 'in') {
    const values = text.split(',').map((each) => parseValue(field, each))
    const whole = values.length <= limits.inValuesMax && !values.includes(undefined)
    return whole ? JSON.stringify(values) : undefined
  }
  const textual = operator === 'contains' || operator === 'prefix'
  if (textual && field.kind !== 'text') return undefined
  if (textual && text === '') return undefined
  return parseValue(field, text)
}

function parseValue(field: Field, text: string): Value | undefined {
  switch (field.kind) {
    case 'id':
      return uuidv7.test(text) ? text : undefined
    case 'integer':
      return /^-?\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined
    case 'real':
      return /^-?\d{1,30}(\.\d{1,30})?$/.test(text) ? Number(text) : undefined
    case 'boolean':
      return text === 'true' ? 1 : text === 'false' ? 0 : undefined
    case 'instant':
      return parseInstant(text) ?? undefined
    case 'enum':
      return field.values.includes(text) ? text : undefined
    case 'text':
      return text.length <= 1_000 ? text : undefined
    case 'json':
      return undefined
  }
}

function expected(field: Field, operator: Operator): string {
  if (operator === 'null') return 'true or false'
  if ((operator === 'contains' || operator === 'prefix') && field.kind !== 'text')
    return 'a text field for this operator'
  const one: Record<Field['kind'], string> = {
    id: 'a UUID of version 7',
    integer: 'a whole number',
    real: 'a number',
    boolean: 'true or false',
    instant: 'a date-time such as 2026-01-31T12:00:00Z',
    enum: `one of ${field.values.join(', ')}`,
    text: 'a text of at most 1000 characters',
    json: 'nothing, json fields cannot be filtered by',
  }
  return operator === 'in'
    ? `up to ${limits.inValuesMax} values between commas, each ${one[field.kind]}`
    : one[field.kind]
}

function parseLimit(text: string | undefined, most: number, faults: Faults): number {
  if (text === undefined) return Math.min(limits.pageRowsDefault, most)
  const rows = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (rows >= 1 && rows <= most) return rows
  const code = rows === 0 ? 'limit-too-small' : rows > most ? 'limit-too-large' : 'invalid-value'
  faults.add('invalid-parameter', 'limit', code, `The limit is a whole number from 1 to ${most}.`)
  return most
}

function parseCount(text: string | undefined, faults: Faults): boolean {
  if (text !== undefined && text !== 'exact' && text !== 'none') {
    faults.add('invalid-parameter', 'count', 'invalid-value', 'The count is "exact" or "none".')
  }
  return text === 'exact'
}

function parseCursorChoice(given: Map<string, string>, faults: Faults): Query['cursor'] {
  const [after, before] = [given.get('after'), given.get('before')]
  if (after !== undefined && before !== undefined) {
    faults.add('invalid-parameter', 'before', 'conflict', 'A query takes "after" or "before", not both.')
  }
  if (after !== undefined) return { direction: 'after', text: after }
  return before === undefined ? null : { direction: 'before', text: before }
}
