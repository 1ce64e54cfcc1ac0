import type { Rule } from '../../src/schema/access.ts'
import type { FieldSpec, Item, Items, ModelSpec, RelationSpec, ResourceSpec } from './random-model.ts'
import { compareTexts } from './texts.ts'

/** What a list or a record read must answer, worked out over arrays, knowing nothing of SQL. */

export interface CallerSpec {
  readonly kind: 'anonymous' | 'service' | 'user'
  readonly tenant: string
  readonly scopes: readonly string[]
  readonly subject: string | null
}

export interface FilterSpec {
  readonly field: FieldSpec
  readonly operator: 'eq' | 'ne' | 'gt' | 'gte' | 'lt' | 'lte' | 'in' | 'contains' | 'prefix' | 'null'
  /** One value, those of `in`, or the answer that `null` wants. */
  readonly value: unknown
}

export interface SortSpec {
  readonly field: string
  readonly descending: boolean
}

export interface IncludeSpec {
  readonly relation: RelationSpec
  readonly fields: readonly string[] | null
  /** Of a to-many relation. */
  readonly limit: number | null
  readonly sort: readonly SortSpec[]
  readonly includes: readonly IncludeSpec[]
}

export interface SelectionSpec {
  readonly fields: readonly string[] | null
  readonly includes: readonly IncludeSpec[]
}

const includeRowsDefault = 10

export class Oracle {
  private readonly spec: ModelSpec
  private readonly items: Items

  constructor(spec: ModelSpec, items: Items) {
    this.spec = spec
    this.items = items
  }

  /** Whether the caller could read some record of the resource, whatever is in it. */
  mayEverRead(resource: ResourceSpec, caller: CallerSpec): boolean {
    return possible(resource.read, caller) !== 'never'
  }

  /** Every record of the list, in its order, as the answer shows each. */
  list(
    resource: ResourceSpec,
    filters: readonly FilterSpec[],
    sort: readonly SortSpec[],
    selection: SelectionSpec,
    caller: CallerSpec,
  ): unknown[] {
    const lastDirection = sort.at(-1)?.descending ?? false
    return this.readable(resource, caller)
      .filter((item) => filters.every((filter) => matches(filter, item[filter.field.name])))
      .sort(order(resource, [...sort, { field: 'id', descending: lastDirection }]))
      .map((item) => this.show(resource, item, selection, caller))
  }

  /** The record, or null where the caller must be told that there is none. */
  record(resource: ResourceSpec, id: string, selection: SelectionSpec, caller: CallerSpec): unknown {
    const item = this.readable(resource, caller).find((each) => each.id === id)
    return item ? this.show(resource, item, selection, caller) : null
  }

  private readable(resource: ResourceSpec, caller: CallerSpec): Item[] {
    const all = this.items.get(resource.name) ?? []
    return all.filter((item) => item.tenant === caller.tenant && allows(resource.read, item, caller))
  }

  private resource(name: string): ResourceSpec {
    return this.spec.resources.find((each) => each.name === name)!
  }

  private show(resource: ResourceSpec, item: Item, { fields, includes }: SelectionSpec, caller: CallerSpec): unknown {
    const shown: Record<string, unknown> = {}
    for (const name of fields ?? resource.fields.map((each) => each.name)) shown[name] = item[name]
    for (const include of includes) shown[include.relation.name] = this.related(item, include, caller)
    return shown
  }

  private related(item: Item, include: IncludeSpec, caller: CallerSpec): unknown {
    const { relation, sort, limit } = include
    const target = this.resource(relation.target)
    const readable = this.readable(target, caller)
    if (relation.kind === 'belongsTo') {
      const one = readable.find((each) => each.id === item[relation.column])
      return one ? this.show(target, one, include, caller) : null
    }
    const many =
      relation.kind === 'hasMany'
        ? readable.filter((each) => each[relation.column] === item.id)
        : this.readable(this.resource(relation.through), caller)
            .filter((pair) => pair[relation.near] === item.id)
            .flatMap((pair) => readable.filter((each) => each.id === pair[relation.far]))
    return many
      .sort(order(target, [...sort, { field: 'id', descending: sort.at(-1)?.descending ?? false }]))
      .slice(0, limit ?? includeRowsDefault)
      .map((each) => this.show(target, each, include, caller))
  }
}

function order(resource: ResourceSpec, keys: readonly SortSpec[]) {
  return (a: Item, b: Item): number => {
    for (const key of keys) {
      const kind = resource.fields.find((each) => each.name === key.field)!.kind
      const sign = compare(kind, a[key.field], b[key.field])
      if (sign !== 0) return key.descending ? -sign : sign
    }
    return 0
  }
}

function compare(kind: FieldSpec['kind'], a: unknown, b: unknown): number {
  if (kind === 'boolean' || kind === 'integer' || kind === 'real') return Number(a) - Number(b)
  return compareTexts(String(a), String(b))
}

function matches({ field, operator, value }: FilterSpec, found: unknown): boolean {
  if (operator === 'null') return (found === null) === value
  if (operator === 'ne') return found === null || compare(field.kind, found, value) !== 0
  if (found === null) return false
  switch (operator) {
    case 'eq':
      return compare(field.kind, found, value) === 0
    case 'gt':
      return compare(field.kind, found, value) > 0
    case 'gte':
      return compare(field.kind, found, value) >= 0
    case 'lt':
      return compare(field.kind, found, value) < 0
    case 'lte':
      return compare(field.kind, found, value) <= 0
    case 'in':
      return (value as unknown[]).some((each) => compare(field.kind, found, each) === 0)
    case 'contains':
      return foldAscii(String(found)).includes(foldAscii(String(value)))
    case 'prefix':
      return String(found).startsWith(String(value))
  }
}

/** Small letters for the 26 capital ones of ASCII; every other character stays. */
function foldAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) + 32))
}

function allows(rule: Rule, item: Item, caller: CallerSpec): boolean {
  switch (rule.kind) {
    case 'anyone':
      return true
    case 'service':
      return caller.kind === 'service'
    case 'scope':
      return caller.scopes.includes(rule.scope)
    case 'owner':
      return caller.kind === 'service' || (caller.kind === 'user' && item[rule.field] === caller.subject)
    case 'when': {
      const value = item[rule.field]
      return (typeof value === 'boolean' ? Number(value) : value) === rule.equals
    }
    case 'anyOf':
      return rule.rules.some((each) => allows(each, item, caller))
    case 'allOf':
      return rule.rules.every((each) => allows(each, item, caller))
  }
}

/** What is known of a rule before any record is looked at. */
function possible(rule: Rule, caller: CallerSpec): 'always' | 'never' | 'depends' {
  switch (rule.kind) {
    case 'anyone':
      return 'always'
    case 'service':
      return caller.kind === 'service' ? 'always' : 'never'
    case 'scope':
      return caller.scopes.includes(rule.scope) ? 'always' : 'never'
    case 'owner':
      return { service: 'always', user: 'depends', anonymous: 'never' }[caller.kind] as 'always' | 'depends' | 'never'
    case 'when':
      return 'depends'
    case 'anyOf': {
      const parts = rule.rules.map((each) => possible(each, caller))
      return parts.includes('always') ? 'always' : parts.includes('depends') ? 'depends' : 'never'
    }
    case 'allOf': {
      const parts = rule.rules.map((each) => possible(each, caller))
      return parts.includes('never') ? 'never' : parts.includes('depends') ? 'depends' : 'always'
    }
  }
}
