import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { planList } from '../../src/read/plan.ts'
import { parseListQuery } from '../../src/read/query.ts'
import { compileRead } from '../../src/read/sql.ts'
import type { Caller, TenantId } from '../../src/schema/access.ts'
import { limits } from '../../src/schema/limits.ts'
import type { Resource } from '../../src/schema/model.ts'
import type { Reader } from '../../src/store/reader.ts'
import { operators } from '../../src/version/asking.ts'
import { buildViews, type ResourceView } from '../../src/version/view.ts'
import { withRandomChoices } from '../support/random-model.ts'
import { listSearch, randomList } from '../support/random-query.ts'
import { inRandomWorld } from '../support/random-world.ts'
import { type TestServer, testServer } from '../support/server.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const cursors = { sign: () => 'x'.repeat(22), now: () => 0 }

/** How SQLite means to run the list; null where the plan does not call it served. */
async function explain(view: ResourceView, search: string, caller: Caller, reader: Reader): Promise<string[] | null> {
  const plan = planList(parseListQuery(view, search), caller, cursors)
  if (!plan.served) return null
  const { sql, bind } = compileRead(plan)
  const rows = await reader.rows(`explain query plan ${sql}`, bind(plan))
  return rows.map((row) => String(row[3]))
}

function expectServed(search: string, steps: readonly string[]) {
  const sorting = steps.filter((step) => step.includes('TEMP B-TREE'))
  // A row that an index has found may then be read by its place.
  const own = steps.filter((step) => / t( |$)/.test(step) && !step.includes('INTEGER PRIMARY KEY (rowid=?)'))
  expect([search, sorting]).toEqual([search, []])
  expect([search, own.length > 0, own.filter((step) => !throughIndex.test(step))]).toEqual([search, true, []])
}

const throughIndex = /^SEARCH t USING (COVERING )?INDEX \w+ \(tenant=\?/

/** Every field that is compared for equality is one that the index is searched by, or the id alone finds the record. */
function expectSearchedBy(search: string, equal: readonly string[], steps: readonly string[]) {
  const step = steps.find((each) => each.startsWith('SEARCH t')) ?? ''
  if (step.includes('id=?')) return
  expect([search, equal.filter((field) => !step.includes(`${field}=?`))]).toEqual([search, []])
}

/** A cursor for the search, as the plan's own signer seals it. */
function cursorOf(keys: number): string {
  const values = JSON.stringify([0, ...Array.from({ length: keys }, () => 0)])
  return new TextEncoder().encode(values).toBase64({ alphabet: 'base64url', omitPadding: true }) + 'x'.repeat(22)
}

describe('a list that the plan calls served', () => {
  test('is found in order through an index, over random models', async () => {
    let served = 0
    await withRandomChoices(
      (draw) =>
        inRandomWorld(draw, async (world) => {
          const view = buildViews(world.model).get('v1')!
          for (let i = 0; i < 60; i++) {
            const list = { ...randomList(draw, world.spec, world.items), includes: [], count: false }
            const asked = draw.pick(world.callers)
            if (!world.oracle.mayEverRead(list.resource, asked)) continue
            const { kind, subject } = asked
            const base = { tenant: asked.tenant as TenantId, scopes: new Set(asked.scopes), actor: '' }
            const caller: Caller = kind === 'user' ? { ...base, kind, subject: subject ?? '' } : { ...base, kind }
            const resource = view.resources.get(list.resource.name)!
            const steps = await explain(resource, listSearch(list, draw), caller, world.reader)
            if (steps === null) continue
            served++
            const search = listSearch(list, draw)
            expectServed(search, steps)
            const equal = list.filters.filter((filter) => filter.operator === 'eq')
            expectSearchedBy(
              search,
              equal.map((filter) => filter.field.name),
              steps,
            )
          }
        }),
      { runs: 30 },
    )
    expect(served).toBeGreaterThan(100)
  })

  let server: TestServer
  beforeAll(async () => {
    server = await testServer()
  })
  afterAll(() => server.stop())

  const callers: Caller[] = [
    { kind: 'anonymous', tenant: 'demo' as TenantId, scopes: new Set(), actor: '' },
    { kind: 'service', tenant: 'demo' as TenantId, scopes: new Set(['read']), actor: '' },
    { kind: 'user', tenant: 'demo' as TenantId, scopes: new Set(['read']), actor: '', subject: 'x' },
  ]

  test.each([...model.resources.values()].map((resource) => [resource.name, resource] as const))(
    'is found in order through an index, for every filter and sort of %s',
    async (name, resource) => {
      const view = buildViews(model).get('v3')!.resources.get(name)!
      let served = 0
      for (const [filters, sort] of filtersAndSorts(resource)) {
        const keys = sort.includes('id') ? 1 : sort.split(',').length + 1
        for (const place of ['', `&after=${cursorOf(keys)}`, `&before=${cursorOf(keys)}`]) {
          for (const caller of callers) {
            const search = `?${[...filters, `sort=${sort}`].join('&')}${place}`
            const steps = await explain(view, search, caller, server.node.reader)
            if (steps === null) continue
            served++
            expectServed(search, steps)
          }
        }
      }
      expect(served).toBeGreaterThan(20)
    },
  )
})

/** Every sort by one key, with no filter, with each filter, and with each two. */
function filtersAndSorts(resource: Resource): [string[], string][] {
  const terms = [...resource.filterable].flatMap((field) => {
    const { kind, values } = resource.fields.get(field)!
    const value = kind === 'id' ? '0190ffff-0000-7000-8000-000000000000' : kind === 'instant' ? '2026-01-01' : '1'
    return operators
      .filter((operator) => kind === 'text' || !['contains', 'prefix'].includes(operator))
      .map((operator) => `${field}[${operator}]=${operator === 'null' ? 'false' : (values[0] ?? value)}`)
  })
  const pairs = terms.flatMap((a, i) => terms.slice(i + 1).map((b) => [a, b]))
  const sorts = [...resource.sortable].flatMap((field) => [field, `-${field}`])
  return [[], ...terms.map((term) => [term]), ...pairs].flatMap((filters) =>
    sorts.map((sort): [string[], string] => [filters, sort]),
  )
}

describe('a tenant with more records than a query may scan', () => {
  let server: TestServer
  let user: string
  const id = '0190ffff-0000-7000-8000-000000000000'
  beforeAll(async () => {
    server = await testServer()
    user = await server.key({ subject: id })
    const author = (await server.call('PUT', `/users/${id}`, { body: { handle: 'ada', name: 'Ada' } })).body.id
    const body = { authorId: author, slug: 'a', title: 'A', status: 'published' }
    expect((await server.call('POST', '/posts', { body })).status).toBe(201)
    const database = new Database(server.databaseFile)
    database.run(`update heads set rows = ${limits.scanRowsMax + 1} where resource = 'posts'`)
    database.close()
  })
  afterAll(() => server.stop())

  test.each([
    'sort=-createdAt',
    'sort=createdAt&createdAt[gte]=2026-01-01',
    'status=published&sort=-createdAt',
    'sort=-commentCount&limit=1',
    `authorId=${id}`,
    'slug=a',
    'slug=a&status=published&sort=-createdAt',
    'sort=createdAt&include=comments,author,tags',
    'count=exact',
  ])('is answered what an index serves: %s', async (search) => {
    const answer = await server.call('GET', `/posts?${search}`)
    expect([answer.status, answer.body.data.length]).toEqual([200, 1])
    if (search === 'count=exact') expect(answer.body.count).toBe(limits.scanRowsMax + 1)
  })

  test.each([
    'slug[contains]=a',
    'slug[prefix]=a&sort=createdAt',
    'status[ne]=draft',
    'status[in]=draft,published',
    'status[null]=false',
    'commentCount[gt]=-1&sort=createdAt',
    `authorId=${id}&sort=createdAt`,
    `authorId=${id}&status=published`,
    'sort=createdAt,-commentCount',
    'sort=createdAt,-id',
    'status=published&count=exact',
  ])('is refused what would have to be scanned: %s', async (search) => {
    const refused = await server.call('GET', `/posts?${search}`)
    expect([refused.status, refused.body.type]).toEqual([422, '/problems/filter-too-complex'])
    expect(refused.body.detail).toContain(String(limits.scanRowsMax))
    const other = await server.call('GET', `/posts?${search}`, { key: await server.key({ tenant: 'small' }) })
    expect([other.status, other.body.data]).toEqual([200, []])
  })

  test.each([
    ['a count of what only a rule of access narrows', 'count=exact'],
    ['an index without the field of the rule', `authorId[ne]=${id}`],
  ])('is refused to a user %s', async (_, search) => {
    expect((await server.call('GET', `/posts?${search}`, { key: user })).status).toBe(422)
  })
})

describe('a list of what a rule of access shows, among more hidden records than a query may look at', () => {
  let server: TestServer
  let user: string
  const [writer, other] = ['0190ffff-0000-7000-8000-000000000000', '0190ffff-0000-7000-8000-000000000001']
  beforeAll(async () => {
    server = await testServer()
    user = await server.key({ subject: writer })
    for (const [i, id] of [writer, other].entries())
      await server.call('PUT', `/users/${id}`, { body: { handle: `user${i}`, name: 'Name' } })
    const body = { authorId: other, slug: 'oldest', title: 'Oldest', status: 'published' }
    expect((await server.call('POST', '/posts', { body })).status).toBe(201)
    insertDrafts(server.databaseFile, other, limits.scanRowsMax)
  })
  afterAll(() => server.stop())
  const read = async (search: string, key = user) => {
    const { status, body } = await server.call('GET', `/posts?${search}`, { key })
    return [status, status === 200 ? body.data.length : body.detail]
  }

  test('is refused where the end of the page is not found among as many, and says which filters would find it', async () => {
    const refusal = `Too few of the posts in this order may be read with this key: ${limits.scanRowsMax} were looked at, which is as many as a query may. Filter by equality on status or authorId.`
    expect(await read('sort=-createdAt')).toEqual([422, refusal])
    expect(await read('sort=-createdAt&count=none&limit=1')).toEqual([422, refusal])
    expect(await read('status=published&sort=-createdAt')).toEqual([200, 1])
    expect(await read(`authorId=${writer}`)).toEqual([200, 0])
    expect(await read('sort=-createdAt&limit=3', await server.key())).toEqual([200, 3])
  })

  test('is answered where the page is found before', async () => {
    expect(await read('sort=createdAt&limit=1')).toEqual([422, expect.stringContaining('Too few')])
    for (const slug of ['own', 'own2']) {
      const body = { authorId: writer, slug, title: slug }
      expect((await server.call('POST', '/posts', { body, key: user })).status).toBe(201)
    }
    expect(await read('sort=-createdAt&limit=2')).toEqual([200, 2])
    expect(await read('sort=-createdAt&limit=3')).toEqual([422, expect.stringContaining('Too few')])
  })
})

/** Drafts that come before what is there, in the order of creation. Past the triggers, which would take a minute. */
function insertDrafts(file: string, author: string, count: number) {
  using database = new Database(file)
  const triggers = database.query<{ name: string; sql: string }, []>(
    "select * from sqlite_master where type = 'trigger'",
  )
  const made = triggers.all()
  database.transaction(() => {
    for (const { name } of made) database.run(`drop trigger "${name}"`)
    database.run(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < ?2)
       insert into posts(tenant, id, version, createdAt, updatedAt, authorId, slug, title)
       select 'demo', printf('0190ffff-0000-7000-9000-%012d', i), 1, p.createdAt, p.updatedAt, ?1, 'draft' || i, 'Draft'
       from n, posts p where p.slug = 'oldest'`,
      [author, count],
    )
    database.run("update heads set rows = rows + ? where resource = 'posts'", [count])
    for (const { sql } of made) database.run(sql)
  })()
}

describe('an include, where the tenant has more records than a query may scan', () => {
  let server: TestServer
  const id = '0190ffff-0000-7000-8000-000000000000'
  const rows = (count: number) => {
    const database = new Database(server.databaseFile)
    database.run('update heads set rows = ?', [count])
    database.close()
  }
  beforeAll(async () => {
    server = await testServer()
    const commands = [
      { do: 'replace', resource: 'users', id, body: { handle: 'ada', name: 'Ada' } },
      { do: 'replace', resource: 'posts', id, body: { authorId: id, slug: 'a', title: 'A', status: 'published' } },
      { do: 'replace', resource: 'tags', id, body: { name: 'a' } },
      { do: 'replace', resource: 'postTags', id, body: { postId: id, tagId: id } },
    ]
    expect((await server.call('POST', '/batch', { body: { commands } })).status).toBe(200)
    rows(limits.scanRowsMax + 1)
  })
  afterAll(() => server.stop())

  const served = [
    'users?include=posts(sort:-id)',
    'posts?include=comments,tags(sort:-id)',
    `posts/${id}?include=tags,author.posts`,
  ]
  test.each(served)('is answered what an index serves: %s', async (path) => {
    expect((await server.call('GET', `/${path}`)).status).toBe(200)
  })

  const scanning = [
    'users?include=posts(sort:-commentCount,limit:3)',
    `users/${id}?include=posts(sort:createdAt)`,
    'posts?include=tags(sort:name)',
    'tags?include=posts',
    'comments?include=post.author,post.tags(sort:-postCount)',
  ]
  test.each(scanning)('is refused what would have to be scanned: %s', async (path) => {
    rows(limits.scanRowsMax + 1)
    const refused = await server.call('GET', `/${path}`)
    expect([refused.status, refused.body.type]).toEqual([422, '/problems/filter-too-complex'])
    rows(1)
    expect((await server.call('GET', `/${path}`)).status).toBe(200)
  })

  test('counts each time where the same record may stand under many', async () => {
    rows(limits.scanRowsMax / 50)
    const [nested, fewer] = ['limit=100', 'limit=50'].map(
      (limit) => `/posts?${limit}&include=author.posts(sort:createdAt,limit:1)`,
    )
    expect((await server.call('GET', nested!)).status).toBe(422)
    expect((await server.call('GET', fewer!)).status).toBe(200)
  })
})
