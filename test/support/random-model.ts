import { Database } from 'bun:sqlite'
import {
  foreignKey,
  index,
  integer,
  primaryKey,
  real,
  type SQLiteColumn,
  type SQLiteColumnBuilderBase,
  sqliteTable,
  text,
} from 'drizzle-orm/sqlite-core'
import fc from 'fast-check'
import { z } from 'zod'
import type { Rule } from '../../src/schema/access.ts'
import type { IdentifiedTable } from '../../src/schema/columns.ts'
import {
  allOf,
  anyOf,
  anyone,
  belongsTo,
  buildModel,
  hasMany,
  identity,
  instant,
  manyToMany,
  owner,
  resource,
  scope,
  service,
  version,
  when,
} from '../../src/schema/index.ts'
import type { ModelWithTables } from './database.ts'
import { anyText, hostileTexts } from './texts.ts'

/** A random model as plain data, from which both the real tables and the expected answers are made. */
export interface ModelSpec {
  readonly resources: readonly ResourceSpec[]
}

export interface ResourceSpec {
  readonly name: string
  readonly fields: readonly FieldSpec[]
  readonly relations: readonly RelationSpec[]
  readonly read: Rule
  /** Fields of each index after the tenant. */
  readonly indexes: readonly (readonly string[])[]
}

export interface FieldSpec {
  readonly name: string
  readonly kind: 'text' | 'enum' | 'id' | 'integer' | 'real' | 'boolean' | 'instant' | 'json'
  readonly nullable: boolean
  /** The values of an enum. */
  readonly values: readonly string[]
  /** The resource that a reference names. */
  readonly to: string | null
  readonly filterable: boolean
  readonly sortable: boolean
  /** What a json field holds, where that is one thing. */
  readonly holds?: 'object' | 'list'
  /** What a record has that is created without it. */
  readonly fallback?: unknown
  /** Whether its column has other values for the same, so that lists know which are equal and not which are less. */
  readonly isMapped?: boolean
}

export type RelationSpec = { readonly name: string; readonly target: string } & (
  | { readonly kind: 'belongsTo'; readonly column: string }
  | { readonly kind: 'hasMany'; readonly column: string }
  | { readonly kind: 'manyToMany'; readonly through: string; readonly near: string; readonly far: string }
)

/** A record as the API shows it, with its tenant. */
export type Item = Readonly<Record<string, unknown>> & { readonly tenant: string; readonly id: string }
export type Items = ReadonlyMap<string, readonly Item[]>

/** Random choices that fast-check can repeat from a seed. */
export interface Draw {
  int(min: number, max: number): number
  chance(percent: number): boolean
  pick<T>(list: readonly T[]): T
  /** Up to `most` members of the list, each at most once, in any order. */
  some<T>(list: readonly T[], most: number): T[]
  text(): string
  json(): unknown
}

const documents = () =>
  fc
    .json({ maxDepth: 3, stringUnit: fc.constantFrom(...hostileTexts.filter((each) => each.length === 1)) })
    .map((text): unknown => JSON.parse(text))

export function drawWith(g: fc.GeneratorValue): Draw {
  const int = (min: number, max: number) => g(fc.integer, { min, max })
  // A few texts that come again and again, so that there are ties to order and matches to find.
  const few = Array.from({ length: 8 }, () => g(() => anyText))
  return {
    int,
    chance: (percent) => int(1, 100) <= percent,
    pick: (list) => list[int(0, list.length - 1)]!,
    some(list, most) {
      const rest = [...list]
      const count = Math.min(int(0, most), rest.length)
      return Array.from({ length: count }, () => rest.splice(int(0, rest.length - 1), 1)[0]!)
    },
    text() {
      const kind = int(1, 4)
      if (kind === 4) return g(() => anyText)
      return few[int(0, few.length - 1)]! + (kind === 3 ? few[int(0, few.length - 1)]! : '')
    },
    json: () => g(documents),
  }
}

/**
 * Checks something for many random choices. A failure is reported with the seed and path that bring it back: pass them
 * as `again`.
 */
export async function withRandomChoices(
  check: (draw: Draw) => Promise<void>,
  options: { readonly runs: number; readonly again?: { readonly seed: number; readonly path: string } },
): Promise<void> {
  const property = fc.asyncProperty(fc.gen(), (g) => check(drawWith(g)))
  await fc.assert(property, {
    numRuns: options.runs,
    ...options.again,
    // Choices follow from each other, so a smaller list of them is another case, not a smaller one.
    endOnFailure: true,
    interruptAfterTimeLimit: 20_000,
    reporter(run) {
      if (run.failed)
        throw new Error(`seed ${run.seed}, path "${run.counterexamplePath}"`, { cause: run.errorInstance })
    },
  })
}

export const tenants = ['demo', 'other'] as const
export const scopeNames = ['s1', 's2'] as const

/** Ids are the same in every tenant, so that nothing but the tenant tells their records apart. */
export const ids = Array.from({ length: 16 }, (_, i) => {
  const digit = ((i * 7) % 16).toString(16)
  return `0190a${digit}00-0000-7000-8${digit}00-00000000000${i.toString(16)}`
})
const instants = ['2025-12-31T23:59:59.999Z', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.001Z'] as const
const integers = [0, 1, -1, 2, 10, 9, 9_007_199_254_740_991, -9_007_199_254_740_991] as const
const reals = [0, 1, -1, 0.1, 0.2, 0.300000000000004, -2.5, 1e-7, 1e15, 123_456_789.125, 1e21] as const
const enums = ['draft', 'live', "it's", 'a"b', 'Ünï', '%', '漢'] as const

export function randomModel(draw: Draw): ModelSpec {
  const names = Array.from({ length: draw.int(2, 4) }, (_, i) => `things${i}`)
  const fieldsByName = new Map(names.map((name) => [name, randomFields(draw, names)]))
  const relationsByName = relationsOf(draw, fieldsByName)
  const resources = names.map((name) => {
    const fields = fieldsByName.get(name) ?? []
    return {
      name,
      fields,
      relations: relationsByName.get(name) ?? [],
      read: randomRule(draw, fields, 2),
      indexes: randomIndexes(draw, fields),
    }
  })
  return { resources }
}

/** Records with one text field, served in full, and a relation from each to itself. */
export function textResource(): { resource: ResourceSpec; field: FieldSpec } {
  const name = 'texts'
  const plain = { nullable: false, values: [], to: null, filterable: false, sortable: false }
  const field: FieldSpec = { ...plain, name: 'f', kind: 'text', filterable: true, sortable: true }
  const fields: FieldSpec[] = [
    { ...plain, name: 'id', kind: 'id' },
    { ...plain, name: 'version', kind: 'integer' },
    { ...plain, name: 'createdAt', kind: 'instant' },
    { ...plain, name: 'updatedAt', kind: 'instant' },
    field,
    { ...plain, name: 'twin', kind: 'id', to: name },
  ]
  const relations: RelationSpec[] = [{ name: 'same', kind: 'hasMany', target: name, column: 'twin' }]
  const indexes = [
    ['f', 'id'],
    ['twin', 'id'],
  ]
  return { resource: { name, fields, relations, read: anyone, indexes }, field }
}

/** A record of `textResource` for each text. */
export function textItems(texts: readonly string[]): Item[] {
  return texts.map((f, i) => {
    const id = `0190b000-0000-7000-8000-${String(i).padStart(12, '0')}`
    return { tenant: 'demo', id, version: 1, createdAt: instants[0], updatedAt: instants[0], f, twin: id }
  })
}

function field(name: string, kind: FieldSpec['kind'], nullable: boolean, draw: Draw): FieldSpec {
  const plain = kind !== 'json'
  return {
    name,
    kind,
    nullable,
    values: kind === 'enum' ? ['draft', ...draw.some(enums.slice(1), 3)] : [],
    to: null,
    filterable: plain && draw.chance(75),
    sortable: plain && !nullable && draw.chance(65),
  }
}

const kinds = ['text', 'text', 'enum', 'integer', 'real', 'boolean', 'instant', 'json'] as const

function randomFields(draw: Draw, names: readonly string[]): FieldSpec[] {
  const own = Array.from({ length: draw.int(1, 5) }, (_, i) => field(`f${i}`, draw.pick(kinds), draw.chance(40), draw))
  const references = Array.from({ length: draw.int(0, 2) }, (_, i) => ({
    ...field(`ref${i}`, 'id', draw.chance(40), draw),
    to: draw.pick(names),
  }))
  return [
    { ...field('id', 'id', false, draw), filterable: true, sortable: true },
    field('version', 'integer', false, draw),
    field('createdAt', 'instant', false, draw),
    { ...field('updatedAt', 'instant', false, draw), filterable: false, sortable: false },
    ...own,
    ...references,
  ]
}

/** Each reference may be followed, forwards, backwards, and across where a resource has two. */
function relationsOf(draw: Draw, fieldsByName: ReadonlyMap<string, FieldSpec[]>): Map<string, RelationSpec[]> {
  const relations = new Map<string, RelationSpec[]>([...fieldsByName.keys()].map((name) => [name, []]))
  const add = (to: string, relation: (name: string) => RelationSpec) => {
    const list = relations.get(to)
    if (list && draw.chance(85)) list.push(relation(`rel${list.length}`))
  }
  for (const [from, fields] of fieldsByName) {
    const references = fields.flatMap((each) => (each.to === null ? [] : [{ column: each.name, to: each.to }]))
    for (const { column, to } of references) {
      add(from, (name) => ({ name, kind: 'belongsTo', target: to, column }))
      add(to, (name) => ({ name, kind: 'hasMany', target: from, column }))
    }
    const [a, b] = references
    if (!a || !b) continue
    add(a.to, (name) => ({
      name,
      kind: 'manyToMany',
      target: b.to,
      through: from,
      near: a.column,
      far: b.column,
    }))
    add(b.to, (name) => ({
      name,
      kind: 'manyToMany',
      target: a.to,
      through: from,
      near: b.column,
      far: a.column,
    }))
  }
  return relations
}

function randomRule(draw: Draw, fields: readonly FieldSpec[], depth: number): Rule {
  const kind = draw.pick(['anyone', 'anyone', 'service', 'scope', 'owner', 'when', 'anyOf', 'allOf'] as const)
  const rules = () => Array.from({ length: draw.int(0, 3) }, () => randomRule(draw, fields, depth - 1))
  const texts = fields.filter((each) => each.kind === 'text' || each.kind === 'id')
  const judged = fields.filter((each) => each.kind !== 'json')
  if (kind === 'service') return service
  if (kind === 'scope') return scope(draw.pick(scopeNames))
  if (kind === 'owner') return owner(draw.pick(texts).name)
  if (kind === 'when') {
    const each = draw.pick(judged)
    const value = randomValue(draw, { ...each, nullable: false }, ids)
    return when(each.name, typeof value === 'boolean' ? Number(value) : (value as string | number))
  }
  if (kind === 'anyOf' && depth > 0) return anyOf(...rules())
  if (kind === 'allOf' && depth > 0) return allOf(...rules())
  return anyone
}

function randomIndexes(draw: Draw, fields: readonly FieldSpec[]): string[][] {
  const plain = fields.filter((each) => each.kind !== 'json' && each.name !== 'id').map((each) => each.name)
  const needed = fields.filter((each) => each.filterable || each.sortable || each.to !== null)
  const single = needed.filter((each) => each.name !== 'id').map((each) => [each.name])
  const several = Array.from({ length: draw.int(0, 3) }, () => draw.some(plain, 3)).filter((each) => each.length > 1)
  return [...single, ...several].map((each) => (draw.chance(70) ? [...each, 'id'] : each))
}

/** A value of the field as JSON carries it. */
export function randomValue(draw: Draw, each: FieldSpec, targets: readonly string[]): unknown {
  if (each.nullable && draw.chance(25)) return null
  switch (each.kind) {
    case 'text':
      return draw.text()
    case 'enum':
      return draw.pick(each.values)
    case 'id':
      return draw.pick(targets)
    case 'integer':
      return draw.pick(integers)
    case 'real':
      return draw.pick(reals)
    case 'boolean':
      return draw.chance(50)
    case 'instant':
      return draw.pick(instants)
    case 'json':
      // A JSON null is no value: the column is null.
      return document(draw, each) ?? (each.nullable ? null : {})
  }
}

/** Names that documents have members of. */
export const memberNames = ['a', 'k', 'language'] as const

function document(draw: Draw, { holds }: FieldSpec): unknown {
  const inside = () =>
    draw.pick<unknown>([draw.text(), draw.pick(integers.slice(0, 6)), draw.chance(50), null, draw.json()])
  if (holds === 'list') return Array.from({ length: draw.int(0, 3) }, inside)
  if (holds === 'object') return Object.fromEntries(draw.some([...memberNames, 'b'], 4).map((name) => [name, inside()]))
  return draw.json()
}

/** Records for each resource in both tenants, by the resource's name. */
export function randomItems(draw: Draw, spec: ModelSpec): Items {
  const idsOf = new Map(
    spec.resources.flatMap(({ name }) =>
      tenants.map((tenant) => [`${tenant} ${name}`, [ids[0]!, ...draw.some(ids.slice(1), 13)]] as const),
    ),
  )
  const items = (name: string, fields: readonly FieldSpec[]) =>
    tenants.flatMap((tenant) =>
      (idsOf.get(`${tenant} ${name}`) ?? []).map((id): Item => {
        const values = fields.map((each) => {
          const targets = idsOf.get(`${tenant} ${each.to}`) ?? ids
          return [each.name, each.name === 'id' ? id : randomValue(draw, each, targets)] as const
        })
        return { ...Object.fromEntries(values), tenant, id }
      }),
    )
  return new Map(spec.resources.map(({ name, fields }) => [name, items(name, fields)]))
}

/** The real declarations of a random model. */
export function declare(spec: ModelSpec, versions = [onlyVersion]): ModelWithTables {
  const tableOf = new Map<string, IdentifiedTable>()
  const table = (name: string) => tableOf.get(name)!
  for (const each of spec.resources) tableOf.set(each.name, declareTable(each, table))
  const resources = spec.resources.map(({ name, fields, relations, read }) =>
    resource(name, table(name), {
      description: 'A random resource.',
      relations: Object.fromEntries(relations.map((each) => [each.name, declareRelation(each, table)])),
      filter: fields.filter((each) => each.filterable).map((each) => each.name) as never[],
      sort: fields.filter((each) => each.sortable).map((each) => each.name) as never[],
      validate: Object.fromEntries(fields.flatMap(({ name, holds }) => (holds ? [[name, holdsSchema[holds]]] : []))),
      access: { read: read as never, write: anyone },
    }),
  )
  const defaultVersion = versions.at(-1)?.date ?? ''
  return { model: buildModel({ title: 'Random', resources, versions, defaultVersion }), tables: [...tableOf.values()] }
}

const onlyVersion = version('2026-11-01', { alias: 'v1', notes: 'The only version.' })
const holdsSchema = { object: z.record(z.string(), z.unknown()), list: z.array(z.unknown()) }

function declareTable(spec: ResourceSpec, table: (name: string) => IdentifiedTable): IdentifiedTable {
  const columns: Record<string, SQLiteColumnBuilderBase> = { ...identity }
  for (const each of spec.fields) if (!(each.name in identity)) columns[each.name] = declareColumn(each)
  return sqliteTable(spec.name, columns, (t) => {
    const column = (name: string) => t[name] as SQLiteColumn
    return [
      primaryKey({ columns: [column('tenant'), column('id')] }),
      ...spec.fields.flatMap(({ name, to }) => {
        if (to === null) return []
        const foreignColumns: [SQLiteColumn, SQLiteColumn] = [table(to).tenant, table(to).id]
        return [foreignKey({ columns: [column('tenant'), column(name)], foreignColumns })]
      }),
      ...spec.indexes.map((fields, i) => index(`${spec.name}_${i}`).on(column('tenant'), ...fields.map(column))),
    ]
  }) as unknown as IdentifiedTable
}

function declareColumn({ kind, nullable, values, fallback }: FieldSpec): SQLiteColumnBuilderBase {
  const column = {
    text: () => text(),
    id: () => text(),
    enum: () => text({ enum: values as [string, ...string[]] }),
    integer: () => integer(),
    real: () => real(),
    boolean: () => integer({ mode: 'boolean' }),
    instant: () => instant(),
    json: () => text({ mode: 'json' }),
  }[kind]()
  const told = fallback === undefined ? column : column.default(fallback as never)
  return nullable ? told : told.notNull()
}

function declareRelation(each: RelationSpec, table: (name: string) => IdentifiedTable) {
  const target = () => table(each.target)
  if (each.kind === 'belongsTo') return belongsTo(target, each.column) as never
  if (each.kind === 'hasMany') return hasMany(target, each.column as never)
  return manyToMany(target, () => table(each.through), each.near as never, each.far as never)
}

/** Writes the records into the database, past the API. */
export function insertItems(file: string, spec: ModelSpec, items: Items) {
  const database = new Database(file, { strict: true })
  database.run('PRAGMA synchronous = OFF')
  database.transaction(() => {
    for (const { name, fields } of spec.resources) {
      const columns = ['tenant', ...fields.map((each) => each.name)]
      const insert = database.prepare(
        `insert into "${name}"(${columns.map((each) => `"${each}"`).join(', ')}) values (${columns.map(() => '?').join(', ')})`,
      )
      for (const item of items.get(name) ?? [])
        insert.run(item.tenant, ...fields.map((each) => storedValue(each, item[each.name])))
    }
  })()
  database.close()
}

export function storedValue({ kind }: FieldSpec, value: unknown): string | number | null {
  if (value === null || value === undefined) return null
  if (kind === 'json') return JSON.stringify(value)
  return typeof value === 'boolean' ? Number(value) : (value as string | number)
}
