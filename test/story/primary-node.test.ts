import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type TestServer, testServer } from '../support/server.ts'
import { startSqld, type TestSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

/** What a node asks by itself from time to time: maintenance, who sends webhooks, who keeps read models. */
const background = /from fanout order by id|from idempotency where rowid|webhooks|deliveries|projections/

/** Passes requests on to a database, and counts those of its callers; not the end of one that was answered. */
function counting(target: string, port = 0) {
  let requests = 0
  const server = Bun.serve({
    port,
    hostname: '127.0.0.1',
    async fetch(request) {
      const { pathname } = new URL(request.url)
      const { method, headers } = request
      const body = await request.text()
      if (!background.test(body) && !isEnd(body)) requests++
      return fetch(target + pathname, { method, headers, body, decompress: false })
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    /** How many requests the work took. */
    async during(work: () => Promise<unknown>): Promise<number> {
      const before = requests
      await work()
      return requests - before
    },
    stop: () => server.stop(true),
  }
}

function isEnd(body: string): boolean {
  const { requests } = JSON.parse(body || '{"requests":[]}') as { requests: readonly { type: string }[] }
  return requests.every(({ type }) => type === 'close')
}

describe.each([
  ['whose sqld runs on the same host', true],
  ['whose database is read over HTTP', false],
])('a primary node %s', (_, isHere) => {
  let sqld: TestSqld
  let link: ReturnType<typeof counting>
  let server: TestServer
  beforeAll(async () => {
    sqld = await startSqld()
    link = counting(sqld.url)
    server = await testServer({ libsql: { url: link.url, token: sqld.token, folder: isHere ? sqld.folder : null } })
  })
  afterAll(async () => {
    await server.stop()
    await link.stop()
    await sqld.remove()
  })
  const make = async (handle: string) =>
    (await server.call('POST', '/users', { body: { handle, name: 'Name' } })).body.id as string

  test('creates once however often a key comes, changes under a condition, and deletes', async () => {
    const headers = { 'Idempotency-Key': 'once' }
    const body = { handle: 'ada', name: 'Ada' }
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => server.call('POST', '/users', { body, headers })),
    )
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(answers.filter((each) => each.headers.get('idempotency-replayed') === 'true')).toHaveLength(19)
    const reused = await server.call('POST', '/users', { body: { ...body, name: 'Other' }, headers })
    expect([reused.status, reused.body.type]).toEqual([422, '/problems/idempotency-key-reused'])

    const path = `/users/${answers[0]?.body.id}`
    expect((await server.call('GET', path)).body).toEqual(answers[0]?.body)
    const patch = { body: { name: 'Ada L.' }, headers: { 'If-Match': '"1"' } }
    expect((await server.call('PATCH', path, patch)).headers.get('etag')).toBe('"2-v3"')
    const stale = await server.call('PATCH', path, patch)
    expect([stale.status, stale.body.type, stale.headers.get('etag')]).toEqual([
      412,
      '/problems/precondition-failed',
      '"2-v3"',
    ])
    expect((await server.call('DELETE', path)).status).toBe(204)
    expect((await server.call('GET', path)).status).toBe(404)
  })

  test('tells why a write is refused', async () => {
    const id = await make('grace')
    const taken = await server.call('POST', '/users', { body: { handle: 'grace', name: 'Other' } })
    expect([taken.status, taken.body.type, taken.body.errors[0].pointer]).toEqual([
      409,
      '/problems/already-exists',
      '/handle',
    ])
    const post = { authorId: id, slug: 'a-post', title: 'A post' }
    expect((await server.call('POST', '/posts', { body: post })).status).toBe(201)
    const used = await server.call('DELETE', `/users/${id}`)
    expect([used.status, used.body.type]).toEqual([409, '/problems/still-referenced'])
    const missing = { ...post, slug: 'other', authorId: Bun.randomUUIDv7() }
    const refused = await server.call('POST', '/posts', { body: missing })
    expect([refused.status, refused.body.errors[0].code]).toEqual([422, 'no-such-record'])
    expect((await server.call('DELETE', `/users/${Bun.randomUUIDv7()}`)).status).toBe(404)
  })

  test('commits a batch whole or not at all', async () => {
    const handles = ['one', 'two', 'three']
    const commands = handles.map((handle) => ({
      do: 'create',
      resource: 'users',
      body: { handle, name: 'Of a batch' },
    }))
    const last = { do: 'create', resource: 'users', body: { handle: 'one', name: 'Again' } }
    const refused = await server.call('POST', '/batch', { body: { commands: [...commands, last] } })
    expect([refused.status, refused.body.errors[0].pointer]).toEqual([409, '/commands/3/body/handle'])
    expect((await server.call('POST', '/batch', { body: { commands } })).body.results).toHaveLength(3)
    const first = await server.call('GET', '/users?handle=one&count=exact')
    expect(first.body.data.map((user: { name: string }) => user.name)).toEqual(['Of a batch'])
  })

  test('asks the database once for a write, whatever comes of it, and once for many at a time', async () => {
    const id = await make('counted')
    const body = { handle: 'counted-2', name: 'Name' }
    const headers = { 'Idempotency-Key': 'counted' }
    const commands = [3, 4, 5].map((n) => ({ do: 'create', resource: 'users', body: { ...body, handle: `n${n}` } }))
    const writes: [string, () => Promise<unknown>][] = [
      ['created', () => server.call('POST', '/users', { body, headers })],
      ['replayed', () => server.call('POST', '/users', { body, headers })],
      ['changed', () => server.call('PATCH', `/users/${id}`, { body: { name: 'Other' } })],
      ['a batch', () => server.call('POST', '/batch', { body: { commands } })],
      ['deleted', () => server.call('DELETE', `/users/${id}`)],
    ]
    for (const [what, write] of writes) expect([what, await link.during(write)]).toEqual([what, 1])
    const refused = () => server.call('POST', '/users', { body })
    // A refusal says at which position it was read, which is one read more.
    expect(await link.during(refused)).toBe(isHere ? 1 : 2)
    const many = () => Promise.all(Array.from({ length: 50 }, (_, i) => make(`many-${i}`)))
    expect(await link.during(many)).toBeLessThanOrEqual(5)
    expect(await link.during(() => server.call('GET', '/users?limit=5'))).toBe(isHere ? 0 : 1)
  })

  test('while its database is away, says that nothing was applied; reads go on where its file is here', async () => {
    const id = await make('patient')
    await link.stop()
    await sqld.end()
    const body = { handle: 'late', name: 'Late' }
    const headers = { 'Idempotency-Key': 'late' }
    const write = () => server.call('POST', '/users', { body, headers })
    const away = await write()
    expect([away.status, away.body.type, away.headers.get('retry-after')]).toEqual([
      503,
      '/problems/primary-unreachable',
      '1',
    ])
    const read = await server.call('GET', `/users/${id}`)
    expect([read.status, read.body.type]).toEqual(isHere ? [200, undefined] : [503, '/problems/primary-unreachable'])
    expect((await server.call('GET', '/readyz', { key: null })).status).toBe(isHere ? 200 : 503)
    // What is wrong with a request is told all the same.
    const wrong = await server.call('GET', '/users?limit=many', { key: null })
    expect([wrong.status, wrong.body.type, wrong.headers.has('consistency-token')]).toEqual([
      400,
      '/problems/invalid-parameter',
      isHere,
    ])
    await sqld.restart()
    link = counting(sqld.url, Number(new URL(link.url).port))
    expect((await write()).status).toBe(201)
    expect((await server.call('GET', `/users/${id}`)).status).toBe(200)
  })
})
