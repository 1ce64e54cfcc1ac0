import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { limits } from '../../src/schema/limits.ts'
import { type TestApp, testApp } from '../support/app.ts'

setDefaultTimeout(60_000)

const dayMs = 86_400_000
let app: TestApp
let clock = Date.UTC(2026, 10, 1)
let key: string
let otherKey: string
let readerKey: string
let user: string

beforeAll(async () => {
  app = await testApp(() => ({ now: () => clock }))
  key = await app.key()
  otherKey = await app.key({ tenant: 'other' })
  for (const owner of [key, otherKey])
    for (const handle of ['ada', 'bob', 'cleo', 'dora'])
      user = (await ask('POST', '/users', owner, { handle, name: handle })).body.id ?? user
  user = (await ask('GET', '/users?handle=ada', key)).body.data[0].id
  readerKey = await app.key({ subject: user })
  for (const name of ['A', 'B', 'C']) await ask('PATCH', `/users/${user}`, key, { name })
  for (const slug of ['one', 'two', 'three'])
    await ask('POST', '/posts', key, { authorId: user, slug, title: slug, status: 'published' })
})
afterAll(() => app.stop())

async function ask(method: string, path: string, bearer: string | null, body?: unknown) {
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
  const headers = { Host: 'localhost', 'Content-Type': type, ...(bearer && { Authorization: `Bearer ${bearer}` }) }
  const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) }
  const response = await app.app.fetch(new Request(`http://localhost${path}`, init))
  const text = await response.text()
  return {
    status: response.status,
    link: response.headers.get('link') ?? '',
    body: text === '' ? null : JSON.parse(text),
  }
}

async function cursorOf(path: string, bearer: string | null = key): Promise<string> {
  const page = await ask('GET', path, bearer)
  expect([page.status, typeof page.body.next]).toEqual([200, 'string'])
  return page.body.next
}

async function expectRefused(path: string, cursor: string, bearer: string | null = key) {
  for (const direction of path.includes('/history') ? ['after'] : ['after', 'before']) {
    const answer = await ask(
      'GET',
      `${path}${path.includes('?') ? '&' : '?'}${direction}=${encodeURIComponent(cursor)}`,
      bearer,
    )
    expect([answer.status, answer.body.type]).toEqual([400, '/problems/invalid-cursor'])
  }
}

const lists = ['/users?limit=1', '/users?limit=1&sort=-handle', '/posts?limit=1&status=published&sort=-createdAt']
const history = () => `/users/${user}/history?limit=1`

describe('row 25: a cursor that was not given for this query, tenant and time', () => {
  test('with any of its characters changed, cut off, doubled or moved is refused', async () => {
    for (const path of [...lists, history()]) {
      const cursor = await cursorOf(path)
      const tampered = new Set<string>()
      for (let i = 0; i < cursor.length; i++) {
        tampered.add(`${cursor.slice(0, i)}${cursor[i] === 'A' ? 'B' : 'A'}${cursor.slice(i + 1)}`)
        tampered.add(cursor.slice(0, i) + cursor.slice(i + 1))
        tampered.add(cursor.slice(0, i) + cursor[i] + cursor.slice(i))
      }
      for (const each of [
        cursor.toLowerCase(),
        `${cursor}=`,
        `${cursor}==`,
        ` ${cursor}`,
        `${cursor}\n`,
        cursor + cursor,
      ])
        tampered.add(each)
      tampered.delete(cursor)
      for (const each of tampered) if (each !== '' && each !== cursor) await expectRefused(path, each)
    }
  })

  test.each([
    'x',
    '0',
    '=',
    'null',
    '[]',
    'A'.repeat(22),
    'A'.repeat(23),
    'A'.repeat(5_000),
    '\u20ac',
    '{}',
    "' or 1=1 --",
  ])('"%s", which never was one, is refused', async (cursor) => {
    for (const path of [...lists, history()]) await expectRefused(path, cursor)
  })

  test('a payload of the forger’s own under a signature of ours is refused', async () => {
    const cursor = await cursorOf('/users?limit=1')
    for (const payload of ['[]', '{}', 'null', '[1e999]', '[9999999999,""]', '[1,{"a":1}]', '"x"', '[', ''])
      await expectRefused('/users?limit=1', Buffer.from(payload).toString('base64url') + cursor.slice(-22))
  })

  test('of another query is refused: another sort, filter, value, operator, resource, record', async () => {
    const cursor = await cursorOf('/posts?limit=1&sort=createdAt')
    for (const path of [
      '/posts',
      '/posts?sort=-createdAt',
      '/posts?sort=commentCount',
      '/posts?sort=createdAt&status=published',
      '/posts?sort=createdAt&status[ne]=draft',
      '/users?sort=handle',
      '/comments',
    ])
      await expectRefused(path, cursor)
    const filtered = await cursorOf('/posts?limit=1&status=published')
    for (const path of ['/posts', '/posts?status=draft', '/posts?status[ne]=published', '/posts?status[in]=published'])
      await expectRefused(path, filtered)
    const other = (await ask('GET', '/users?handle=bob', key)).body.data[0].id
    await expectRefused(`/users/${other}/history?limit=1`, await cursorOf(history()))
    await expectRefused(`/posts/${user}/history?limit=1`, await cursorOf(history()))
    await expectRefused('/users?limit=1', await cursorOf(history()))
    await expectRefused(history(), await cursorOf('/users?limit=1'))
  })

  test('stays good for the same query with another page size, fields or includes', async () => {
    const cursor = await cursorOf('/posts?limit=1&sort=createdAt')
    for (const path of [
      '/posts?sort=createdAt',
      '/posts?sort=createdAt&limit=2',
      '/posts?sort=createdAt&fields=id&include=author',
      '/v3/posts?sort=createdAt',
    ])
      expect((await ask('GET', `${path}&after=${cursor}`, key)).body.data.length).toBeGreaterThan(0)
  })

  test('of another tenant is refused, both ways, also where it is the public one', async () => {
    for (const path of lists.slice(0, 2)) {
      await expectRefused(path, await cursorOf(path, otherKey), key)
      await expectRefused(path, await cursorOf(path, otherKey), null)
      await expectRefused(path, await cursorOf(path, key), otherKey)
      await expectRefused(path, await cursorOf(path, null), otherKey)
    }
  })

  test('of another caller of the tenant shows that caller nothing that it may not read', async () => {
    const cursor = await cursorOf('/posts?limit=1&sort=-createdAt', key)
    const hidden = await ask('POST', '/posts', key, {
      authorId: (await ask('GET', '/users?handle=bob', key)).body.data[0].id,
      slug: 'hidden',
      title: 'Hidden',
    })
    for (const bearer of [readerKey, null]) {
      const page = await ask('GET', `/posts?limit=100&sort=-createdAt&before=${cursor}`, bearer)
      expect([page.status, JSON.stringify(page.body).includes(hidden.body.id)]).toEqual([200, false])
    }
  })

  test('and another database is refused: its secret is another', async () => {
    const elsewhere = await testApp(() => ({ now: () => clock }))
    const bearer = await elsewhere.key()
    for (const handle of ['x', 'y']) {
      const body = JSON.stringify({ handle, name: 'n' })
      const headers = { Host: 'localhost', Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' }
      await elsewhere.app.fetch(new Request('http://localhost/users', { method: 'POST', headers, body }))
    }
    const page = await elsewhere.app.fetch(
      new Request('http://localhost/users?limit=1', { headers: { Host: 'localhost' } }),
    )
    const { next } = (await page.json()) as { next: string }
    await expectRefused('/users?limit=1', next)
    await elsewhere.stop()
  })

  test(`is good for ${limits.cursorDaysMax} days and refused after them`, async () => {
    const given = clock
    for (const path of [...lists, history()]) {
      clock = given
      const cursor = await cursorOf(path)
      clock = given + limits.cursorDaysMax * dayMs
      expect((await ask('GET', `${path}&after=${cursor}`, key)).status).toBe(200)
      clock += 1_000
      // A record more, so that the answer is not one that the node has kept.
      await ask('PATCH', `/users/${user}`, key, { name: `After ${path}` })
      await expectRefused(path, cursor)
    }
    clock = given
  })

  test('no cursor was a fault of ours', () => {
    expect(app.faults).toEqual([])
  })
})
