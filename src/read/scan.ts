import type { Predicate } from '../schema/access.ts'
import type { Index } from '../schema/table.ts'
import type { ResourceView } from '../version/view.ts'
import type { Filter } from './filter.ts'
import type { Include } from './include.ts'
import type { SortKey } from './names.ts'

/**
 * Work that no index bounds: a read may look at `times` x the records that the tenant has of a resource. Reads are
 * refused where the sum of it is over `scanRowsMax`.
 */
export interface Scan {
  readonly resource: string
  readonly times: number
  /** What no index serves, for the caller. */
  readonly because: string
}

/**
 * Whether some index holds a list whole: its first columns are those compared for equality, then come the sort's
 * keys, and a range is on the first of them. Rules of access that are one equality count as one.
 */
export function isServed(
  view: ResourceView,
  visible: Predicate,
  filters: readonly Pick<Filter, 'field' | 'operator'>[],
  sort: readonly SortKey[],
): boolean {
  const equal = new Set(filters.filter((filter) => filter.operator === 'eq').map((filter) => filter.field.name))
  if (visible.kind === 'equals' || visible.kind === 'subject') equal.add(visible.field)
  const others = filters.filter((filter) => filter.operator !== 'eq')
  const [firstKey] = sort
  const ranges = ['gt', 'gte', 'lt', 'lte', 'prefix']
  if (others.some((filter) => !ranges.includes(filter.operator) || filter.field.name !== firstKey?.field)) return false
  return isOneWay(sort) && (equal.has('id') || view.resource.indexes.some((index) => isInOrder(index, equal, sort)))
}

function isOneWay(sort: readonly SortKey[]): boolean {
  return new Set(sort.map((key) => key.descending)).size <= 1
}

/** Whether the index has the records that are equal in `equal` in the order of `sort`. */
function isInOrder({ columns, unique }: Index, equal: ReadonlySet<string>, sort: readonly SortKey[]): boolean {
  if (unique && columns.every((column) => equal.has(column))) return true
  const head = columns.slice(0, equal.size)
  // Records that a unique index does not tell apart are one record: its order is whole without the id.
  const tail = unique ? [...columns.slice(equal.size), 'id'] : columns.slice(equal.size)
  const isHeadEqual = head.length === equal.size && head.every((column) => equal.has(column))
  return isHeadEqual && sort.every((key, i) => tail[i] === key.field)
}

/**
 * What includes scan. `rows` is how many records they are read for; where those may be the same record many times
 * (`distinct` false), each time counts.
 */
export function includeScans(
  includes: readonly Include[],
  view: ResourceView,
  rows: number,
  distinct: boolean,
): Scan[] {
  return includes.flatMap((include) => {
    const { relation } = include
    if (relation.kind === 'belongsTo') return includeScans(include.includes, include.view, rows, false)
    const through = relation.kind === 'manyToMany' ? view.other(relation.through) : include.view
    const because = `the include ${include.name}${include.sort.length > 0 ? ' in this order' : ''}`
    const scan = { resource: through.resource.name, times: distinct ? 1 : rows, because }
    const inner = includeScans(
      include.includes,
      include.view,
      rows * include.limit,
      distinct && relation.kind === 'hasMany',
    )
    return isIncludeServed(include, through) ? inner : [scan, ...inner]
  })
}

function isIncludeServed({ relation, sort }: Include, through: ResourceView): boolean {
  const { indexes } = through.resource
  if (relation.kind === 'hasMany') {
    return isOneWay(sort) && indexes.some((index) => isInOrder(index, new Set([relation.column]), sort))
  }
  if (relation.kind === 'belongsTo') return true
  return (
    sort[0]?.field === 'id' &&
    indexes.some(({ columns }) => columns[0] === relation.near && columns[1] === relation.far)
  )
}
