import { Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import type { ShapeField } from '../schema/shape.ts'
import { ShapeCache } from '../store/text.ts'
import type { ResourceView } from '../version/view.ts'
import { type Filter, filterValue, listParameters, parseFilter, type Term } from './filter.ts'
import { type Include, parseIncludes } from './include.ts'
import { Faults, parseFields, parseSort, refuseUnknown, type SortKey } from './names.ts'
import { mayBeMoment, momentExpected } from './past.ts'

/** What a record read may choose. */
export interface Selection {
  /** The fields of the answer; null for all. */
  readonly fields: readonly ShapeField[] | null
  readonly includes: readonly Include[]
}

/** What lists ask for that differ in nothing but the values of their filters and the place where they start. */
export interface QueryForm extends Selection {
  readonly view: ResourceView
  readonly terms: readonly Term[]
  readonly sort: readonly SortKey[]
  readonly limit: number
  readonly count: boolean
  /** Whether it is of the records as they were at a moment. */
  readonly isPast: boolean
}

/** What a list asks for, by the names of the caller's view, its values checked. */
export interface Query {
  readonly form: QueryForm
  readonly filters: readonly Filter[]
  readonly cursor: { readonly direction: 'after' | 'before'; readonly text: string } | null
  /** The moment, as the caller names it. */
  readonly asOf: string | null
}

/** What a read of one record asks for. */
export interface RecordQuery extends Selection {
  readonly asOf: string | null
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

/** Where in the list, and when. */
const placeParameters = ['after', 'before', 'as-of']

const forms = new ShapeCache<QueryForm>()
/** A longer form is read anew each time, so that what is kept has a bound. */
const formCharsMax = 1_000

/** What a list asks for. A form is read when it is first seen; then only the values are, unless one of them is wrong. */
export function parseListQuery(view: ResourceView, search: string): Query {
  const pairs = parsePairs(search)
  const values: string[] = []
  let cursor: Query['cursor'] = null
  let asOf: string | null = null
  let shape = ''
  // No name and no text has a NUL in it.
  for (const [name, text] of pairs) {
    const isForm = listParameters.includes(name) && !placeParameters.includes(name)
    shape += `${name}\0${isForm ? text : ''}\0`
    if (name === 'as-of') asOf = text
    else if (name === 'after' || name === 'before') cursor = { direction: name, text }
    else if (!isForm) values.push(text)
  }
  if (shape.length > formCharsMax) return parseWhole(view, pairs)
  if (asOf !== null && !mayBeMoment(asOf)) return parseWhole(view, pairs)
  const form = forms.get(view, shape, () => parseWhole(view, pairs).form)
  const filters = filtersOf(form, values)
  return filters ? { form, filters, cursor, asOf } : parseWhole(view, pairs)
}

/** The terms of a form with values; null where one of them is none of its field's. */
function filtersOf({ terms }: QueryForm, values: readonly string[]): Filter[] | null {
  const filters: Filter[] = []
  for (const [i, term] of terms.entries()) {
    const value = filterValue(term.of, term.operator, values[i] ?? '')
    if (value === undefined) return null
    filters.push({ ...term, value })
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
    faults.add('filter-too-complex', filters[0]?.of.name ?? '', 'too-many-terms', message)
  }
  const limit = parseLimit(given.get('limit'), view.pageRowsMax, faults)
  const form: QueryForm = {
    view,
    terms: filters.map(({ field, operator, of }) => ({ field, operator, of })),
    sort: parseSort(view, given.get('sort'), 'sort', faults),
    limit,
    count: parseCount(given.get('count'), faults),
    isPast: given.has('as-of'),
    ...parseSelection(view, given, limit, faults),
  }
  const query: Query = { form, filters, cursor: parseCursorChoice(given, faults), asOf: given.get('as-of') ?? null }
  faults.throwIfAny()
  return query
}

export function parseRecordQuery(view: ResourceView, search: string): RecordQuery {
  const faults = new Faults()
  const given = new Map<string, string>()
  for (const [name, text] of parsePairs(search)) {
    if (recordParameters.includes(name)) takeOnce(given, name, text, faults)
    else refuseUnknown(name, recordParameters, 'unknown-parameter', faults)
  }
  const selection = parseSelection(view, given, 1, faults)
  faults.throwIfAny()
  return { ...selection, asOf: given.get('as-of') ?? null }
}

const recordParameters = ['fields', 'include', 'as-of']

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
  const asOf = given.get('as-of')
  if (asOf !== undefined && !mayBeMoment(asOf))
    faults.add('invalid-parameter', 'as-of', 'invalid-value', momentExpected)
  if (given.has('as-of') && given.has('include'))
    faults.add(
      'invalid-parameter',
      'include',
      'conflict',
      'Records of the past come without others: leave "include" out.',
    )
  return {
    fields: parseFields(view, given.get('fields'), ',', 'fields', faults),
    includes: parseIncludes(view, given.get('include'), rows, faults),
  }
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
