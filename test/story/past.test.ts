import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { compactLog } from '../../src/write/maintenance.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

let server: TestServer
let editor: string
let authors: string[]
beforeAll(async () => {
  server = await testServer()
  editor = await server.key({ scopes: ['read', 'write', 'editor'] })
  const made = [1, 2].map((n) =>
    server.call('POST', '/users', { body: { handle: `author-${n}`, name: `Author ${n}` } }),
  )
  authors = (await Promise.all(made)).map(({ body }) => body.id)
})
afterAll(() => server.stop())

const tokenOf = (answer: Answer) => answer.headers.get('consistency-token') ?? ''
let count = 0

const queries = [
  '/posts?sort=createdAt',
  '/posts?sort=-commentCount,id&count=exact',
  '/posts?status=published&fields=id,title,version',
  '/v1/articles?status=live&limit=3',
]

/** What lists and records answer now, to whom. */
async function world(ids: readonly string[]) {
  const paths = [...queries, ...ids.flatMap((id) => [`/posts/${id}`, `/v1/articles/${id}`])]
  const keys = [editor, null]
  const asked = paths.flatMap((path) => keys.map((key) => ({ path, key })))
  return Promise.all(
    asked.map(async ({ path, key }) => {
      const { status, body, headers } = await server.call('GET', path, { key })
      return {
        path,
        key,
        status,
        data: status === 200 ? (body.data ?? body) : null,
        count: body.count,
        tag: headers.get('etag'),
      }
    }),
  )
}

describe('records as of a moment', () => {
  test('are as they were answered then, in every list, in every version, to every caller', async () => {
    const ids: string[] = []
    const moments: { token: string; seen: Awaited<ReturnType<typeof world>> }[] = []
    const step = fc.record({
      kind: fc.constantFrom('create', 'patch', 'delete', 'comment'),
      pick: fc.nat(),
      text: fc.nat(5),
    })
    const statuses = ['draft', 'published', 'archived']
    for (const { kind, pick, text } of fc.sample(step, { numRuns: 40, seed: 7 })) {
      const id = ids[pick % Math.max(1, ids.length)]
      const status = statuses[text % 3]
      const authorId = authors[pick % 2]
      if (kind === 'create' || !id) {
        const slug = `past-${count++}`
        const body = {
          authorId,
          slug,
          title: `Title ${text}`,
          status,
          meta: { n: text, language: text % 2 ? 'en' : null },
        }
        ids.push((await server.call('POST', '/posts', { body })).body.id)
      } else if (kind === 'patch')
        await server.call('PATCH', `/posts/${id}`, { body: { status, body: `Text ${text}` } })
      else if (kind === 'delete') await server.call('DELETE', `/posts/${id}`)
      else await server.call('POST', '/comments', { body: { postId: id, authorId, body: 'A comment' } })
      if (pick % 4 === 0) moments.push({ token: tokenOf(await server.call('GET', '/posts')), seen: await world(ids) })
    }
    expect(moments.length).toBeGreaterThan(5)
    for (const { token, seen } of moments) {
      for (const { path, key, status, data, count: counted, tag } of seen) {
        const then = await server.call('GET', `${path}${path.includes('?') ? '&' : '?'}as-of=${token}`, { key })
        expect([path, then.status]).toEqual([path, status])
        if (status !== 200) continue
        expect(then.body.data ?? then.body).toEqual(data)
        expect([then.body.count, tokenOf(then)]).toEqual([counted, token])
        if (!then.body.data) expect(then.headers.get('etag')).toBe(tag)
      }
    }
  })

  test('are found by a time as well, and page by page', async () => {
    const before = await server.call('GET', '/posts?sort=createdAt&limit=2', { key: editor })
    const [change] = (await server.call('GET', `/changes?after=start&limit=1`)).body.data
    const now = new Date(Date.now() + 1).toISOString()
    await Bun.sleep(5)
    const slug = `late-${count++}`
    const late = await server.call('POST', '/posts', { body: { authorId: authors[0], slug, title: 'Late' } })
    const path = `/posts?sort=createdAt&limit=2&as-of=${now}`
    const page = await server.call('GET', path, { key: editor })
    expect(page.body.data).toEqual(before.body.data)
    const ids: string[] = []
    for (let next: string | null = page.body.next; ; ) {
      const url: string = next ? `${path}&after=${next}` : path
      const { body } = await server.call('GET', url, { key: editor })
      ids.push(...body.data.map((each: { id: string }) => each.id))
      next = body.next
      if (next === null) break
    }
    expect(ids).not.toContain(late.body.id)
    expect((await server.call('GET', `/posts/${late.body.id}?as-of=${now}`, { key: editor })).status).toBe(404)
    const first = await server.call('GET', `/posts?as-of=${new Date(Date.parse(change.time) - 1).toISOString()}`)
    expect([first.status, first.body.data]).toEqual([200, []])
  })

  test.each([
    ['yesterday', 400, 'invalid-parameter'],
    ['zzz.1.aaaaaaaaaaaa', 400, 'invalid-parameter'],
    ['2026-02-30', 400, 'invalid-parameter'],
  ])('as-of=%s is refused with %d %s', async (moment, status, code) => {
    for (const path of ['/posts', `/posts/${authors[0]}`]) {
      const answer = await server.call('GET', `${path}?as-of=${moment}`)
      expect([answer.status, answer.body.type, answer.body.errors[0].parameter]).toEqual([
        ...[status, `/problems/${code}`, 'as-of'],
      ])
    }
  })

  test('come without others: include is refused', async () => {
    const answer = await server.call('GET', `/posts?include=author&as-of=2026-01-01`)
    expect([answer.status, answer.body.errors[0].parameter]).toEqual([400, 'include'])
  })

  test('are told from the kept part of a compacted log, and refused before it', async () => {
    const own = await testServer()
    const make = (n: number) => own.call('POST', '/tags', { body: { name: `tag ${n}` } })
    const [one, two] = [await make(1), await make(2)]
    await own.call('PATCH', `/tags/${one.body.id}`, { body: { name: 'tag 1b' } })
    const kept = await own.call('GET', '/tags?sort=name')
    const cutoff = new Date().toISOString()
    await Bun.sleep(5)
    await own.call('PATCH', `/tags/${one.body.id}`, { body: { name: 'tag 1c' } })
    await own.call('DELETE', `/tags/${two.body.id}`)
    for (let at: number | null = 0; at !== null; ) at = await compactLog(at, cutoff, own.node.reader, own.node.primary)
    using database = new Database(own.databaseFile, { readonly: true })
    expect(database.query('select count(*) from changes').values()).toEqual([[4]])
    const then = await own.call('GET', `/tags?sort=name&as-of=${tokenOf(kept)}`)
    expect(then.body.data).toEqual(kept.body.data)
    const refused = await own.call('GET', `/tags?as-of=${tokenOf(two)}`)
    expect([refused.status, refused.body.type]).toEqual([410, '/problems/past-not-kept'])
    await own.stop()
  })
})
