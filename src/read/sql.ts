import { type Caller, predicateSql, type Rule, resolve } from '../schema/access.ts'
import { quoted } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { Resource } from '../schema/model.ts'
import { Parameters, ShapeCache, type Text } from '../store/text.ts'
import { memberTexts, recordSql, rowLeaf } from '../version/expression-sql.ts'
import { imageColumnSql } from '../version/image-sql.ts'
import type { Filter } from './filter.ts'
import type { Include } from './include.ts'
import type { SortKey } from './names.ts'
import type { ListPlan, ReadPlan, RecordPlan } from './plan.ts'
import type { Scan } from './scan.ts'

/** The one place where reads become SQL. The text depends on the plan's shape alone; `bind` takes the plan's values. */
const compiled = new ShapeCache<Text<ReadPlan>>()

/** The statement of a plan, compiled once for its shape. */
export function compileRead(plan: ReadPlan): Text<ReadPlan> {
  return compiled.get(plan.view, plan.shape, () => (plan.kind === 'list' ? compileList(plan) : compileRecord(plan)))
}

/** The parameters of a read. `plan` stands for every plan of its shape: only its caller's kind and scopes are used. */
class ReadParameters extends Parameters<ReadPlan> {
  private readonly caller: Caller

  constructor(plan: ReadPlan) {
    super()
    this.caller = plan.caller
  }

  get tenant() {
    return this.once('tenant', (plan) => plan.caller.tenant)
  }

  readonly subject = () => this.once('subject', ({ caller }) => (caller.kind === 'user' ? caller.subject : null))

  /** What the read rule of a resource asks of its row `alias`. */
  visible(rule: Rule, alias: string): string {
    return predicateSql(resolve(rule, this.caller), (field) => `${alias}.${quoted(field)}`, this.subject)
  }
}

export const positionSql = '(select max(seq) from changes)'

function compileRecord(plan: RecordPlan): Text<ReadPlan> {
  const p = new ReadParameters(plan)
  const { resource } = plan.view
  const id = p.add((bound) => (bound.kind === 'record' ? bound.id : null))
  const record = recordSql(plan.fields ?? plan.view.fields.values(), rowLeaf('t'))
  const includes = plan.includes.map((include) => includeSql(include, 't', 1, p))
  const cost = costSql(plan.scans, p)
  const columns = [record, 't.version', positionSql, headSql(plan.involved, p), cost ?? 'null', ...includes]
  const nothing = ['null', 'null', positionSql, 'null', cost ?? 'null', ...includes.map(() => 'null')]
  const affordable = cost === null ? '' : ` and ${cost} <= ${limits.scanRowsMax}`
  const sql = `select ${columns.join(', ')} from ${quoted(resource.name)} t where t.tenant = ${p.tenant} and t.id = ${id} and ${p.visible(resource.access.read, 't')}${affordable} union all select ${nothing.join(', ')} limit 1`
  return p.text(sql)
}

/**
 * The rows of the page and then one row of facts about it: the position, the head of the involved resources, the
 * records that it may scan, the count, and how many records were passed over for a page that is not full. A page always
 * has its facts, also when it is empty.
 */
function compileList(plan: ListPlan): Text<ReadPlan> {
  const p = new ReadParameters(plan)
  const { resource } = plan.view
  const isPast = plan.past !== null
  const table = isPast ? 'past' : quoted(resource.name)
  const record = recordSql(plan.fields ?? plan.view.fields.values(), rowLeaf('o'))
  const keys = plan.order.map((key) => `o.${quoted(key.field)}`)
  const includes = plan.includes.map((include) => includeSql(include, 'o', 1, p))
  const rows = `(select rows from heads where tenant = ${p.tenant} and resource = '${resource.name}')`
  const visible = p.visible(resource.access.read, 't')
  const wanted = [
    `t.tenant = ${p.tenant}`,
    ...plan.filters.map((filter, i) =>
      filterSql(
        filter,
        p.add((bound) => (bound.kind === 'list' ? (bound.filters[i]?.value ?? null) : null)),
      ),
    ),
  ]
  const cost = isPast ? pastCostSql(resource, p) : costSql(plan.scans, p)
  const affordable = cost === null ? [] : [`${cost} <= ${limits.scanRowsMax}`]
  const place = plan.start ? [keysetSql(plan.order, p)] : []
  const limit = p.add((bound) => (bound.kind === 'list' ? bound.limit + 1 : null))
  const columns = pad([record, ...keys, ...includes], 5)
  const inOrder = (column: string, conditions: readonly string[], most: string | number) =>
    `select ${column} from ${table} t where ${[...affordable, ...conditions, ...place].join(' and ')} order by ${orderSql(plan.order, 't')} limit ${most}`
  // The rows are found first, by index alone, and their wide columns read outside, so that none is copied on the way.
  const found = plan.passesHidden
    ? `select place from (${inOrder(`t.rowid as place, ${visible} as shown`, wanted, limits.scanRowsMax)}) where shown limit ${limit}`
    : inOrder('t.rowid as place', [...wanted, visible], limit)
  const isCutOff = `(select count(*) from found) < ${limit} and ${rows} > ${limits.scanRowsMax}`
  const passed = `(select count(*) from (${inOrder('1', wanted, limits.scanRowsMax + 1)}))`
  const from = plan.passesHidden ? 'found' : `(${found}) found`
  const page = `select ${columns.join(', ')} from ${from} cross join ${table} o on o.rowid = found.place`
  const unfiltered = plan.filters.length === 0 && plan.visible.kind === 'always' && !isPast
  const count = !plan.count
    ? 'null'
    : unfiltered
      ? rows
      : `(select count(*) from ${table} t where ${[...affordable, ...wanted, visible].join(' and ')})`
  const hidden = plan.passesHidden ? `iif(${isCutOff}, ${passed}, 0)` : 'null'
  const facts = pad([positionSql, headSql(plan.involved, p), cost ?? 'null', count, hidden], columns.length)
  const first = plan.passesHidden
    ? `with found as materialized (${found}) `
    : isPast
      ? `with past as materialized (${pastSql(resource, p)} and ${affordable.join()}) `
      : ''
  return p.text(`${first}${page} union all select ${facts.join(', ')}`)
}

/** The changes of a resource that the log has, counted as far as a query may look. */
function pastCostSql({ name }: Resource, p: ReadParameters): string {
  return `(select count(*) from (select 1 from changes where tenant = ${p.tenant} and resource = '${name}' limit ${limits.scanRowsMax + 1}))`
}

/** The records of a resource as they were at a moment: the last image of each in the log, as rows of its table. */
function pastSql(resource: Resource, p: ReadParameters): string {
  const { name } = resource
  const moment = p.add((bound) => (bound.kind === 'list' ? bound.past : null))
  const columns = [...resource.fields.values()].map(
    (field) => `${imageColumnSql(field, resource, 'c.image')} as ${quoted(field.name)}`,
  )
  const last = `(select max(d.seq) from changes d where d.tenant = c.tenant and d.resource = c.resource and d.id = c.id and d.seq <= ${moment})`
  return `select c.seq as rowid, c.tenant as tenant, ${columns.join(', ')} from changes c where c.tenant = ${p.tenant} and c.resource = '${name}' and c.seq <= ${moment} and c.operation <> 'delete' and c.seq = ${last}`
}

function pad(columns: readonly string[], length: number): string[] {
  return [...columns, ...Array.from({ length: Math.max(0, length - columns.length) }, () => 'null')]
}

/** The records that the scans may look at, by how many the tenant has; null where there is no scan. */
function costSql(scans: readonly Scan[], p: ReadParameters): string | null {
  if (scans.length === 0) return null
  const costs = scans.map(({ resource }, i) => {
    const times = p.add((bound) => bound.scans[i]?.times ?? 0)
    return `coalesce((select rows from heads where tenant = ${p.tenant} and resource = '${resource}'), 0) * ${times}`
  })
  return `(${costs.join(' + ')})`
}

/** The last change of the involved resources, 0 for none: one lookup each, which `in` makes three times as dear. */
function headSql(involved: readonly string[], p: ReadParameters): string {
  const heads = involved.map(
    (name) => `coalesce((select seq from heads where tenant = ${p.tenant} and resource = '${name}'), 0)`,
  )
  return heads.length > 1 ? `max(${heads.join(', ')})` : (heads[0] ?? 'null')
}

function filterSql(filter: Filter, value: string): string {
  const column = `t.${quoted(filter.field.name)}`
  switch (filter.operator) {
    case 'eq':
      return `${column} = ${value}`
    case 'ne':
      return `${column} is not ${value}`
    case 'gt':
      return `${column} > ${value}`
    case 'gte':
      return `${column} >= ${value}`
    case 'lt':
      return `${column} < ${value}`
    case 'lte':
      return `${column} <= ${value}`
    case 'in':
      return `${column} in (select value from json_each(${value}))`
    case 'contains':
      return `instr(lower(${column}), lower(${value})) > 0`
    case 'prefix':
      // The byte FF stands after every character in UTF-8.
      return `(${column} >= ${value} and ${column} < ${value} || x'ff')`
    case 'null':
      return `(${column} is null) = ${value}`
  }
}

/** Records after the start in the order: one row comparison where all keys run one way, else key by key. */
function keysetSql(order: readonly SortKey[], p: ReadParameters): string {
  const keys = order.map((key) => `t.${quoted(key.field)}`)
  const starts = order.map((_, i) => p.add((bound) => (bound.kind === 'list' ? (bound.start?.[i] ?? null) : null)))
  const directions = new Set(order.map((key) => key.descending))
  if (directions.size === 1) return `(${keys.join(', ')}) ${order[0]?.descending ? '<' : '>'} (${starts.join(', ')})`
  const cases = order.map((key, i) => {
    const equal = keys.slice(0, i).map((column, j) => `${column} = ${starts[j]}`)
    return [...equal, `${keys[i]} ${key.descending ? '<' : '>'} ${starts[i]}`].join(' and ')
  })
  return `(${cases.map((each) => `(${each})`).join(' or ')})`
}

function orderSql(order: readonly SortKey[], alias: string): string {
  return order.map((key) => `${alias}.${quoted(key.field)}${key.descending ? ' desc' : ''}`).join(', ')
}

/**
 * One include as a scalar expression over the row `parent`: the JSON text of a belongsTo, or null where it has none; the
 * texts of a to-many with commas between, or null where there are none. Brackets come later: here they would copy it all.
 */
function includeSql(include: Include, parent: string, depth: number, p: ReadParameters): string {
  const alias = `r${depth}`
  const { relation, view } = include
  const record = nestedRecordSql(include, alias, depth, p)
  const visible = p.visible(view.resource.access.read, alias)
  const target = quoted(view.resource.name)
  if (relation.kind === 'belongsTo') {
    return `(select ${record} from ${target} ${alias} where ${alias}.tenant = ${p.tenant} and ${alias}.id = ${parent}.${quoted(relation.column)} and ${visible})`
  }
  const join = `j${depth}`
  // In the order of the ids, pairs are taken as the index of the joining resource has them.
  const [first] = include.sort
  const order =
    relation.kind === 'manyToMany' && first?.field === 'id'
      ? orderSql([{ ...first, field: relation.far }], join)
      : orderSql(include.sort, alias)
  // A pair that the caller may not read joins nothing for it.
  const from =
    relation.kind === 'hasMany'
      ? `${target} ${alias} where ${alias}.tenant = ${p.tenant} and ${alias}.${quoted(relation.column)} = ${parent}.id`
      : `${quoted(relation.through)} ${join} join ${target} ${alias} on ${alias}.tenant = ${p.tenant} and ${alias}.id = ${join}.${quoted(relation.far)} where ${join}.tenant = ${p.tenant} and ${join}.${quoted(relation.near)} = ${parent}.id and ${p.visible(view.other(relation.through).resource.access.read, join)}`
  return `(select group_concat(record, ',') from (select ${record} as record from ${from} and ${visible} order by ${order} limit ${include.limit}))`
}

/** A nested record: `json_object` where it stands alone, its members put together as text where it has includes. */
function nestedRecordSql(include: Include, alias: string, depth: number, p: ReadParameters): string {
  const fields = include.fields ?? include.view.fields.values()
  if (include.includes.length === 0) return recordSql(fields, rowLeaf(alias))
  const members = [
    ...memberTexts(fields, rowLeaf(alias)),
    ...include.includes.map((inner): [string, string] => [inner.name, memberSql(inner, alias, depth + 1, p)]),
  ]
  const texts = members.flatMap(([name, text], i) => [`'${i === 0 ? '{' : ','}"${name}":'`, text])
  return joinedSql([...texts, `'}'`])
}

function memberSql(include: Include, parent: string, depth: number, p: ReadParameters): string {
  const text = includeSql(include, parent, depth, p)
  return include.relation.kind === 'belongsTo' ? `coalesce(${text}, 'null')` : `'[' || coalesce(${text}, '') || ']'`
}

/** Texts one after the other, as a tree that is no deeper than it must be: SQLite in workerd takes 100 levels. */
function joinedSql(texts: readonly string[]): string {
  const half = Math.ceil(texts.length / 2)
  if (half <= 1) return texts.join(' || ')
  return `(${joinedSql(texts.slice(0, half))}) || (${joinedSql(texts.slice(half))})`
}
