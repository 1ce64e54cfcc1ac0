import { type Caller, callerShape, type Predicate, resolve } from '../schema/access.ts'
import type { Field } from '../schema/field.ts'
import type { Value } from '../value.ts'
import type { ResourceView } from '../version/view.ts'
import { type CursorSigner, openCursor } from './cursor.ts'
import { type Include, includedResources } from './include.ts'
import type { SortKey } from './names.ts'
import type { Filter, Query, Selection } from './query.ts'

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
    served: isServed(view, visible, filters, sort),
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
    fields,
    includes,
  }
}

/** Ends the sort with the id, in the direction of the key before it, so that no two records are in one place. */
function withId(sort: readonly SortKey[]): SortKey[] {
  if (sort.some((key) => key.field === 'id')) return sort.slice(0, sort.findIndex((key) => key.field === 'id') + 1)
  return [...sort, { field: 'id', descending: sort.at(-1)?.descending ?? false }]
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

/**
 * Whether some index holds the query whole: its first columns are those compared for equality, then come the sort's
 * keys, and a range is on the first of them. Rules of access that are one equality count as one.
 */
function isServed(
  view: ResourceView,
  visible: Predicate,
  filters: readonly Filter[],
  sort: readonly SortKey[],
): boolean {
  const equal = new Set(filters.filter((filter) => filter.operator === 'eq').map((filter) => filter.field.name))
  if (visible.kind === 'equals' || visible.kind === 'subject') equal.add(visible.field)
  const others = filters.filter((filter) => filter.operator !== 'eq')
  const [firstKey] = sort
  const ranges = ['gt', 'gte', 'lt', 'lte', 'prefix']
  if (others.some((filter) => !ranges.includes(filter.operator) || filter.field.name !== firstKey?.field)) return false
  const turned = new Set(sort.map((key) => key.descending)).size > 1
  if (turned) return false
  if (equal.has('id')) return true
  return view.resource.indexes.some(({ columns, unique }) => {
    if (unique && columns.every((column) => equal.has(column))) return true
    const head = columns.slice(0, equal.size)
    // Records that a unique index does not tell apart are one record: its order is whole without the id.
    const tail = unique ? [...columns.slice(equal.size), 'id'] : columns.slice(equal.size)
    const isHeadEqual = head.length === equal.size && head.every((column) => equal.has(column))
    return isHeadEqual && sort.every((key, i) => tail[i] === key.field)
  })
}
