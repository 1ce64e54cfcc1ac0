import { Database } from 'bun:sqlite'
import { fileStore } from '../../src/entry/file-store.ts'
import { createKey } from '../../src/entry/keys.ts'
import { openNode } from '../../src/entry/node.ts'
import { openApi } from '../../src/entry/open-api.ts'
import { createApp } from '../../src/http/app.ts'
import { Metrics } from '../../src/http/metrics.ts'
import type { TenantId } from '../../src/schema/access.ts'
import { evaluate } from '../../src/schema/evaluate.ts'
import { anyone } from '../../src/schema/index.ts'
import type { Model } from '../../src/schema/model.ts'
import type { ShapeField } from '../../src/schema/shape.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import type { Json } from '../../src/value.ts'
import { filterColumn, sortColumn } from '../../src/version/asking.ts'
import { buildViews, type ResourceView, type View } from '../../src/version/view.ts'
import { makeDatabase } from './database.ts'
import { type CallerSpec, Oracle } from './oracle.ts'
import { type LensChoice, randomVersions, tameInteger } from './random-lenses.ts'
import {
  type Draw,
  declare,
  type FieldSpec,
  type Item,
  type Items,
  insertItems,
  type ModelSpec,
  type ResourceSpec,
  randomItems,
  randomModel,
} from './random-model.ts'
import type { World } from './random-world.ts'
import { temporaryFolder } from './server.ts'
import { noTargets } from './targets.ts'

/** A random model with a random history of versions, served over a database of random records. */
export interface VersionWorld {
  readonly model: Model
  /** One view for each version, the oldest first. */
  readonly views: readonly View[]
  readonly items: Items
  /** The model and its records as a version shows them, and what lists must answer there. */
  at(view: View): Pick<World, 'spec' | 'items' | 'oracle' | 'get'>
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<VersionAnswer>
  /** The row of a record, as JSON carries its columns; null where there is none. */
  row(resource: string, id: string): Row | null
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of many shapes.
export type VersionAnswer = { status: number; body: any; links: Readonly<Record<string, string>>; headers: Headers }
export type Row = Readonly<Record<string, Json>>

/** Whoever asks: every record may be read and written, so that versions are all that differs. */
export const service: CallerSpec = { kind: 'service', tenant: 'demo', scopes: [], subject: null }

export async function inVersionWorld(
  draw: Draw,
  choice: LensChoice,
  visit: (world: VersionWorld) => Promise<void>,
): Promise<void> {
  const spec = openModel(draw)
  const items = tamed(spec, randomItems(draw, spec))
  const plain = declare(spec)
  const declared = declare(spec, randomVersions(draw, plain.model.resources, choice))
  const folder = temporaryFolder()
  const file = await makeDatabase(folder.path, declared)
  insertItems(file, spec, items)
  const { model } = declared
  const node = await openNode(fileStore(folder.path, bunSqlite), model, (error) => {
    throw error
  })
  const faults: unknown[] = []
  const app = createApp({
    ...node,
    now: Date.now,
    elapsed: () => performance.now(),
    metrics: new Metrics(() => performance.now()),
    publicTenant: 'demo' as TenantId,
    allowedOrigins: new Set(),
    region: 'test',
    unready: () => null,
    openApi,
    docsScript: async () => new Response(''),
    targets: noTargets,
    onFault: (error) => void faults.push(error),
  })
  const { key } = await createKey(node.primary, {
    tenant: 'demo',
    scopes: ['read', 'write'],
    subject: null,
    version: null,
  })
  const database = new Database(file, { strict: true })
  const call: VersionWorld['call'] = async (method, path, body, headers = {}) => {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
    const response = await app.fetch(
      new Request(`http://perigee.test${path}`, {
        method,
        headers: { Host: 'perigee.test', Authorization: `Bearer ${key}`, 'Content-Type': type, ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    )
    const text = await response.text()
    if (faults.length > 0) throw new Error(`${method} ${path} ${JSON.stringify(body)}`, { cause: faults[0] })
    const targets = [...(response.headers.get('link') ?? '').matchAll(/<([^>]*)>; rel="(\w+)"/g)]
    const links = Object.fromEntries(targets.map(([, target = '', relation = '']) => [relation, target]))
    return { status: response.status, body: text === '' ? null : JSON.parse(text), links, headers: response.headers }
  }
  const byDate = buildViews(model)
  const views = model.versions.map(({ date }) => byDate.get(date)!)
  try {
    await visit({
      ...{ model, views, items, call },
      at: (view) => atVersion(view, spec, items, (path) => call('GET', path)),
      row: (name, id) => rowOf(database, spec.resources.find((each) => each.name === name)!, id),
    })
  } catch (error) {
    const lenses = model.versions.map((each) => [each.alias, each.lenses])
    throw new Error(`with the lenses ${JSON.stringify(lenses)}`, { cause: error })
  } finally {
    database.close()
    await node.close()
    folder.remove()
  }
}

function openModel(draw: Draw): ModelSpec {
  const { resources } = randomModel(draw)
  const withMore = (field: FieldSpec): FieldSpec => {
    if (field.kind === 'json') {
      const holds = draw.pick(['object', 'list', null] as const)
      return holds === null
        ? field
        : { ...field, holds, ...(draw.chance(40) && { fallback: holds === 'list' ? ['x', 1] : { a: 'x', b: 1 } }) }
    }
    const fallback = {
      text: 'Ada Lovelace',
      enum: field.values[0],
      integer: 7,
      real: 0.5,
      boolean: true,
      id: null,
      instant: null,
    }[field.kind]
    return fallback !== null && /^f\d/.test(field.name) && draw.chance(40) ? { ...field, fallback } : field
  }
  return { resources: resources.map((each) => ({ ...each, read: anyone, fields: each.fields.map(withMore) })) }
}

function tamed(spec: ModelSpec, items: Items): Items {
  const tame = (kind: FieldSpec['kind'], value: unknown) =>
    kind === 'integer' && typeof value === 'number' ? tameInteger(value) : value
  return new Map(
    spec.resources.map(({ name, fields }) => [
      name,
      (items.get(name) ?? []).map((item): Item => {
        const values = fields.map((each) => [each.name, tame(each.kind, item[each.name])] as const)
        return { ...item, ...Object.fromEntries(values), version: 1 }
      }),
    ]),
  )
}

/** A record as a version shows it, by the plain interpreter. */
export function shownAt({ fields }: ResourceView, row: Readonly<Record<string, unknown>>): Record<string, Json> {
  const show = ({ read }: ShapeField) =>
    evaluate(read, (leaf) => {
      if (leaf.op !== 'column') throw new Error(`a row has no ${leaf.op}`)
      return row[leaf.name] as Json
    })
  return Object.fromEntries([...fields.values()].map((field) => [field.name, show(field)]))
}

/** What the tables have, beside what a version shows of it, so that relations are followed whatever they are called. */
const hidden = (column: string) => `column ${column}`

function atVersion(view: View, spec: ModelSpec, items: Items, get: (path: string) => Promise<VersionAnswer>) {
  const views = spec.resources.map(
    ({ name }) => [...view.resources.values()].find((each) => each.resource.name === name)!,
  )
  const publicName = (name: string) => views.find((each) => each.resource.name === name)!.name
  const resources = views.map((each): ResourceSpec => {
    const relations = [...each.relations].map(([name, relation]) => {
      const target = publicName(relation.target)
      if (relation.kind !== 'manyToMany') return { ...relation, name, target, column: hidden(relation.column) }
      const [through, near, far] = [publicName(relation.through), hidden(relation.near), hidden(relation.far)]
      return { ...relation, name, target, through, near, far }
    })
    const fields = [...each.fields.values()].map((field) => fieldSpec(each, field))
    return { name: each.name, fields, relations, read: anyone, indexes: [] }
  })
  const versionItems: Items = new Map(
    views.map((each) => [
      each.name,
      (items.get(each.resource.name) ?? []).map((item) => ({
        ...Object.fromEntries(Object.entries(item).map(([name, found]) => [hidden(name), found])),
        ...shownAt(each, item),
        ...{ tenant: item.tenant, id: item.id },
      })),
    ]),
  )
  const versionSpec = { resources }
  return {
    ...{ spec: versionSpec, items: versionItems, oracle: new Oracle(versionSpec, versionItems) },
    get: (_: CallerSpec, path: string) => get(path),
  }
}

function fieldSpec(view: ResourceView, field: ShapeField): FieldSpec {
  const { name, kind, nullable, values } = field
  return {
    ...{ name, kind, nullable, values, to: null },
    filterable: filterColumn(view, field) !== null,
    sortable: sortColumn(view, field) !== null,
    isMapped: field.column?.isSame === false,
  }
}

function rowOf(database: Database, { name, fields }: ResourceSpec, id: string): Row | null {
  const row = database
    .query<Record<string, string | number | null>, [string]>(`select * from "${name}" where tenant = 'demo' and id = ?`)
    .get(id)
  if (!row) return null
  const json = (kind: FieldSpec['kind'], value: string | number | null | undefined): Json => {
    if (value === null || value === undefined) return null
    if (kind === 'boolean') return value === 1
    return kind === 'json' ? JSON.parse(String(value)) : value
  }
  return Object.fromEntries(fields.map((each) => [each.name, json(each.kind, row[each.name])]))
}
