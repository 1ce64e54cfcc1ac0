import { valueOperators } from '../../src/version/asking.ts'
import type { CallerSpec, FilterSpec, IncludeSpec, SelectionSpec, SortSpec } from './oracle.ts'
import {
  type Draw,
  type FieldSpec,
  type Item,
  type Items,
  ids,
  type ModelSpec,
  type ResourceSpec,
  randomValue,
  scopeNames,
  tenants,
} from './random-model.ts'

/** A random list, as the expected answer needs it; `listSearch` says it as a query string. */
export interface ListSpec extends SelectionSpec {
  readonly resource: ResourceSpec
  readonly filters: readonly FilterSpec[]
  readonly sort: readonly SortSpec[]
  readonly limit: number
  readonly count: boolean
}

export function randomCallers(draw: Draw, items: Items): CallerSpec[] {
  const all = [...items.values()].flat()
  const texts = all.flatMap((item) => Object.values(item).filter((value) => typeof value === 'string'))
  const [demo, other] = tenants
  const scopes = () => draw.some(scopeNames, 2)
  return [
    { kind: 'anonymous', tenant: demo, scopes: [], subject: null },
    { kind: 'service', tenant: demo, scopes: scopes(), subject: null },
    { kind: 'service', tenant: other, scopes: [...scopeNames], subject: null },
    { kind: 'user', tenant: demo, scopes: scopes(), subject: draw.pick(ids) },
    { kind: 'user', tenant: demo, scopes: scopes(), subject: draw.pick(texts) },
    { kind: 'user', tenant: other, scopes: scopes(), subject: draw.pick(ids) },
    { kind: 'service', tenant: 'empty', scopes: [...scopeNames], subject: null },
  ]
}

export function randomList(draw: Draw, spec: ModelSpec, items: Items): ListSpec {
  const resource = draw.pick(spec.resources)
  const filterable = resource.fields.filter((each) => each.filterable)
  const filters = Array.from({ length: draw.pick([0, 0, 1, 1, 1, 2, 3]) }, () =>
    randomFilter(draw, draw.pick(filterable), items.get(resource.name) ?? []),
  )
  return {
    resource,
    filters,
    sort: randomSort(draw, resource),
    limit: draw.pick([1, 2, 3, 5, 8, 20]),
    count: draw.chance(40),
    ...randomSelection(draw, spec, resource),
  }
}

export function randomSelection(draw: Draw, spec: ModelSpec, resource: ResourceSpec): SelectionSpec {
  return {
    fields: randomFields(draw, resource),
    includes: randomIncludes(draw, spec, resource, includeDepth, { left: 7 }),
  }
}

function randomFields(draw: Draw, { fields }: ResourceSpec): string[] | null {
  const names = fields.map((each) => each.name)
  return draw.chance(60) ? null : [draw.pick(names), ...draw.some(names, 4)]
}

function randomSort(draw: Draw, { fields }: ResourceSpec): SortSpec[] {
  const sortable = fields.filter((each) => each.sortable).map((each) => each.name)
  return draw.some(sortable, 3).map((field) => ({ field, descending: draw.chance(50) }))
}

const includeDepth = 3
const textOperators = ['contains', 'prefix', 'prefix'] as const
const operators = ['eq', 'eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'null', ...textOperators] as const

function randomFilter(draw: Draw, field: FieldSpec, items: readonly Item[]): FilterSpec {
  const known = field.isMapped ? operators.filter((each) => valueOperators.includes(each)) : operators
  const usable = known.filter((each) => field.kind === 'text' || !textOperators.some((text) => text === each))
  const operator = draw.pick(usable)
  const found = items.map((item) => item[field.name]).filter((value) => value !== null)
  const value = () =>
    draw.chance(75) && found.length > 0 ? draw.pick(found) : randomValue(draw, { ...field, nullable: false }, ids)
  if (operator === 'null') return { field, operator, value: draw.chance(50) }
  if (operator === 'in') return { field, operator, value: Array.from({ length: draw.int(1, 4) }, withoutComma) }
  if (operator !== 'contains' && operator !== 'prefix') return { field, operator, value: value() }
  const characters = [...String(value())]
  const start = operator === 'prefix' ? 0 : draw.int(0, Math.max(0, characters.length - 1))
  const part = characters.slice(start, start + draw.int(1, 3)).join('')
  const turned = operator === 'contains' && draw.chance(30) ? swapAsciiCase(part) : part
  return { field, operator, value: turned === '' ? 'a' : turned }

  function withoutComma(): unknown {
    const one = value()
    return typeof one === 'string' ? one.replaceAll(',', '') : one
  }
}

function swapAsciiCase(text: string): string {
  return text.replace(/[a-zA-Z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) ^ 32))
}

function randomIncludes(
  draw: Draw,
  spec: ModelSpec,
  resource: ResourceSpec,
  depth: number,
  nodes: { left: number },
): IncludeSpec[] {
  if (depth === 0 || !draw.chance(depth === includeDepth ? 60 : 45)) return []
  const chosen = draw.some(resource.relations, Math.min(2, nodes.left))
  nodes.left -= chosen.length
  return chosen.map((relation) => {
    const target = spec.resources.find((each) => each.name === relation.target)!
    const isMany = relation.kind !== 'belongsTo'
    return {
      relation,
      fields: randomFields(draw, target),
      limit: isMany ? randomLimit(draw, depth) : null,
      sort: isMany ? randomSort(draw, target) : [],
      includes: randomIncludes(draw, spec, target, depth - 1, nodes),
    }
  })
}

/** The default limit stands at the first level only: it would make a page of three levels larger than is allowed. */
function randomLimit(draw: Draw, depth: number): number | null {
  if (depth === includeDepth) return draw.chance(60) ? draw.int(1, 6) : null
  return draw.int(1, 3)
}

/** The query string of a list, its parameters in any order. */
export function listSearch(list: ListSpec, draw: Draw): string {
  const { filters, sort, limit, count } = list
  const pairs = [
    ...filters.map((filter) => [filterName(draw, filter), filterText(draw, filter)]),
    ...(sort.length > 0 ? [['sort', sortText(sort, ',')]] : []),
    ...(limit === 20 && draw.chance(50) ? [] : [['limit', String(limit)]]),
    ...(count ? [['count', 'exact']] : draw.chance(10) ? [['count', 'none']] : []),
    ...selectionPairs(list),
  ]
  return search(draw.chance(50) ? pairs : pairs.reverse())
}

export function selectionSearch(selection: SelectionSpec): string {
  return search(selectionPairs(selection))
}

function selectionPairs({ fields, includes }: SelectionSpec): string[][] {
  return [
    ...(fields ? [['fields', fields.join(',')]] : []),
    ...(includes.length > 0 ? [['include', includes.flatMap((each) => includePaths(each, '')).join(',')]] : []),
  ]
}

function includePaths(include: IncludeSpec, prefix: string): string[] {
  const { relation, fields, limit, sort, includes } = include
  const options = [
    ...(limit === null ? [] : [`limit:${limit}`]),
    ...(sort.length > 0 ? [`sort:${sortText(sort, '|')}`] : []),
    ...(fields ? [`fields:${fields.join('|')}`] : []),
  ]
  const path = prefix + relation.name
  const own = options.length > 0 ? `${path}(${options.join(',')})` : path
  return [own, ...includes.flatMap((each) => includePaths(each, `${path}.`))]
}

function sortText(sort: readonly SortSpec[], separator: string): string {
  return sort.map(({ field, descending }) => (descending ? `-${field}` : field)).join(separator)
}

function search(pairs: readonly string[][]): string {
  const text = pairs.map(([name = '', value = '']) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
  return text.length > 0 ? `?${text.join('&')}` : ''
}

function filterName(draw: Draw, { field, operator }: FilterSpec): string {
  return operator === 'eq' && draw.chance(70) ? field.name : `${field.name}[${operator}]`
}

function filterText(draw: Draw, { field, operator, value }: FilterSpec): string {
  if (operator === 'null') return String(value)
  return operator === 'in'
    ? (value as unknown[]).map((each) => valueText(draw, field, each)).join(',')
    : valueText(draw, field, value)
}

/** A value as a query says it, an instant sometimes at another offset from UTC. */
function valueText(draw: Draw, field: FieldSpec, value: unknown): string {
  if (field.kind === 'real') return Math.abs(Number(value)) >= 1e21 ? BigInt(Number(value)).toString() : plain(value)
  if (field.kind !== 'instant' || draw.chance(70)) return String(value)
  const shifted = new Date(Date.parse(String(value)) + 2 * 3_600_000).toISOString()
  return shifted.replace('Z', '+02:00')
}

/** A number without an exponent. */
function plain(value: unknown): string {
  const text = String(value)
  return text.includes('e') ? Number(value).toFixed(20) : text
}
