import { Database, type SQLQueryBindings } from 'bun:sqlite'
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { type Draw, withRandomChoices } from '../support/random-model.ts'
import { type TestServer, testServer } from '../support/server.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

let server: TestServer
let raw: Database
beforeAll(async () => {
  server = await testServer()
  raw = new Database(server.databaseFile, { readwrite: true, strict: true })
  raw.run('pragma busy_timeout = 10000')
  raw.run('pragma foreign_keys = on')
})
afterAll(async () => {
  raw.close()
  await server.stop()
})

const idOf = (n: number) => `0190a000-0000-7000-8000-00000000000${n.toString(16)}`
const names = ['Ada', "o'hara", '"', '🙂', '\u202e', '{"a":1}', '\\', 'a\u{10ffff}']

/** One entry of the log. */
interface Entry {
  readonly seq: number
  readonly resource: string
  readonly id: string
  readonly operation: 'create' | 'update' | 'delete'
  readonly version: number
  readonly image: string | null
  readonly changed: string | null
  readonly actor: string | null
  readonly request: string | null
}

/** A record as an image of the log shows it. */
type Image = Readonly<Record<string, unknown>>

function entriesOf(tenant: string): Entry[] {
  return raw.query<Entry, [string]>('select * from changes where tenant = ? order by seq').all(tenant)
}

/** The records that the entries make, one after the other, from nothing; each is held to the one before it. */
function replay(entries: readonly Entry[]): Map<string, Image> {
  const records = new Map<string, Image>()
  const versions = new Map<string, number>()
  for (const { resource, id, operation, version, image, changed } of entries) {
    const place = `${resource}/${id}`
    const before = records.get(place)
    const after: Image | null = image === null ? null : JSON.parse(image)
    expect([place, version]).toEqual([place, (versions.get(place) ?? 0) + 1])
    expect([place, operation, before === undefined]).toEqual([place, operation, operation === 'create'])
    expect([place, operation, after === null]).toEqual([place, operation, operation === 'delete'])
    if (before && after) expect([place, JSON.parse(changed ?? '')]).toEqual([place, differences(before, after)])
    versions.set(place, version)
    if (after) expect([place, after.id, after.version]).toEqual([place, id, version])
    if (after) records.set(place, after)
    else records.delete(place)
  }
  return records
}

/** The fields in which two images differ, those apart that differ with every change. */
function differences(before: Image, after: Image): string[] {
  return Object.keys(after).filter((name) => {
    return name !== 'version' && name !== 'updatedAt' && !Bun.deepEquals(before[name], after[name])
  })
}

/** The records that are in the tables. */
function tablesOf(tenant: string): Map<string, Image> {
  const records = new Map<string, Image>()
  for (const [name, resource] of model.resources) {
    for (const row of raw
      .query<Record<string, unknown>, [string]>(`select * from "${name}" where tenant = ?`)
      .all(tenant)) {
      const shown = [...resource.fields.values()].map((field) => {
        const value = row[field.name]
        return [field.name, field.kind === 'json' && value !== null ? JSON.parse(String(value)) : value]
      })
      records.set(`${name}/${row.id}`, Object.fromEntries(shown))
    }
  }
  return records
}

/** One write over HTTP; whether it is granted does not matter here. */
function request(draw: Draw, key: string): Promise<unknown> {
  const name = draw.pick(['users', 'posts', 'posts', 'comments', 'tags', 'postTags'])
  const id = idOf(draw.int(0, 5))
  const n = draw.int(0, 20)
  const bodies: Record<string, Record<string, unknown>> = {
    users: { handle: `h${n}`, name: draw.pick(names) },
    posts: { authorId: idOf(n % 6), slug: `s${n}`, title: draw.pick(names), words: n, meta: { [draw.pick(names)]: n } },
    comments: { postId: idOf(n % 6), authorId: idOf(n % 5), body: draw.pick(names) },
    tags: { name: `${draw.pick(names)}${n}` },
    postTags: { postId: idOf(n % 6), tagId: idOf(n % 5) },
  }
  const body = bodies[name] ?? {}
  const method = draw.pick(['POST', 'PUT', 'PUT', 'PATCH', 'PATCH', 'DELETE'])
  if (method === 'POST') return server.call(method, `/${name}`, { key, body })
  if (method === 'DELETE') return server.call(method, `/${name}/${id}`, { key })
  const part = method === 'PUT' ? body : Object.fromEntries(draw.some(Object.entries(body), 2))
  return server.call(method, `/${name}/${id}`, { key, body: part })
}

type Sql = readonly [text: string, ...args: SQLQueryBindings[]]

/** One statement that a person at a SQLite prompt might write; it may be refused. */
function statement(draw: Draw, tenant: string): Sql {
  const time = draw.pick(['2026-01-01T00:00:00.000Z', '2026-06-01T00:00:00.000Z'])
  const id = idOf(draw.int(0, 8))
  const other = idOf(draw.int(0, 5))
  const n = draw.int(0, 20)
  const text = draw.pick(names)
  const identity = [tenant, id, time, time]
  const insert = (table: string, columns: string, ...args: SQLQueryBindings[]): Sql => [
    `insert ${draw.pick(['', 'or ignore', 'or abort'])} into ${table}(tenant, id, createdAt, updatedAt, ${columns}) values (?, ?, ?, ?${', ?'.repeat(args.length)})`,
    ...identity,
    ...args,
  ]
  return draw.pick<() => Sql>([
    () => insert('users', 'handle, name', `h${n}`, text),
    () => insert('users', 'handle, name, postCount, wordCount', `h${n}`, text, 99, -1),
    () => insert('posts', 'authorId, slug, title, words', other, `s${n}`, text, n),
    () => insert('posts', 'authorId, slug, title, authorName, meta', other, `s${n}`, text, 'Mallory', '{"a": [1, 2 ]}'),
    () => insert('comments', 'postId, authorId, body', other, idOf(n % 6), text),
    () => insert('tags', 'name', `${text}${n}`),
    () => insert('postTags', 'postId, tagId', other, idOf(n % 6)),
    () => [
      `insert into users(tenant, id, createdAt, updatedAt, handle, name) values (?, ?, ?, ?, ?, ?)
       on conflict(tenant, id) do update set name = excluded.name || ?`,
      ...identity,
      `h${n}`,
      text,
      n,
    ],
    () => ['update users set name = ? where tenant = ?', text, tenant],
    () => ['update users set name = name || ?, version = ? where tenant = ? and id > ?', n, n, tenant, id],
    () => ['update users set postCount = ?, wordCount = postCount where tenant = ?', n, tenant],
    () => ['update posts set words = words + ? where tenant = ?', n, tenant],
    () => ['update posts set authorId = ?, words = ? where tenant = ? and id <= ?', other, n, tenant, id],
    () => ['update posts set authorName = ?, commentCount = 7, lastCommentAt = ? where tenant = ?', text, time, tenant],
    () => [
      'update posts set meta = json_object(?, ?), status = ? where tenant = ? and id = ?',
      text,
      n,
      'published',
      tenant,
      id,
    ],
    () => ['update posts set meta = null, updatedAt = ? where tenant = ?', time, tenant],
    () => ['update comments set postId = ?, createdAt = ? where tenant = ? and id >= ?', other, time, tenant, id],
    () => ['update tags set name = name where tenant = ?', tenant],
    () => ['update postTags set tagId = ? where tenant = ? and id = ?', other, tenant, id],
    () => ['delete from posts where tenant = ? and id = ?', tenant, id],
    () => ['delete from comments where tenant = ? and authorId = ?', tenant, other],
    () => ['delete from users where tenant = ? and id = ?', tenant, id],
    () => ['delete from tags where tenant = ? and id > ?', tenant, id],
  ])()
}

/** Some statements in one transaction, which may end in nothing. Answers the entries that it wrote, by their seq. */
function transaction(draw: Draw, tenant: string): readonly [from: number, to: number] {
  const last = () => Number(raw.query('select coalesce(max(seq), 0) from changes').values()[0]?.[0])
  raw.run('begin immediate')
  const from = last()
  for (let count = draw.int(1, 4); count > 0; count--) {
    const [text, ...args] = statement(draw, tenant)
    try {
      raw.query(text).run(...args)
    } catch (error) {
      expect(String(error)).toMatch(/constraint failed/)
    }
  }
  const to = last()
  const isKept = draw.chance(85)
  raw.run(isKept ? 'commit' : 'rollback')
  return isKept ? [from, to] : [from, from]
}

test('the log alone makes the tables again, whoever wrote them, and tells who did', async () => {
  let runs = 0
  const ways = { request: 0, raw: 0 }
  await withRandomChoices(
    async (draw) => {
      const tenant = `tenant${runs++}`
      const key = await server.key({ tenant, scopes: ['read', 'write'] })
      for (const n of [0, 1, 2, 3]) {
        await server.call('PUT', `/users/${idOf(n)}`, { key, body: { handle: `founder${n}`, name: 'Founder' } })
        await server.call('PUT', `/posts/${idOf(n)}`, {
          key,
          body: { authorId: idOf(n), slug: `first${n}`, title: 'First' },
        })
        await server.call('PUT', `/tags/${idOf(n)}`, { key, body: { name: `first${n}` } })
      }
      const spans: (readonly [number, number])[] = []
      for (let waves = draw.int(1, 8); waves > 0; waves--) {
        const sent = Array.from({ length: draw.int(0, 8) }, () => request(draw, key))
        for (let count = draw.int(0, 3); count > 0; count--) spans.push(transaction(draw, tenant))
        await Promise.all(sent)
      }
      const entries = entriesOf(tenant)
      expect(Object.fromEntries(replay(entries))).toEqual(Object.fromEntries(tablesOf(tenant)))
      for (const { seq, actor, request } of entries) {
        const isRaw = spans.some(([from, to]) => seq > from && seq <= to)
        expect([seq, actor === null, request === null]).toEqual([seq, isRaw, isRaw])
        ways[isRaw ? 'raw' : 'request']++
      }
    },
    { runs: 30 },
  )
  expect(complaintsAbout(server.databaseFile, model)).toEqual([])
  expect(Math.min(ways.raw, ways.request)).toBeGreaterThan(100)
})

test('heads say the last change and the number of records of each tenant and resource', () => {
  const counted = [...model.resources.keys()].flatMap((name) =>
    raw.query(`select tenant, '${name}' as resource, count(*) as rows from "${name}" group by tenant`).all(),
  ) as { tenant: string; resource: string; rows: number }[]
  const rowsOf = new Map(counted.map(({ tenant, resource, rows }) => [`${tenant} ${resource}`, rows]))
  const last = raw
    .query<{ tenant: string; resource: string; seq: number }, []>(
      'select tenant, resource, max(seq) as seq from changes group by tenant, resource order by tenant, resource',
    )
    .all()
  const heads = raw.query('select tenant, resource, seq, rows from heads order by tenant, resource').all()
  const expected = last.map((each) => ({ ...each, rows: rowsOf.get(`${each.tenant} ${each.resource}`) ?? 0 }))
  expect(heads).toEqual(expected)
  expect(heads.length).toBeGreaterThan(100)
})
