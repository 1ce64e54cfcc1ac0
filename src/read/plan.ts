import type { Seq } from '../log/position.ts'
import { assert } from '../problem.ts'
import { type Caller, callerShape, type Predicate, resolve } from '../schema/access.ts'
import type { ShapeField } from '../schema/shape.ts'
import { ShapeCache } from '../store/text.ts'
import type { Value } from '../value.ts'
import type { ResourceView } from '../version/view.ts'
import { type CursorSigner, openCursor } from './cursor.ts'
import type { Filter } from './filter.ts'
import { type Include, includedResources } from './include.ts'
import { type SortKey, withId } from './names.ts'
import type { Query, QueryForm, Selection } from './query.ts'
import { includeScans, isServed, type Scan } from './scan.ts'

/**
 * A read as plain data: everything that decides its SQL is in `view` and `shape`, everything else is bound. Plans of one
 * view and shape share one prepared statement.
 */
export interface ListPlan extends Selection {
  readonly kind: 'list'
  readonly shape: string
  readonly view: ResourceView
  readonly caller: Caller
  readonly visible: Predicate
  readonly filters: readonly Filter[]
  /** The sort with the id as its last key, in the order in which rows are read: turned when paging backwards. */
  readonly order: readonly SortKey[]
  readonly backwards: boolean
  /** The values of `order` at the record to start after. */
  readonly start: readonly Value[] | null
  readonly limit: number
  readonly count: boolean
  /** An index finds the rows in order without looking at others; otherwise the scan budget applies. */
  readonly served: boolean
  /** The rule of access hides records that stand between the others in the order, so finding a page passes over them. */
  readonly passesHidden: boolean
  /** The moment of the records, where they are read as they were then. */
  readonly past: Seq | null
  /** The resources whose changes change the answer. */
  readonly involved: readonly string[]
  readonly scans: readonly Scan[]
  /** The query without its place in the list: what a cursor is bound to. */
  readonly identity: string
}

export interface RecordPlan extends Selection {
  readonly kind: 'record'
  readonly shape: string
  readonly view: ResourceView
  readonly caller: Caller
  readonly visible: Predicate
  readonly id: string
  readonly involved: readonly string[]
  /** What no index bounds. */
  readonly scans: readonly Scan[]
}

export type ReadPlan = ListPlan | RecordPlan

/** What of a plan follows from the form of its query, the kind and scopes of its caller, and where it pages from. */
type ListForm = Omit<ListPlan, 'caller' | 'filters' | 'start' | 'identity' | 'past'>

const listForms = new ShapeCache<ListForm>()

/** `past` is the moment that the query's `asOf` names; null where it names none. */
export function planList(
  { form, filters, cursor, asOf }: Query,
  caller: Caller,
  cursors: CursorSigner,
  past: Seq | null = null,
): ListPlan {
  assert((asOf === null) === (past === null), 'a query of the past is planned with its moment')
  const from = cursor?.direction ?? 'start'
  const planned = listForms.get(form, `${from} ${callerShape(caller)}`, () => planForm(form, caller, from))
  const identity = `${queryIdentity(form, filters)}${past === null ? '' : ` ${past}`}`
  const start = cursor ? openCursor(cursor.text, { cursors, identity, caller, keys: planned.order.length }) : null
  return { ...planned, caller, filters, start, identity, past }
}

function planForm(form: QueryForm, caller: Caller, from: 'start' | 'after' | 'before'): ListForm {
  const { view, terms, limit, includes, fields, count } = form
  const visible = resolve(view.resource.access.read, caller)
  const sort = withId(form.sort)
  const backwards = from === 'before'
  const order = backwards ? sort.map((key) => ({ ...key, descending: !key.descending })) : sort
  const served = !form.isPast && isServed(view, visible, terms, sort)
  const termsShape = terms.map(({ field, operator }) => `${field.name} ${operator}`).join()
  const place = from === 'start' ? '' : 'start'
  return {
    kind: 'list',
    shape: `list ${callerShape(caller)} ${termsShape} ${orderShape(order)} ${place} ${count ? 'count' : ''} ${form.isPast ? 'past' : ''} ${selectionShape(fields, includes)}`,
    view,
    visible,
    order,
    backwards,
    limit,
    count,
    served,
    passesHidden: served && (visible.kind === 'or' || visible.kind === 'and'),
    scans: [...listScans(form, visible, sort, served), ...includeScans(includes, view, limit, true)],
    involved: [...new Set([view.resource.name, ...includedResources(includes)])],
    fields,
    includes,
  }
}

export function planRecord(view: ResourceView, id: string, selection: Selection, caller: Caller): RecordPlan {
  const { fields, includes } = selection
  return {
    kind: 'record',
    shape: `record ${callerShape(caller)} ${selectionShape(fields, includes)}`,
    view,
    caller,
    visible: resolve(view.resource.access.read, caller),
    id,
    involved: includes.length === 0 ? [] : [...new Set([view.resource.name, ...includedResources(includes)])],
    scans: includeScans(includes, view, 1, true),
    fields,
    includes,
  }
}

/** What the list itself scans: where no index has its order, and where a count looks at every record that matches. */
function listScans(form: QueryForm, visible: Predicate, sort: readonly SortKey[], served: boolean): Scan[] {
  const countsMatches = form.count && (form.terms.length > 0 || visible.kind !== 'always')
  if (served && !countsMatches) return []
  if (form.isPast) return [{ resource: form.view.resource.name, times: 1, because: 'a read of the past' }]
  const columns = [...form.terms.map((term) => term.field.name), ...sort.map((key) => key.field)]
  const names = new Set(columns.map(form.view.pathOf))
  const because = `this combination of ${[...names].join(', ')}${form.count ? ' with count=exact' : ''}`
  return [{ resource: form.view.resource.name, times: 1, because }]
}

function queryIdentity({ view, sort }: QueryForm, filters: readonly Filter[]): string {
  const terms = filters.map(({ field, operator, value }) => JSON.stringify([field.name, operator, value])).sort()
  return `${view.version} ${view.name} ${terms.join()} ${orderShape(withId(sort))}`
}

function orderShape(order: readonly SortKey[]): string {
  return order.map((key) => (key.descending ? `-${key.field}` : key.field)).join()
}

function selectionShape(fields: readonly ShapeField[] | null, includes: readonly Include[]): string {
  const names = fields ? fields.map((field) => field.name).join() : '*'
  const inner = includes.map(
    (include) =>
      `${include.name}:${include.limit}:${orderShape(include.sort)}{${selectionShape(include.fields, include.includes)}}`,
  )
  return `${names}{${inner.join(';')}}`
}
