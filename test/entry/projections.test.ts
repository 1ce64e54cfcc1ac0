import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { forgetOthers, keepProjection, rebuildProjection } from '../../src/entry/projections.ts'
import { model } from '../../src/model/index.ts'
import { limits } from '../../src/schema/limits.ts'
import type { Projection } from '../../src/schema/projection.ts'
import { standOf, stepProjection } from '../../src/write/projection.ts'
import { activityIn } from '../support/activity.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { runCommand } from '../support/command.ts'
import { dataFolder } from '../support/folder.ts'

setDefaultTimeout(60_000)

const projection = model.projections[0] as Projection
/** The next release's: every post counts, and as ten. */
const changed: Projection = {
  ...projection,
  text: `${projection.text} changed`,
  sources: projection.sources.map((source) => ({
    ...source,
    contribution(record) {
      const day = String(record.createdAt).slice(0, 10)
      return { key: { authorId: record.authorId, day }, add: source.resource.name === 'posts' ? { posts: 10 } : {} }
    },
  })),
}

let own: TestApp
let told: string[]
const tell = (sentence: string) => void told.push(sentence)
const author = '019a3f00-0000-7000-8000-000000000001'
const postsMax = limits.projectionRowsMax + 1

/** More posts than a step looks at, each on a day of its own. */
function fill(database: Database) {
  database.run(
    `insert into users(tenant, id, createdAt, updatedAt, handle, name) values ('demo', '${author}', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', 'ada', 'Ada')`,
  )
  database.run(`insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title, status, words)
    select 'demo', printf('019a3f00-0001-7000-8000-%012x', value), strftime('%Y-%m-%dT00:00:00.000Z', '2020-01-01', '+' || value || ' days'), '2026-01-01T00:00:00.000Z', '${author}', 'post-' || value, 'T', 'published', 3
    from json_each('${JSON.stringify(Array.from({ length: postsMax }, (_, i) => i + 1))}')`)
}
const inDatabase = <T>(work: (database: Database) => T, file = own.databaseFile): T => {
  using database = new Database(file)
  database.run('PRAGMA busy_timeout = 5000')
  return work(database)
}
beforeEach(async () => {
  own = await testApp()
  told = []
  inDatabase(fill)
})
afterEach(() => own.stop())

/** Steps until there is nothing to do. */
async function settle(step: () => Promise<number>) {
  for (let wait = 0; wait !== 250; ) wait = await step()
}
const postsCounted = () =>
  inDatabase((database) => database.query('select count(*), sum(posts) from authorActivity').values()[0])

describe('the consumer of a read model', () => {
  test('makes it where there is none, and keeps it, in steps of a bounded size', async () => {
    await settle(keepProjection(projection, own.node, tell))
    expect(postsCounted()).toEqual([postsMax, postsMax])
    inDatabase((database) => database.run("update posts set status = 'draft' where words = 3"))
    await settle(keepProjection(projection, own.node, tell))
    expect([postsCounted(), told]).toEqual([[0, null], []])
  })

  test('makes it anew where the declaration has changed, while the old rows serve; the release before leaves it alone', async () => {
    const before = keepProjection(projection, own.node, tell)
    await settle(before)
    const after = keepProjection(changed, own.node, tell)
    expect(await after()).toBe(0)
    for (let phase = ''; phase !== 'replace'; phase = (await standOf(changed, own.node.reader))?.phase ?? '') {
      expect(postsCounted()).toEqual([postsMax, postsMax])
      await after()
    }
    expect(await before()).toBe(60_000)
    await settle(after)
    expect(postsCounted()).toEqual([postsMax, 10 * postsMax])
    expect([await before(), await before()]).toEqual([60_000, 60_000])
    expect(told).toEqual([
      'the read model authorActivity is of another declaration; it is made anew beside what is served.',
      'the read model authorActivity is kept by another release from now on.',
    ])
    // The other has ended, with a change to read.
    inDatabase((database) => database.run("update posts set status = 'draft' where slug = 'post-1'"))
    expect([await before(), await before()]).toEqual([60_000, 0])
    await settle(before)
    expect(postsCounted()).toEqual([postsMax - 1, postsMax - 1])
  })

  test('that was stopped while it made the rows is not in the way of the next', async () => {
    const slow = { ...own.node, rowsMax: 7 }
    await keepProjection(changed, own.node, tell)()
    for (let n = 0; n < 20; n++) expect(await stepProjection(changed, slow)).toBe('moved')
    expect(inDatabase((database) => database.query('select count(*) from projected').values()[0])).not.toEqual([0])
    const next = keepProjection(projection, own.node, tell)
    expect(await next()).toBe(0)
    for (let phase: string | undefined; phase !== 'scan'; phase = (await standOf(projection, own.node.reader))?.phase)
      expect(await stepProjection(projection, slow)).toBe('moved')
    await settle(next)
    const { found, truth } = activityIn(own.databaseFile)
    expect(found).toEqual(truth)
    expect(inDatabase((database) => database.query('select count(*) from projected').values()[0])).toEqual([0])
  })

  test.each([
    [
      'fails',
      () => {
        throw new Error('no words')
      },
      'failed: no words',
    ],
    [
      'adds to what is no total',
      () => ({ key: { authorId: author, day: '1' }, add: { likes: 1 } }),
      'adds to "likes", which is no total.',
    ],
    [
      'adds a fraction',
      () => ({ key: { authorId: author, day: '1' }, add: { posts: 0.5 } }),
      'adds 0.5 to posts; totals are whole numbers.',
    ],
    [
      'has a key that is no value of its column',
      () => ({ key: { authorId: 'ada', day: '1' }, add: { posts: 1 } }),
      'has the key authorId "ada".',
    ],
    ['lacks a key', () => ({ key: { authorId: author }, add: { posts: 1 } }), 'has the key day undefined.'],
  ])('stops where a fold %s, and names the record', async (_, contribution, sentence) => {
    const sources = projection.sources.map((source) => ({ ...source, contribution: contribution as never }))
    const step = keepProjection({ ...projection, sources }, own.node, tell)
    const error = await settle(step).catch((thrown: Error) => thrown)
    expect(String(error)).toContain(
      `the read model authorActivity: its fold of posts 019a3f00-0001-7000-8000-000000000001 ${sentence}`,
    )
    const stand = await standOf(projection, own.node.reader)
    await step().catch(() => {})
    expect(await standOf(projection, own.node.reader)).toEqual(stand)
  })

  test('forgets where others stood, so that one by that name begins anew', async () => {
    await settle(keepProjection(projection, own.node, tell))
    await forgetOthers(own.node)
    expect((await standOf(projection, own.node.reader))?.phase).toBe('follow')
    await forgetOthers({ ...own.node, model: { ...model, projections: [] } })
    expect(await standOf(projection, own.node.reader)).toBeNull()
  })

  test('made anew, rights what something else has written', async () => {
    await settle(keepProjection(projection, own.node, tell))
    inDatabase((database) => {
      database.run("delete from authorActivity where day < '2020-06-01'")
      database.run("update authorActivity set words = 7 where day > '2020-12-01'")
    })
    const { seq, phase } = await rebuildProjection(projection, own.node)
    expect([phase, seq > 0]).toEqual(['follow', true])
    const { found, truth } = activityIn(own.databaseFile)
    expect(found).toEqual(truth)
  })
})

describe('bun run projections', () => {
  test('lists read models and makes one anew', async () => {
    const folder = await dataFolder()
    const env = { DATA_DIR: folder.path }
    inDatabase(fill, folder.databaseFile)
    const list = () => runCommand(['projections'], { env })
    expect((await list()).out).toMatch(/^authorActivity\tnot begun\t0\t[1-9]\d* change\(s\) behind\n$/)
    const rebuilt = await runCommand(['projections', 'rebuild', 'authorActivity'], { env })
    expect([rebuilt.code, rebuilt.out]).toEqual([
      0,
      expect.stringMatching(/^The read model authorActivity was made anew; it is at change \d+\.\n$/),
    ])
    expect((await list()).out).toMatch(/^authorActivity\tfollows\t\d+\t0 change\(s\) behind\n$/)
    const { found, truth } = activityIn(folder.databaseFile)
    expect([found.length, found]).toEqual([postsMax, truth])
    const unknown = await runCommand(['projections', 'rebuild', 'ghost'], { env })
    expect([unknown.code, unknown.err]).toEqual([1, 'There is no read model "ghost"; there are authorActivity.\n'])
    expect((await runCommand(['projections', 'rebuild'], { env })).code).toBe(2)
    expect((await runCommand(['projections', 'drop'], { env })).code).toBe(2)
    folder.remove()
  })
})
