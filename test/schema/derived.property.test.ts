import type { Database } from 'bun:sqlite'
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { foreignKey, index, integer, primaryKey, real, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import fc from 'fast-check'
import { type Derived, driftSql, fanoutStepSql } from '../../src/schema/derived.ts'
import {
  anyone,
  belongsTo,
  buildModel,
  copy,
  count,
  hasMany,
  identity,
  instant,
  max,
  resource,
  service,
  sum,
  version,
} from '../../src/schema/index.ts'
import type { Value } from '../../src/value.ts'
import { databaseCopies } from '../support/raw.ts'

setDefaultTimeout(60_000)

/**
 * Whatever raw SQL does to the tables, in whatever order: the derived columns are their truth, the log tells the whole
 * story, and the heads are where the log is. The truth is told twice: by the model's own SQL and by an oracle here that
 * knows nothing of it.
 */
const owners = sqliteTable(
  'owners',
  {
    ...identity,
    code: integer(),
    name: text().notNull(),
    label: text(),
    itemCount: integer().notNull().default(0),
    wordSum: integer().notNull().default(0),
    lastItemAt: instant(),
    editedCount: integer().notNull().default(0),
    bestScore: real(),
  },
  (t) => [primaryKey({ columns: [t.tenant, t.id] }), uniqueIndex('owners_by_code').on(t.tenant, t.code)],
)
const items = sqliteTable(
  'items',
  {
    ...identity,
    ownerId: text().notNull(),
    editorId: text(),
    title: text().notNull(),
    words: integer(),
    ownerName: text().notNull().default(''),
    editorLabel: text(),
    noteCount: integer().notNull().default(0),
    pointSum: integer().notNull().default(0),
    topRank: integer(),
  },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.ownerId], foreignColumns: [owners.tenant, owners.id] }).onDelete('cascade'),
    foreignKey({ columns: [t.tenant, t.editorId], foreignColumns: [owners.tenant, owners.id] }),
    index('items_by_owner').on(t.tenant, t.ownerId, t.id),
    index('items_latest').on(t.tenant, t.ownerId, t.createdAt),
    index('items_by_editor').on(t.tenant, t.editorId, t.id),
  ],
)
const notes = sqliteTable(
  'notes',
  {
    ...identity,
    itemId: text().notNull(),
    authorId: text(),
    points: integer().notNull().default(0),
    rank: integer(),
    score: real(),
    itemTitle: text().notNull().default(''),
    authorName: text(),
  },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.itemId], foreignColumns: [items.tenant, items.id] }).onDelete('cascade'),
    foreignKey({ columns: [t.tenant, t.authorId], foreignColumns: [owners.tenant, owners.id] }),
    index('notes_by_item').on(t.tenant, t.itemId, t.id),
    index('notes_top').on(t.tenant, t.itemId, t.rank),
    index('notes_by_author').on(t.tenant, t.authorId, t.id),
    index('notes_best').on(t.tenant, t.authorId, t.score),
  ],
)
const access = { read: anyone, write: service }
const model = buildModel({
  title: 'Three tables that follow one another',
  versions: [version('2026-01-01', { alias: 'v1', notes: 'The first.' })],
  resources: [
    resource('owners', owners, {
      description: 'Owners.',
      relations: {
        items: hasMany(() => items, 'ownerId'),
        edited: hasMany(() => items, 'editorId'),
        notes: hasMany(() => notes, 'authorId'),
      },
      derived: {
        itemCount: count('items'),
        wordSum: sum('items', 'words'),
        lastItemAt: max('items', 'createdAt'),
        editedCount: count('edited'),
        bestScore: max('notes', 'score'),
      },
      access,
    }),
    resource('items', items, {
      description: 'Items.',
      relations: {
        owner: belongsTo(() => owners, 'ownerId'),
        editor: belongsTo(() => owners, 'editorId'),
        notes: hasMany(() => notes, 'itemId'),
      },
      derived: {
        ownerName: copy('owner', 'name', { fanoutRowsMax: 2 }),
        editorLabel: copy('editor', 'label'),
        noteCount: count('notes'),
        pointSum: sum('notes', 'points'),
        topRank: max('notes', 'rank'),
      },
      access,
    }),
    resource('notes', notes, {
      description: 'Notes.',
      relations: { item: belongsTo(() => items, 'itemId'), author: belongsTo(() => owners, 'authorId') },
      derived: {
        itemTitle: copy('item', 'title', { fanoutRowsMax: 1 }),
        authorName: copy('author', 'name', { fanoutRowsMax: 1 }),
      },
      access,
    }),
  ],
})

type Table = 'owners' | 'items' | 'notes'
type Values = Readonly<Record<string, Value>>
type Row = Record<string, Value>
type Rows = Record<Table, Row[]>

const tables = ['owners', 'items', 'notes'] as const
const allDerived = [...model.resources.values()].flatMap((each) => [...each.derived.values()])

/** What each derived column must be, told by hand. */
const oracle: Record<string, (row: Row, all: Rows) => Value> = {
  'owners.itemCount': (row, { items }) => items.filter(refersTo(row, 'ownerId')).length,
  'owners.wordSum': (row, { items }) => total(items.filter(refersTo(row, 'ownerId')), 'words'),
  'owners.lastItemAt': (row, { items }) => greatest(items.filter(refersTo(row, 'ownerId')), 'createdAt'),
  'owners.editedCount': (row, { items }) => items.filter(refersTo(row, 'editorId')).length,
  'owners.bestScore': (row, { notes }) => greatest(notes.filter(refersTo(row, 'authorId')), 'score'),
  'items.ownerName': (row, { owners }) => owners.find(isReferredBy(row, 'ownerId'))?.name ?? null,
  'items.editorLabel': (row, { owners }) => owners.find(isReferredBy(row, 'editorId'))?.label ?? null,
  'items.noteCount': (row, { notes }) => notes.filter(refersTo(row, 'itemId')).length,
  'items.pointSum': (row, { notes }) => total(notes.filter(refersTo(row, 'itemId')), 'points'),
  'items.topRank': (row, { notes }) => greatest(notes.filter(refersTo(row, 'itemId')), 'rank'),
  'notes.itemTitle': (row, { items }) => items.find(isReferredBy(row, 'itemId'))?.title ?? null,
  'notes.authorName': (row, { owners }) => owners.find(isReferredBy(row, 'authorId'))?.name ?? null,
}
const refersTo = (to: Row, link: string) => (row: Row) => row.tenant === to.tenant && row[link] === to.id
const isReferredBy = (from: Row, link: string) => (row: Row) => row.tenant === from.tenant && row.id === from[link]
const total = (rows: Row[], field: string) => rows.reduce((so, row) => so + Number(row[field] ?? 0), 0)
const greatest = (rows: Row[], field: string): Value => {
  const values = rows.map((row) => row[field] ?? null).filter((value) => value !== null)
  return values.reduce<Value>((most, value) => (most === null || value > most ? value : most), null)
}

/** One SQL statement, as data, so that a failing sequence can be read. */
type Statement =
  | { do: 'insert'; into: Table; rows: Values[]; or: 'abort' | 'ignore' | 'replace' | 'update' }
  | { do: 'update'; table: Table; tenant: string; ids: string[]; set: Values; or: 'abort' | 'ignore' }
  | { do: 'swap'; table: Table; field: string; tenant: string }
  | { do: 'delete'; table: Table; tenant: string; ids: string[] }
interface Transaction {
  readonly statements: Statement[]
  readonly ends: 'commit' | 'rollback' | 'none'
  readonly deferred: boolean
}

const ids = { owners: ['o1', 'o2', 'o3'], items: ['i1', 'i2', 'i3', 'i4', 'i5'], notes: ['n1', 'n2', 'n3', 'n4'] }
const oneOf = <const T>(...values: readonly T[]) => fc.constantFrom(...values)
const time = oneOf('2026-01-01T00:00:00.000Z', '2026-01-02T00:00:00.000Z', '2026-01-03T00:00:00.000Z')
const number = oneOf(0, 1, 2, 7, -3)
const maybeNumber = oneOf<number | null>(0, 1, 2, 7, -3, null)
const words = oneOf('x', 'y', 'z', "it's")
const written: Record<Table, Record<string, fc.Arbitrary<Value>>> = {
  owners: { createdAt: time, updatedAt: time, code: oneOf(null, 1, 2), name: words, label: oneOf(null, 'x', 'y') },
  items: {
    createdAt: time,
    updatedAt: time,
    ownerId: oneOf(...ids.owners),
    editorId: oneOf(null, ...ids.owners),
    title: words,
    words: maybeNumber,
  },
  notes: {
    createdAt: time,
    updatedAt: time,
    itemId: oneOf(...ids.items),
    authorId: oneOf(null, ...ids.owners),
    points: number,
    rank: maybeNumber,
    score: oneOf(null, 0.5, 1.25, -2),
  },
}
/** Columns that only the engine should write, written all the same. */
const meddled: Record<Table, Record<string, fc.Arbitrary<Value>>> = {
  owners: { itemCount: number, wordSum: number, lastItemAt: oneOf(null, 'never'), bestScore: oneOf(null, 99) },
  items: { ownerName: words, editorLabel: words, noteCount: number, pointSum: number, topRank: maybeNumber },
  notes: { itemTitle: words, authorName: words, version: oneOf(1, 5, 40) },
}

const some = (of: readonly string[]) => fc.uniqueArray(oneOf(...of), { minLength: 1, maxLength: 3 })
const tenant = oneOf('a', 'b')
const table = oneOf<Table>(...tables)

function rowOf(into: Table): fc.Arbitrary<Values> {
  return fc
    .tuple(tenant, oneOf(...ids[into]), fc.record(written[into]), meddling(into))
    .map(([tenant, id, row, more]) => ({ tenant, id, ...row, ...more }))
}
/** Now and then, columns that a writer should leave alone. */
function meddling(into: Table): fc.Arbitrary<Values> {
  const some = fc.record(meddled[into], { requiredKeys: [] }) as fc.Arbitrary<Values>
  return fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: some })
}
function changesOf(name: Table): fc.Arbitrary<Values> {
  const some = fc.record(written[name], { requiredKeys: [] }) as fc.Arbitrary<Values>
  return fc
    .tuple(some, meddling(name))
    .map(([set, more]) => ({ ...set, ...more }))
    .filter((set) => Object.keys(set).length > 0)
}

function statement(recursive: boolean): fc.Arbitrary<Statement> {
  const insert = table.chain((into) =>
    fc
      .tuple(
        fc.array(rowOf(into), { minLength: 1, maxLength: 4 }),
        oneOf('abort', 'abort', 'ignore', 'update', recursive ? 'replace' : 'update'),
      )
      .map(([rows, or]): Statement => ({ do: 'insert', into, rows, or })),
  )
  const update = table.chain((name) =>
    fc
      .tuple(tenant, some(ids[name]), changesOf(name), oneOf('abort', 'abort', 'ignore'))
      .map(([tenant, ids, set, or]): Statement => ({ do: 'update', table: name, tenant, ids, set, or })),
  )
  const swap = fc
    .tuple(oneOf('ownerId', 'editorId'), tenant)
    .map(([field, tenant]): Statement => ({ do: 'swap', table: 'items', field, tenant }))
  const remove = table.chain((name) =>
    fc.tuple(tenant, some(ids[name])).map(([tenant, ids]): Statement => ({ do: 'delete', table: name, tenant, ids })),
  )
  return fc.oneof(
    { weight: 5, arbitrary: insert },
    { weight: 5, arbitrary: update },
    { weight: 1, arbitrary: swap },
    { weight: 2, arbitrary: remove },
  )
}

/** Most records are there from the start, so that what follows meets them; some ids are left for later inserts. */
function seed(): fc.Arbitrary<Statement[]> {
  const start = { owners: ids.owners.slice(0, 2), items: ids.items.slice(0, 4), notes: ids.notes.slice(0, 3) }
  return fc
    .tuple(...tables.map((into) => fc.array(fc.record(startOf(into)), rowsOfEach(start[into].length * 2))))
    .map((lists) =>
      lists.map((rows, i): Statement => {
        const into = tables[i] ?? 'owners'
        const keyed = rows.map((row, n) => ({
          ...row,
          tenant: n % 2 === 0 ? 'a' : 'b',
          id: start[into][n >> 1] ?? '',
        }))
        return { do: 'insert', into, rows: keyed as Values[], or: 'abort' }
      }),
    )
}
const rowsOfEach = (length: number) => ({ minLength: length, maxLength: length })
const startOf = (into: Table) => {
  const links = { ownerId: oneOf('o1', 'o2'), editorId: oneOf(null, 'o1', 'o2') }
  const starts = {
    owners: { code: fc.constant(null) },
    items: links,
    notes: { itemId: oneOf('i1', 'i2', 'i3', 'i4'), authorId: links.editorId },
  }
  return { ...written[into], ...starts[into] } as Record<string, fc.Arbitrary<Value>>
}

function history(recursive: boolean): fc.Arbitrary<Transaction[]> {
  const transaction = fc
    .tuple(
      fc.array(statement(recursive), { minLength: 1, maxLength: 5 }),
      oneOf('none', 'none', 'commit', 'commit', 'rollback'),
      fc.boolean(),
    )
    .map(([statements, ends, deferred]): Transaction => ({ statements, ends, deferred }))
  return fc
    .tuple(seed(), fc.array(transaction, { minLength: 1, maxLength: 8 }))
    .map(([statements, rest]) => [{ statements, ends: 'commit', deferred: false }, ...rest])
}

function sqlOf(statement: Statement): { sql: string; args: Value[] } {
  const inList = (list: readonly unknown[]) => list.map(() => '?').join(', ')
  switch (statement.do) {
    case 'insert': {
      const columns = [...new Set(statement.rows.flatMap((row) => Object.keys(row)))]
      const fallback = (column: string) => model.resources.get(statement.into)?.fields.get(column)?.fallback ?? null
      const rows = statement.rows.map((row) =>
        columns.map((column) => row[column] ?? (column in row ? null : fallback(column))),
      )
      const how = { abort: '', update: '', ignore: ' or ignore', replace: ' or replace' }[statement.or]
      const sets = Object.keys(written[statement.into]).map((column) => `"${column}" = excluded."${column}"`)
      const then = statement.or === 'update' ? ` on conflict(tenant, id) do update set ${sets.join(', ')}` : ''
      return {
        sql: `insert${how} into ${statement.into}(${columns.map((column) => `"${column}"`).join(', ')}) values ${rows.map((row) => `(${inList(row)})`).join(', ')}${then}`,
        args: rows.flat(),
      }
    }
    case 'update': {
      const sets = Object.keys(statement.set).map((column) => `"${column}" = ?`)
      const how = statement.or === 'ignore' ? ' or ignore' : ''
      return {
        sql: `update${how} ${statement.table} set ${sets.join(', ')} where tenant = ? and id in (${inList(statement.ids)})`,
        args: [...Object.values(statement.set), statement.tenant, ...statement.ids],
      }
    }
    case 'swap':
      return {
        sql: `update ${statement.table} set ${statement.field} = case ${statement.field} when 'o1' then 'o2' when 'o2' then 'o1' else ${statement.field} end where tenant = ?`,
        args: [statement.tenant],
      }
    case 'delete':
      return {
        sql: `delete from ${statement.table} where tenant = ? and id in (${inList(statement.ids)})`,
        args: [statement.tenant, ...statement.ids],
      }
  }
}

/** Runs a statement; one that a constraint refuses leaves nothing, as in any program that goes on after it. */
function run(database: Database, sql: string, args: readonly Value[] = []): boolean {
  try {
    database.query(sql).run(...args)
    return true
  } catch (error) {
    if (String((error as { code?: unknown }).code).startsWith('SQLITE_CONSTRAINT')) return false
    throw error
  }
}

function runTransaction(database: Database, { statements, ends, deferred }: Transaction) {
  if (ends !== 'none') database.run('begin')
  if (ends !== 'none' && deferred) database.run('pragma defer_foreign_keys = on')
  for (const statement of statements) {
    const { sql, args } = sqlOf(statement)
    run(database, sql, args)
  }
  if (ends === 'rollback' || (ends === 'commit' && !run(database, 'commit'))) database.run('rollback')
}

function rowsOf(database: Database): Rows {
  const of = (name: Table) => database.query(`select * from ${name} order by tenant, id`).all() as Row[]
  return { owners: of('owners'), items: of('items'), notes: of('notes') }
}

interface Change {
  seq: number
  tenant: string
  resource: Table
  id: string
  operation: 'create' | 'update' | 'delete'
  version: number
  image: string | null
  changed: string | null
}

/** Replays the log from its beginning, holding each change against the one before of the same record. */
function replay(database: Database) {
  const changes = database.query('select * from changes order by seq').all() as Change[]
  const records = new Map<string, { image: Row | null; version: number }>()
  const heads: Record<string, { seq: number; rows: number }> = {}
  const faults: string[] = []
  for (const [i, change] of changes.entries()) {
    const { seq, tenant, resource, id, operation, version } = change
    const last = records.get(`${resource} ${tenant} ${id}`) ?? { image: null, version: 0 }
    const image = change.image === null ? null : (JSON.parse(change.image) as Row)
    const changed = operation === 'update' ? JSON.stringify(difference(last.image, image)) : null
    const holds = {
      'is numbered without a gap': seq === i + 1,
      'begins what was not there, and nothing else': (operation === 'create') === (last.image === null),
      'counts on': operation === 'create' ? version > last.version : version === last.version + 1,
      'has an image unless it is an end': (operation === 'delete') === (image === null),
      'has the image of its own record': image === null || (image.id === id && image.version === version),
      'names what changed': change.changed === changed,
    }
    for (const [promise, kept] of Object.entries(holds)) if (!kept) faults.push(`${JSON.stringify(change)}: ${promise}`)
    records.set(`${resource} ${tenant} ${id}`, { image, version })
    const rows = (heads[`${tenant} ${resource}`]?.rows ?? 0) + { create: 1, update: 0, delete: -1 }[operation]
    heads[`${tenant} ${resource}`] = { seq, rows }
  }
  return { records, heads, faults }
}

function difference(before: Row | null, after: Row | null): string[] {
  const names = Object.keys(after ?? {}).filter((name) => name !== 'version' && name !== 'updatedAt')
  return names.filter((name) => before?.[name] !== after?.[name])
}

function expectLogIsTrue(database: Database, rows: Rows) {
  const { records, heads, faults } = replay(database)
  expect(faults).toEqual([])
  const told = [...records].filter(([, { image }]) => image !== null).map(([key, { image }]) => [key, image])
  const found = tables.flatMap((name) =>
    rows[name].map(({ tenant, ...fields }) => [`${name} ${tenant} ${fields.id}`, fields]),
  )
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(found))
  const kept = database.query('select tenant, resource, seq, rows from heads').all() as (Change & { rows: number })[]
  expect(
    Object.fromEntries(kept.map(({ tenant, resource, seq, rows }) => [`${tenant} ${resource}`, { seq, rows }])),
  ).toEqual(heads)
}

/** Derived columns that are not what the oracle says, those apart that are queued. */
function wrongColumns(database: Database, rows: Rows): string[] {
  const queued = database.query('select tenant, source, target, field from fanout').all() as Row[]
  const isQueued = (d: Derived, row: Row) =>
    queued.some(
      (job) =>
        job.tenant === row.tenant && job.source === row[d.link] && job.target === d.holder && job.field === d.column,
    )
  return allDerived.flatMap((d) =>
    rows[d.holder as Table]
      .filter((row) => !isQueued(d, row) && row[d.column] !== oracle[`${d.holder}.${d.column}`]?.(row, rows))
      .map((row) => `${d.holder}.${d.column} of ${row.tenant} ${row.id}: ${row[d.column]}`),
  )
}

/** Runs the queue dry and tells the most rows that one step changed beyond its bound. */
function drain(database: Database): number {
  let excess = 0
  for (let steps = 0; ; steps++) {
    const job = database.query('select id, target, field from fanout order by id').get() as Row | null
    if (!job) return excess
    expect(steps).toBeLessThan(1_000)
    const d = allDerived.find((each) => each.holder === job.target && each.column === job.field)
    if (!d) throw new Error(`queued for no derived column: ${JSON.stringify(job)}`)
    const before = (database.query('select count(*) as n from changes').get() as { n: number }).n
    for (const sql of fanoutStepSql(d)) database.query(sql).run(job.id ?? null)
    const after = (database.query('select count(*) as n from changes').get() as { n: number }).n
    excess = Math.max(excess, after - before - d.fanoutRowsMax)
  }
}

describe.each([false, true])('whatever raw SQL does, with recursive triggers %p', (recursive) => {
  let open: () => Database
  beforeAll(async () => {
    open = await databaseCopies(model, [owners, items, notes])
  })

  test('derived columns, versions, log and heads are true', () => {
    fc.assert(
      fc.property(history(recursive), (transactions) => {
        using database = open()
        database.run(`pragma recursive_triggers = ${recursive ? 'on' : 'off'}`)
        for (const transaction of transactions) {
          runTransaction(database, transaction)
          expect(wrongColumns(database, rowsOf(database))).toEqual([])
        }
        expectLogIsTrue(database, rowsOf(database))
        expect(drain(database)).toBeLessThanOrEqual(0)
        const rows = rowsOf(database)
        expect(wrongColumns(database, rows)).toEqual([])
        expectLogIsTrue(database, rows)
        for (const d of allDerived) expect(database.query(driftSql(d)).all('', '', 10)).toEqual([])
      }),
      { numRuns: 75 },
    )
  })
})
