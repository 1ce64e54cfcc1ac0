import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { fileStore } from '../../src/entry/file-store.ts'
import { libsqlStore } from '../../src/entry/libsql-store.ts'
import type { Store } from '../../src/entry/node.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { nodeSqlite } from '../../src/store/node-sqlite.ts'
import type { Batch, Cause, Outcome, Primary, Step } from '../../src/store/primary.ts'
import type { Reader, Row } from '../../src/store/reader.ts'
import { temporaryFolder } from '../support/server.ts'
import { startSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

interface Driver {
  readonly name: string
  open(): Promise<{ store: Store; remove: () => Promise<void> | void }>
}

/** Every driver keeps the same promises. */
const drivers: Driver[] = [
  ...Object.entries({ "Bun's SQLite": bunSqlite, "SQLite by Node's API": nodeSqlite }).map(([name, engine]) => ({
    name: `the embedded primary over ${name}`,
    async open() {
      const folder = temporaryFolder()
      return { store: fileStore(folder.path, engine), remove: folder.remove }
    },
  })),
  {
    name: 'sqld on this host, its file read directly',
    async open() {
      const { url, token, folder, remove } = await startSqld()
      return { store: libsqlStore({ url, token, folder }), remove }
    },
  },
  {
    name: 'a libSQL server elsewhere, read over HTTP',
    async open() {
      const { url, token, remove } = await startSqld()
      return { store: libsqlStore({ url, token, folder: null }), remove }
    },
  },
]

const step = (sql: string, args: Step['args'] = [], more: Partial<Step> = {}): Step => ({ sql, args, ...more })
const put = (id: number, text: string | null) => step('insert into notes(id, text) values (?, ?)', [id, text])
const context = { actor: 'ada', request: 'r1', time: '2026-01-01T00:00:00.000Z' }

describe.each(drivers)('$name', ({ open }) => {
  let store: Store
  let primary: Primary
  let reader: Reader
  let remove: () => Promise<void> | void
  let commitsTold = 0

  const openPrimary = () =>
    store.openPrimary({
      onCommit: () => commitsTold++,
      onDeath: (error) => {
        throw error
      },
    })
  const commit = (...steps: Step[]) => primary.commit({ steps })
  const notes = () => reader.rows('select id, text from notes order by id', [])

  beforeAll(async () => {
    ;({ store, remove } = await open())
    await store.migrate()
    reader = store.openReader()
    primary = await openPrimary()
    const made = await commit(
      step('create table kinds(name text primary key) strict'),
      step(
        'create table notes(id integer primary key, text text not null unique check (length(text) < 10), kind text references kinds on delete restrict, size real) strict',
      ),
      step("create trigger notes_sealed before update on notes begin select raise(abort, 'sealed'); end"),
      step('create table seen(actor text, request text, time text) strict'),
    )
    expect(made).toEqual({ kind: 'committed', rows: [] })
  })
  afterAll(async () => {
    await primary.close()
    reader.close()
    await remove()
  })
  beforeEach(async () => {
    await commit(step('delete from notes'), step('delete from kinds'), step('delete from seen'))
  })

  test('what is committed can be read, and its answer is the rows of the step that answers', async () => {
    const values = [1, -2.5, null, 'ä\u{1F600}', '', 2 ** 53 - 1, 3.0]
    const select = step(`select ${values.map(() => '?').join(', ')}, json_array(?, ?)`, [...values, 7, 1.5], {
      answers: true,
    })
    const before = reader.generation()
    const outcome = await commit(put(1, 'one'), select, put(2, 'two'))
    expect(outcome).toEqual({ kind: 'committed', rows: [[...values, '[7,1.5]']] })
    expect(reader.generation()).not.toBe(before)
    expect(await notes()).toEqual([
      [1, 'one'],
      [2, 'two'],
    ])
    expect(await reader.rows('select typeof(?), typeof(?), typeof(?)', [1, 1.5, null])).toEqual([
      ['integer', 'real', 'null'],
    ])
  })

  test('a commit is told of before its outcome is', async () => {
    const before = commitsTold
    await commit(put(1, 'one'))
    expect(commitsTold).toBeGreaterThan(before)
  })

  const refusals: [cause: Cause, steps: Step[], message: string][] = [
    ['unique', [put(1, 'one'), put(2, 'one')], 'UNIQUE constraint failed: notes.text'],
    ['unique', [put(1, 'one'), put(1, 'two')], 'UNIQUE constraint failed: notes.id'],
    ['not-null', [put(1, 'one'), put(2, null)], 'NOT NULL constraint failed: notes.text'],
    ['check', [put(1, 'one'), put(2, 'x'.repeat(10))], 'CHECK constraint failed: length(text) < 10'],
    [
      'check',
      [put(1, 'one'), step("insert into notes(id, text, size) values (2, 'two', 'large')")],
      'cannot store TEXT value in REAL column notes.size',
    ],
    [
      'foreign-key',
      [put(1, 'one'), step("insert into notes(id, text, kind) values (2, 'two', 'none')")],
      'FOREIGN KEY constraint failed',
    ],
    ['guard', [put(1, 'one'), step("update kinds set name = 'x' where name = 'y'", [], { guarded: true })], ''],
    [
      'guard',
      [
        put(1, 'one'),
        step("insert into kinds(name) select 'x' where 0 returning name", [], { guarded: true, answers: true }),
      ],
      '',
    ],
    ['foreign-key', [put(1, 'one'), step("update notes set text = 'uno'")], 'sealed'],
  ]
  test.each(refusals)('%s: the batch is undone, with what explains it', async (cause, steps, message) => {
    const explain = { sql: 'select count(*), ? from notes', args: [5] }
    const explained = steps.map((each) => ({ ...each, explain }))
    const outcome = await primary.commit({ steps: [...explained, put(9, 'nine')] })
    // The reason is read while the steps before it are still there.
    const refused: Outcome = { kind: 'refused', step: 1, cause, message, explanation: [1, 5], claimed: null }
    expect(outcome).toEqual(refused)
    expect(await notes()).toEqual([])
  })

  test('deleting what is referred to is refused as a foreign key', async () => {
    await commit(step("insert into kinds values ('k')"), step("insert into notes values (1, 'one', 'k', null)"))
    const outcome = await commit(step("delete from kinds where name = 'k'", [], { guarded: true }))
    expect(outcome).toMatchObject({ kind: 'refused', step: 0, cause: 'foreign-key', explanation: null })
  })

  test('a guarded step that changes a row passes, also where it answers, and triggers do not count', async () => {
    const guarded = { guarded: true, answers: true }
    const insert = step("insert into kinds(name) values ('k') returning name, 1 + 1", [], guarded)
    expect(await commit(insert)).toEqual({ kind: 'committed', rows: [['k', 2]] })
    await commit(
      step('create trigger kinds_noted before delete on kinds begin insert into seen(actor) values (old.name); end'),
    )
    const nothing = step("delete from kinds where name = 'other'", [], { guarded: true })
    expect(await commit(nothing)).toMatchObject({ kind: 'refused', cause: 'guard' })
    const deleted = await commit(step("delete from kinds where name = 'k'", [], { guarded: true }))
    expect(deleted).toEqual({ kind: 'committed', rows: [] })
    await commit(step('drop trigger kinds_noted'))
  })

  test('a refusal tells what was claimed before, whatever the step, and nothing of its own batch', async () => {
    const claimed = { sql: 'select id, text from notes where text = ?', args: ['mine'] }
    const claim = (id: number): Batch => ({
      steps: [put(id, 'mine'), step('select 1', [], { answers: true })],
      claimed,
    })
    expect(await primary.commit({ ...claim(1), steps: [put(7, 'mine'), put(8, null)] })).toMatchObject({
      cause: 'not-null',
      claimed: null,
    })
    const outcomes = await Promise.all([claim(1), claim(2), claim(3)].map((batch) => primary.commit(batch)))
    expect(outcomes.map((each) => each.kind)).toEqual(['committed', 'refused', 'refused'])
    for (const each of outcomes.slice(1)) expect(each).toMatchObject({ cause: 'unique', claimed: [1, 'mine'] })
  })

  test('batches that arrive together share transactions; those that fail leave their neighbours as they are', async () => {
    const before = primary.stats()
    const outcomes = await Promise.all(
      Array.from({ length: 300 }, (_, i) => {
        if (i % 3 === 0) return commit(put(i, `n${i}`))
        if (i % 3 === 1) return commit(put(i, `m${i}`), put(i + 1_000, null))
        return commit(put(i, `m${i}`), step('delete from kinds', [], { guarded: true }))
      }),
    )
    const kinds = outcomes.map((each): string => (each.kind === 'refused' ? each.cause : each.kind))
    expect(kinds).toEqual(outcomes.map((_, i) => ['committed', 'not-null', 'guard'][i % 3] ?? ''))
    const committed = Array.from({ length: 100 }, (_, i): Row => [i * 3, `n${i * 3}`])
    expect(await notes()).toEqual(committed)
    const after = primary.stats()
    expect(after.batches - before.batches).toBe(300)
    expect(after.groups - before.groups).toBeLessThanOrEqual(3)
    expect(after.waiting).toBe(0)
  })

  test('the log sees who writes during the batch, and nobody after it', async () => {
    const note = step('insert into seen select actor, request, time from context')
    const other = { ...context, actor: 'grace' }
    const outcomes = await Promise.all([
      primary.commit({ steps: [note], context }),
      primary.commit({ steps: [note, put(1, null)], context: { ...context, actor: 'refused' } }),
      primary.commit({ steps: [note] }),
      primary.commit({ steps: [note], context: other }),
    ])
    expect(outcomes.map((each) => each.kind)).toEqual(['committed', 'refused', 'committed', 'committed'])
    expect(await reader.rows('select * from seen order by rowid', [])).toEqual([
      ['ada', context.request, context.time],
      [null, null, null],
      ['grace', context.request, context.time],
    ])
    expect(await reader.rows('select actor, request, time from context', [])).toEqual([[null, null, null]])
  })

  test('a batch is of the time of its sender, or of that of the last change where it is later', async () => {
    const note = step('insert into seen select actor, request, time from context')
    const change = step(
      "insert into changes(tenant, resource, id, operation, version, time) select 'demo', 'notes', 'n', 'delete', 1, time from context",
    )
    const at = (time: string) => primary.commit({ steps: [change, note], context: { ...context, time } })
    const [early, late, later] = ['2026-01-01T00:00:00.001Z', '2026-01-01T00:00:00.002Z', '2026-01-01T00:00:00.003Z']
    const outcomes = await Promise.all([at(late), at(early), at(later), at(early)])
    expect(outcomes.map((each) => each.kind)).toEqual(Array(4).fill('committed'))
    const times = await reader.rows('select time from seen order by rowid', [])
    expect(times.flat()).toEqual([late, late, later, later])
    expect(await commit(step('delete from changes'))).toMatchObject({ kind: 'committed' })
  })

  test('a batch takes no savepoint, and leaves none, that its statements name', async () => {
    const inner = [step('savepoint mine'), put(2, 'two'), step('rollback to mine'), step('release mine')]
    expect(await commit(put(1, 'one'), ...inner)).toEqual({ kind: 'committed', rows: [] })
    expect(await notes()).toEqual([[1, 'one']])
  })

  test('one that closes finishes what is in flight and what waits', async () => {
    const closing = await openPrimary()
    const writes = Array.from({ length: 50 }, (_, i) => closing.commit({ steps: [put(i, `n${i}`)] }))
    await closing.close()
    const outcomes = await Promise.all(writes)
    expect(new Set(outcomes.map((each) => each.kind))).toEqual(new Set(['committed']))
    expect(await notes()).toHaveLength(50)
  })
})
