import type { Database } from 'bun:sqlite'
import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { foreignKey, index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import fc from 'fast-check'
import { arrivals } from '../../src/entry/made.ts'
import { modelTriggers } from '../../src/entry/triggers.ts'
import { backfillSql, driftSql } from '../../src/schema/derived.ts'
import {
  anyone,
  atFirstSpace,
  belongsTo,
  buildModel,
  convert,
  copy,
  count,
  hasMany,
  identity,
  join,
  over,
  remove,
  rename,
  resource,
  rounded,
  split,
  sum,
  times,
  value,
  version,
} from '../../src/schema/index.ts'
import { backfilled, backfillStepSql } from '../../src/version/retiring-sql.ts'
import { sqlViews } from '../../src/version/sql-views.ts'
import { databaseCopies } from '../support/raw.ts'

setDefaultTimeout(60_000)

/**
 * Two releases on one database. The old one knows people by a name, a place in two parts, minutes, a nickname and a flag,
 * and how many a team has; the new one by a name in two parts, a place, seconds, an alias and no flag, and calls how many
 * a team has otherwise. Derived columns read both sides.
 */
const oldPeople = {
  name: text().notNull(),
  city: text(),
  country: text(),
  minutes: integer().notNull().default(0),
  nick: text(),
  isOdd: integer({ mode: 'boolean' }).notNull(),
}
const newPeople = {
  given: text().notNull().default(''),
  family: text(),
  place: text(),
  seconds: integer().notNull().default(0),
  alias: text(),
}

/** The tables with the columns that a release declares. */
function tablesWith<C extends object>(columns: C, ofTeams: object, ofPets: object) {
  const teams = sqliteTable('teams', { ...identity, ...ofTeams }, (t) => [primaryKey({ columns: [t.tenant, t.id] })])
  const people = sqliteTable('people', { ...identity, teamId: text().notNull(), ...columns }, (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.teamId], foreignColumns: [teams.tenant, teams.id] }).onDelete('cascade'),
    index('people_by_team').on(t.tenant, t.teamId, t.id),
  ])
  const pets = sqliteTable('pets', { ...identity, ownerId: text().notNull(), ...ofPets }, (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.ownerId], foreignColumns: [people.tenant, people.id] }).onDelete('cascade'),
    index('pets_by_owner').on(t.tenant, t.ownerId, t.id),
  ])
  return { teams, people, pets }
}

const number = () => integer().notNull().default(0)
const words = () => text().notNull().default('')
const oldTables = tablesWith(oldPeople, { size: number() }, { ownerName: words() })
const bothTables = tablesWith(
  { ...oldPeople, ...newPeople },
  { size: number(), members: number(), seconds: number() },
  { ownerName: words(), ownerGiven: words() },
)

const open = { description: 'Some.', access: { read: anyone, write: anyone } }
const first = version('2026-01-01', { alias: 'v1', notes: '' })

function modelOf(
  { teams, people, pets }: typeof oldTables,
  derived: { readonly teams: object; readonly pets: object },
  versions: readonly ReturnType<typeof version>[],
) {
  const relations = { people: hasMany(() => people, 'teamId' as never) }
  return buildModel({
    title: 'Two releases',
    resources: [
      resource('teams', teams, { ...open, relations, derived: derived.teams } as never),
      resource('people', people, { ...open, relations: { team: belongsTo(() => teams, 'teamId' as never) } } as never),
      resource('pets', pets, {
        ...open,
        relations: { owner: belongsTo(() => people, 'ownerId' as never) },
        derived: derived.pets,
      } as never),
    ],
    versions,
    defaultVersion: '2026-01-01',
  })
}

const oldModel = modelOf(oldTables, { teams: { size: count('people') }, pets: { ownerName: copy('owner', 'name') } }, [
  first,
])
const model = modelOf(
  bothTables as never,
  {
    teams: { members: count('people'), seconds: sum('people', 'seconds') },
    pets: { ownerName: copy('owner', 'name'), ownerGiven: copy('owner', 'given') },
  },
  [
    first,
    version(
      '2026-02-01',
      { alias: 'v2', notes: '' },
      {
        teams: [rename('size', 'members')],
        people: [
          split('name', ['given', 'family'], atFirstSpace),
          join(['city', 'country'], 'place', atFirstSpace),
          rename('minutes', 'seconds'),
          convert(
            'seconds',
            { kind: 'integer' },
            { toOld: rounded(over(value, 60)), toNew: times(value, 60), loses: 'Seconds beside whole minutes.' },
          ),
          rename('nick', 'alias'),
          remove('isOdd', { kind: 'boolean' }, { stands: false }),
        ],
      },
    ),
  ],
)

type Row = Record<string, string | number | null>

/** What either side makes of the other, told anew. */
const cut = (text: string | null) => {
  if (text === null) return [null, null]
  const at = text.indexOf(' ')
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)]
}
const glued = (a: unknown, b: unknown) => (b === null ? a : `${a ?? ''} ${b}`)
const sides: readonly {
  readonly old: readonly string[]
  readonly now: readonly string[]
  readonly toNew: (...old: never[]) => unknown[]
  readonly toOld: (...now: never[]) => unknown[]
}[] = [
  { old: ['name'], now: ['given', 'family'], toNew: cut, toOld: (a, b) => [glued(a, b)] },
  { old: ['city', 'country'], now: ['place'], toNew: (a, b) => [glued(a, b)], toOld: cut },
  { old: ['minutes'], now: ['seconds'], toNew: (m) => [m * 60], toOld: (s) => [Math.round(s / 60)] },
  { old: ['nick'], now: ['alias'], toNew: (a) => [a], toOld: (a) => [a] },
]

const valuesOf = (row: Row, names: readonly string[]) => names.map((name) => row[name] ?? null) as never[]
const isSame = (a: readonly unknown[], b: readonly unknown[]) => JSON.stringify(a) === JSON.stringify(b)
const oldTold = (row: Row, { old, now, toNew }: (typeof sides)[number]) =>
  isSame(toNew(...valuesOf(row, old)), valuesOf(row, now))
const newTold = (row: Row, { old, now, toOld }: (typeof sides)[number]) =>
  isSame(toOld(...valuesOf(row, now)), valuesOf(row, old))
const agrees = (row: Row) => sides.every((side) => oldTold(row, side) || newTold(row, side))

const texts = fc.constantFrom('', 'Ada', 'Ada Lovelace', 'Mary Ann Evans', ' x', 'y ', 'ä  ö')
const maybe = fc.option(texts)
const oldValues = {
  name: texts,
  city: maybe,
  country: maybe,
  minutes: fc.integer({ min: 0, max: 3 }),
  nick: maybe,
  isOdd: fc.constantFrom(0, 1),
}
const newValues = {
  given: texts,
  family: maybe,
  place: maybe,
  seconds: fc.constantFrom(0, 59, 60, 90, 120),
  alias: maybe,
}
const ids = ['a', 'b', 'c', 'd', 'e']
const id = fc.constantFrom(...ids)
const team = fc.constantFrom('t1', 't2')
const before = fc.array(fc.record({ id, team, values: fc.record(oldValues) }), { maxLength: 6 })
const operation = fc.oneof(
  fc.record({ kind: fc.constant('insert old' as const), id, team, values: fc.record(oldValues) }),
  fc.record({ kind: fc.constant('insert new' as const), id, team, values: fc.record(newValues) }),
  fc.record({ kind: fc.constant('update' as const), id, values: fc.record(oldValues, { requiredKeys: [] }) }),
  fc.record({ kind: fc.constant('update' as const), id, values: fc.record(newValues, { requiredKeys: [] }) }),
  fc.record({ kind: fc.constant('update' as const), id, values: fc.record({ teamId: team }) }),
  fc.record({ kind: fc.constant('delete' as const), id }),
  fc.record({ kind: fc.constant('adopt' as const), id }),
  fc.record({ kind: fc.constant('step' as const), isKilled: fc.boolean() }),
)
type Operation = typeof operation extends fc.Arbitrary<infer O> ? O : never

const all = (database: Database, sql: string) => database.query(sql).all() as Row[]
const changes = (database: Database) => all(database, 'select * from changes order by seq')
const person = (database: Database, of: string) => all(database, `select * from people where id = '${of}'`)[0]

function insert(database: Database, table: string, row: Row) {
  const whole: Row = { tenant: 'x', createdAt: '', updatedAt: '', ...row }
  const names = Object.keys(whole)
  database
    .query(`insert or ignore into ${table}(${names.join(', ')}) values (${names.map(() => '?').join(', ')})`)
    .run(...Object.values(whole))
}

/** The database of the old release, its columns beside those of the new one, whose triggers and steps come then. */
function expand(database: Database, rows: readonly { id: string; team: string; values: Row }[]) {
  const swap = (from: typeof model, to: typeof model) => {
    for (const { name } of modelTriggers(from)) database.run(`drop trigger "${name}"`)
    for (const { sql } of modelTriggers(to)) database.run(sql)
  }
  swap(model, oldModel)
  for (const each of ['t1', 't2']) insert(database, 'teams', { id: each })
  for (const { id, team, values } of rows) insert(database, 'people', { id, teamId: team, ...values })
  for (const { id } of rows) insert(database, 'pets', { id: `pet of ${id}`, ownerId: id })
  swap(oldModel, model)
  for (const { sql } of [...arrivals(database, model), ...sqlViews(model)]) database.run(sql)
  for (const each of [...model.resources.values()].flatMap(({ derived }) => [...derived.values()]))
    database.run(backfillSql(each))
}

/** As a node of the new release does, which computes what retires. */
function insertNew(database: Database, of: string, teamId: string, values: Row) {
  const row: Row = { ...values, isOdd: 0 }
  for (const { old, now, toOld } of sides)
    for (const [i, each] of toOld(...valuesOf(values, now)).entries()) row[old[i] ?? ''] = each as string
  insert(database, 'people', { id: of, teamId, ...row })
}

const jobs = backfilled(model.resources.get('people') as never)

/** One step of every backfill that is open, two records each; killed, before it commits. */
function step(database: Database, isKilled: boolean): boolean {
  const jobsLeft = unfinished(database)
  for (const { resource: of, field, tenant, id } of jobsLeft) {
    database.run('begin')
    for (const sql of backfillStepSql(String(of), jobs.get(String(field)) as never, 2))
      database.query(sql).run(...([of, field, tenant, id] as string[]))
    database.run(isKilled ? 'rollback' : 'commit')
  }
  return jobsLeft.length > 0
}

const unfinished = (database: Database) =>
  all(database, 'select resource, field, tenant, id from retiring where tenant is not null')

/** What nobody does: nodes of the new release serve once every record is filled. */
const isEarly = (database: Database, operation: Operation) =>
  operation.kind === 'update' &&
  Object.keys(operation.values).some((name) => name in newPeople) &&
  unfinished(database).length > 0

function apply(database: Database, operation: Operation) {
  switch (operation.kind) {
    case 'insert old':
      return insert(database, 'people', { id: operation.id, teamId: operation.team, ...operation.values })
    case 'insert new':
      return insertNew(database, operation.id, operation.team, operation.values as Row)
    case 'update': {
      const names = Object.keys(operation.values)
      if (names.length === 0) return
      const sets = names.map((name) => `"${name}" = ?`).join(', ')
      database
        .query(`update people set ${sets} where id = ?`)
        .run(...(Object.values(operation.values) as string[]), operation.id)
      return
    }
    case 'delete':
      return void database.run(`delete from people where id = '${operation.id}'`)
    case 'adopt':
      if (person(database, operation.id))
        insert(database, 'pets', { id: `pet of ${operation.id}`, ownerId: operation.id })
      return
    case 'step':
      return void step(database, operation.isKilled)
  }
}

/** What a writer wrote is there, its record is logged once, and the sides agree. */
function expectWritten(database: Database, operation: Operation, had: Row | undefined, logged: number) {
  if (!('id' in operation) || operation.kind === 'adopt' || operation.kind === 'delete') return
  const row = person(database, operation.id) as Row
  const isWritten = operation.kind === 'update' ? had !== undefined : had === undefined
  if (!isWritten) return expect<Row | undefined>(row).toEqual(had)
  const values = operation.values as Row
  expect(valuesOf(row, Object.keys(values))).toEqual(Object.values(values) as never[])
  const own = changes(database).filter((each) => Number(each.seq) > logged && each.resource === 'people')
  const isChanged = had === undefined || Object.keys(row).some((name) => name !== 'version' && row[name] !== had[name])
  expect(own.map(({ id, version }) => [id, version])).toEqual(isChanged ? [[operation.id, row.version as never]] : [])
  if (isChanged) expect(agrees(row)).toBe(true)
}

/** The log tells each record's whole story, one version after the other, to what the tables have. */
function expectLogged(database: Database) {
  const last = new Map<string, { image: Row | null; version: number }>()
  for (const each of changes(database)) {
    const key = `${each.resource} ${each.id}`
    expect([key, each.version]).toEqual([key, (last.get(key)?.version ?? 0) + 1])
    last.set(key, { image: each.image === null ? null : JSON.parse(String(each.image)), version: Number(each.version) })
  }
  for (const table of ['people', 'teams', 'pets']) {
    for (const { tenant: _, ...row } of all(database, `select * from ${table}`)) {
      const image = { ...last.get(`${table} ${row.id}`)?.image } as Record<string, unknown>
      // What no step has reached yet, the log knows as the old release wrote it.
      for (const name of Object.keys(row)) if (!(name in image)) delete row[name]
      if ('isOdd' in image) image.isOdd = image.isOdd ? 1 : 0
      expect(image).toEqual(row)
    }
  }
}

describe.each([false, true])('two releases on one database, with recursive triggers %p', (recursive) => {
  let fresh: () => Database
  beforeAll(async () => {
    fresh = await databaseCopies(model, Object.values(bothTables))
  })

  test('each sees what it writes and what the other writes, and the log tells it once', () => {
    fc.assert(
      fc.property(before, fc.array(operation, { maxLength: 25 }), (rows, operations) => {
        using database = fresh()
        database.run(`pragma recursive_triggers = ${recursive ? 'on' : 'off'}`)
        expand(database, rows as never)
        for (const each of operations) {
          if (isEarly(database, each)) continue
          const had = 'id' in each ? person(database, each.id) : undefined
          const logged = changes(database).length
          apply(database, each)
          expectWritten(database, each, had, logged)
          // The views of the new version show no record emptier than it is, also where no step has been.
          for (const row of all(database, 'select p.*, v.* from people p join v2_people v on v.id = p.id'))
            expect([row, agrees(row)]).toEqual([row, true])
          expect(all(database, 'select * from teams where size is not members')).toEqual([])
          expectLogged(database)
        }
        const olds = () => all(database, 'select id, name, city, country, minutes, nick, isOdd from people order by id')
        const kept = olds()
        for (let steps = 0; step(database, false); steps++) expect(steps).toBeLessThan(10)
        expect([olds(), all(database, 'select * from people').filter((row) => !agrees(row))]).toEqual([kept, []])
        expectLogged(database)
        for (const each of [...model.resources.values()].flatMap(({ derived }) => [...derived.values()]))
          expect(database.query(driftSql(each)).all('', '', 10)).toEqual([])
      }),
      { numRuns: 60 },
    )
  })
})
