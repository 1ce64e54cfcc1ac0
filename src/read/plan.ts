import { type Caller, callerShape, type Predicate, resolve } from '../schema/access.ts'
import type { Field } from '../schema/field.ts'
import type { Value } from '../value.ts'
import type { ResourceView } from '../version/view.ts'
import { type CursorSigner, openCursor } from './cursor.ts'
import { type Include, includedResources } from './include.ts'
import { type SortKey, withId } from './names.ts'
import type { Filter, Query, Selection } from './query.ts'
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

export function planList(query: Query, caller: Caller, cursors: CursorSigner): ListPlan {
  const { view, filters, includes, fields, count } = query
  const visible = resolve(view.resource.access.read, caller)
  const sort = withId(query.sort)
  const identity = queryIdentity(query, sort)
  const backwards = query.cursor?.direction === 'before'
  const start = query.cursor ? openCursor(query.cursor.text, { cursors, identity, caller, keys: sort.length }) : null
  const order = backwards ? sort.map((key) => ({ ...key, descending: !key.descending })) : sort
  const served = isServed(view, visible, filters, sort)
  const selection = selectionShape(fields, includes)
  const filterShape = filters.map((filter) => `${filter.field.name} ${filter.operator}`).join()
  const shape = `list ${callerShape(caller)} ${filterShape} ${orderShape(order)} ${start ? 'start' : ''} ${count ? 'count' : ''} ${selection}`
  return {
    kind: 'list',
    shape,
    view,
    caller,
    visible,
    filters,
    order,
    backwards,
    start,
    limit: query.limit,
    count,
    served,
    scans: [...listScans(query, visible, sort, served), ...includeScans(includes, view, query.limit, true)],
    involved: [...new Set([view.resource.name, ...includedResources(includes)])],
    identity,
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
function listScans(query: Query, visible: Predicate, sort: readonly SortKey[], served: boolean): Scan[] {
  const countsMatches = query.count && (query.filters.length > 0 || visible.kind !== 'always')
  if (served && !countsMatches) return []
  const names = new Set([...query.filters.map((filter) => filter.field.name), ...sort.map((key) => key.field)])
  const because = `this combination of ${[...names].join(', ')}${query.count ? ' with count=exact' : ''}`
  return [{ resource: query.view.resource.name, times: 1, because }]
}

function queryIdentity(query: Query, sort: readonly SortKey[]): string {
  const filters = query.filters
    .map(({ field, operator, value }) => JSON.stringify([field.name, operator, value]))
    .sort()
  return `${query.view.version} ${query.view.name} ${filters.join()} ${orderShape(sort)}`
}

function orderShape(order: readonly SortKey[]): string {
  return order.map((key) => (key.descending ? `-${key.field}` : key.field)).join()
}

function selectionShape(fields: readonly Field[] | null, includes: readonly Include[]): string {
  const names = fields ? fields.map((field) => field.name).join() : '*'
  const inner = includes.map(
    (include) =>
      `${include.name}:${include.limit}:${orderShape(include.sort)}{${selectionShape(include.fields, include.includes)}}`,
  )
  return `${names}{${inner.join(';')}}`
}
