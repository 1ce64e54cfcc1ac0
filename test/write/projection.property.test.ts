import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { model } from '../../src/model/index.ts'
import type { Projection } from '../../src/schema/projection.ts'
import type { Primary } from '../../src/store/primary.ts'
import { compactLog } from '../../src/write/maintenance.ts'
import { beginProjection, type Keeper, lagsOf, standOf, stepProjection } from '../../src/write/projection.ts'
import { type TestApp, testApp } from '../support/app.ts'

setDefaultTimeout(60_000)

let own: TestApp
let database: Database
let key: string
beforeAll(async () => {
  own = await testApp()
  key = await own.key({ scopes: ['read', 'write', 'editor'] })
  database = new Database(own.databaseFile)
  database.run('PRAGMA busy_timeout = 5000')
  database.run('PRAGMA foreign_keys = ON')
  for (const [i, id] of authors.entries())
    expect((await call('PUT', `/users/${id}`, { handle: `author-${i}`, name: 'An author' })).status).toBe(201)
  const keeper = keeperOf(500)
  await beginProjection(projection, keeper)
})
afterAll(async () => {
  database.close()
  await own.stop()
})

const projection = model.projections[0] as Projection
const idOf = (kind: number, n: number) => `019a3f00-000${kind}-7000-8000-${n.toString(16).padStart(12, '0')}`
const authors = [0, 1, 2].map((n) => idOf(0, n))
const days = ['2026-11-01', '2026-11-02']

async function call(method: string, path: string, body?: unknown): Promise<Response> {
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
  const headers = { Authorization: `Bearer ${key}`, 'Content-Type': type, Host: 'localhost' }
  const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) }
  return own.app.fetch(new Request(`http://localhost${path}`, init))
}

/** A consumer of its own. A killed one ends before its commit, or after it and before it is told; a slow one is written past. */
function keeperOf(rowsMax: number, fate: 'before' | 'after' | 'slow' | null = null): Keeper {
  const primary: Primary = {
    ...own.node.primary,
    async commit(batch) {
      if (fate === 'before') throw new Error('killed')
      if (fate === 'slow')
        database.run("update posts set words = words + 1, status = 'published' where slug < 'post-3'")
      const outcome = await own.node.primary.commit(batch)
      if (fate === 'after') throw new Error('killed')
      return outcome
    },
  }
  return { ...own.node, primary, rowsMax }
}

/**
 * What the rows must be at each position, worked out from the log as it is written, by another way than the read model's:
 * every record is kept, and all of them are counted each time.
 */
const expectedAt = new Map<number, string>()
const records = new Map<string, Record<string, unknown>>()
let watched = 0
function watchLog() {
  const changes = database
    .query('select seq, resource, id, image from changes where seq > ? order by seq')
    .values(watched)
  for (const [seq, resource, id, image] of changes as [number, string, string, string | null][]) {
    if (image === null) records.delete(`${resource} ${id}`)
    else records.set(`${resource} ${id}`, JSON.parse(image))
    const rows = new Map<string, [number, number, number]>()
    for (const [name, { authorId, createdAt, status, words }] of records) {
      const isPost = name.startsWith('posts ') && status === 'published'
      if (!isPost && !name.startsWith('comments ')) continue
      const row = `${authorId} ${String(createdAt).slice(0, 10)}`
      const [posts, counted, comments] = rows.get(row) ?? [0, 0, 0]
      rows.set(row, isPost ? [posts + 1, counted + Number(words), comments] : [posts, counted, comments + 1])
    }
    expectedAt.set(seq, textOf([...rows].map(([name, totals]) => [name, ...totals].join(' '))))
    watched = seq
  }
}
const textOf = (lines: string[]) => lines.sort().join('\n')

function rowsThere(): string {
  const sql = "select authorId || ' ' || day || ' ' || posts || ' ' || words || ' ' || comments from authorActivity"
  return textOf(database.query(sql).values().flat() as string[])
}

/** Where the read model says that it is exact, it is. */
async function expectTrue() {
  watchLog()
  const stand = await standOf(projection, own.node.reader)
  if (stand?.phase === 'follow') expect(rowsThere()).toBe(expectedAt.get(stand.seq) ?? '')
}

async function catchUp() {
  while ((await stepProjection(projection, keeperOf(500))) === 'moved');
  await expectTrue()
  const stand = await standOf(projection, own.node.reader)
  const [lag] = await lagsOf([projection], own.node.reader)
  expect(lag).toEqual({ name: projection.name, phase: 'follow', seq: stand?.seq ?? 0, changes: 0, since: null })
  expect(rowsThere()).toBe(expectedAt.get(stand?.head ?? 0) ?? '')
}

type Act = () => Promise<unknown>
const n = fc.nat(5)
const author = fc.constantFrom(...authors)
const status = fc.constantFrom('draft', 'published', 'archived')
const words = fc.nat(9)
const run =
  (sql: string, ...args: (string | number)[]) =>
  async () =>
    database.query(sql).run(...args)
const requests: fc.Arbitrary<Act> = fc.oneof(
  fc.tuple(n, author, status, words).map(
    ([i, authorId, status, words]) =>
      () =>
        call('PUT', `/posts/${idOf(1, i)}`, { authorId, slug: `post-${i}`, title: 'T', status, words }),
  ),
  fc.tuple(n, status, words).map(
    ([i, status, words]) =>
      () =>
        call('PATCH', `/posts/${idOf(1, i)}`, { status, words }),
  ),
  n.map((i) => () => call('DELETE', `/posts/${idOf(1, i)}`)),
  fc.tuple(n, n, author).map(
    ([i, post, authorId]) =>
      () =>
        call('PUT', `/comments/${idOf(2, i)}`, { postId: idOf(1, post), authorId, body: 'B' }),
  ),
  n.map((i) => () => call('DELETE', `/comments/${idOf(2, i)}`)),
  fc.tuple(n, n, author).map(
    ([i, j, authorId]) =>
      () =>
        call('POST', '/batch', {
          commands: [i, j].map((each) => ({
            do: 'patch',
            resource: 'posts',
            id: idOf(1, each),
            body: { authorId, words: 3 },
          })),
        }),
  ),
)
const raw: fc.Arbitrary<Act> = fc.oneof(
  fc
    .tuple(n, author, fc.constantFrom(...days))
    .map(([i, authorId, day]) =>
      run('update posts set authorId = ?, createdAt = ? where id = ?', authorId, `${day}T12:00:00.000Z`, idOf(1, i)),
    ),
  fc.tuple(status, words).map(([status, words]) => run('update posts set status = ?, words = ?', status, words)),
  author.map((authorId) => run('delete from comments where authorId = ?', authorId)),
  fc.constant(run("update users set name = name || '.'")),
)
const steps: fc.Arbitrary<Act> = fc.oneof(
  fc.tuple(fc.constantFrom(1, 2, 3, 500)).map(
    ([rows]) =>
      () =>
        stepProjection(projection, keeperOf(rows)),
  ),
  fc
    .constantFrom('before' as const, 'after' as const)
    .map(
      (when) => () =>
        stepProjection(projection, keeperOf(2, when)).catch((error: Error) => expect(error.message).toBe('killed')),
    ),
  fc.constantFrom(2, 500).map((rows) => () => stepProjection(projection, keeperOf(rows, 'slow'))),
  fc.constant(() => Promise.all([1, 2, 3].map((rows) => stepProjection(projection, keeperOf(rows))))),
)
const rare: fc.Arbitrary<Act> = fc.oneof(
  fc.constant(() => beginProjection(projection, keeperOf(1))),
  fc.constant(async () => {
    const soon = new Date(Date.now() + 1_000).toISOString()
    for (let at: number | null = 0; at !== null; )
      at = await compactLog(at, soon, own.node.reader, own.node.primary).then((to) => (to === at ? null : to))
  }),
)

describe('a read model', () => {
  test('equals what its folds make of the records at every position that it claims, whoever writes, steps, dies or begins anew', async () => {
    const acts = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: requests },
        { weight: 3, arbitrary: raw },
        { weight: 8, arbitrary: steps },
        { weight: 2, arbitrary: rare },
      ),
      { minLength: 10, maxLength: 40 },
    )
    await fc.assert(
      fc.asyncProperty(acts, async (list) => {
        for (const act of list) {
          await act()
          await expectTrue()
        }
        await catchUp()
      }),
      { numRuns: 30, endOnFailure: true },
    )
    expect(own.faults).toEqual([])
  })
})
