import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Metrics } from '../../src/http/metrics.ts'
import { limits } from '../../src/schema/limits.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { type TestEdge, testEdge } from '../support/edge.ts'
import { type CallOptions, type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

/** What the model declares of its oldest version: deprecated from 2026-11-01 on, at its end on 2030-03-01. */
const deprecation = '@1793491200'
const sunset = 'Fri, 01 Mar 2030 00:00:00 GMT'
const sunsetAt = Date.parse('2030-03-01')
const explained =
  '</changelog#v1>; rel="deprecation"; type="text/html", </changelog#v1>; rel="sunset"; type="text/html"'
const unknown = '019a3f00-0000-7000-8000-00000000dead'

let server: TestServer
let article: string
beforeAll(async () => {
  server = await testServer()
  const author = { handle: 'ada', givenName: 'Ada', familyName: 'L' }
  const { body } = await server.call('POST', '/v1/users', { body: author })
  for (const slug of ['a', 'b'])
    article = (await server.call('POST', '/v1/articles', { body: { slug, title: slug, authorId: body.id } })).body.id
})
afterAll(() => server.stop())

const lifeOf = ({ headers }: { headers: Headers }) => ['deprecation', 'sunset', 'link'].map((name) => headers.get(name))

describe('a version that has an end', () => {
  type Asked = readonly [status: number, method: string, path: string, successor: string | null, options?: CallOptions]
  const byHeader = { 'API-Version': '2026-03-01' }
  const answers: readonly Asked[] = [
    [200, 'GET', '/v1/articles', '/v2/posts'],
    [200, 'GET', '/articles', '/v2/posts', { headers: byHeader }],
    [200, 'GET', '/v1/articles/{article}', '/v2/posts/{article}'],
    [200, 'HEAD', '/v1/articles/{article}', '/v2/posts/{article}'],
    [304, 'GET', '/v1/articles/{article}', '/v2/posts/{article}', { headers: { 'If-None-Match': '*' } }],
    [200, 'GET', '/v1/articles/{article}/history', '/v2/posts/{article}/history'],
    [201, 'POST', '/v1/tags', '/v2/tags', { body: { name: 'new' } }],
    [200, 'PATCH', '/v1/articles/{article}', '/v2/posts/{article}', { body: { title: 'B' } }],
    [
      200,
      'POST',
      '/v1/batch',
      '/v2/batch',
      { body: { commands: [{ do: 'create', resource: 'tags', body: { name: 't' } }] } },
    ],
    [401, 'GET', '/v1/articles', '/v2/posts', { key: 'pgk_wrong' }],
    [401, 'GET', '/articles', '/v2/posts', { key: 'pgk_wrong', headers: byHeader }],
    [404, 'GET', `/v1/articles/${unknown}`, `/v2/posts/${unknown}`],
    [404, 'DELETE', `/v1/articles/${unknown}`, `/v2/posts/${unknown}`],
    [404, 'GET', '/v1/nothing', null],
    [404, 'GET', '/v1/posts', null],
    [400, 'GET', '/v1/articles/x%3E;rel=next', null],
    [405, 'PUT', '/v1/articles', '/v2/posts'],
    [412, 'PATCH', '/v1/articles/{article}', '/v2/posts/{article}', { body: {}, headers: { 'If-Match': '"99"' } }],
    [422, 'GET', '/v1/articles?body=x', '/v2/posts'],
    [200, 'GET', '/v1/openapi.json', '/v2/openapi.json'],
  ]

  // Each row is whole: for one that is short, the runner would wait until it is told that the test is done.
  const rows = answers.map(
    ([status, method, path, successor, options = {}]) => [status, method, path, successor, options] as const,
  )
  test.each(rows)('says so in a %i answer to %s %s', async (status, method, path, successor, options) => {
    const at = (text: string) => text.replace('{article}', article)
    const answer = await server.call(method, at(path), options)
    const link = successor === null ? explained : `${explained}, <${at(successor)}>; rel="successor-version"`
    expect([answer.status, ...lifeOf(answer)]).toEqual([status, deprecation, sunset, link])
    expect(answer.headers.get('api-version')).toBe('2026-03-01')
  })

  test('says so beside the links of a page, in an answer that is kept, and in a replay', async () => {
    const page = () => server.call('GET', '/v1/articles?limit=1')
    const [first, , third] = [await page(), await page(), await page()]
    expect(third.headers.get('server-timing')).toBe('kept')
    for (const { headers, body } of [first, third]) {
      const links = [`</v1/articles?limit=1&after=${body.next}>; rel="next"`, explained]
      expect(headers.get('link')).toBe(`${links.join(', ')}, </v2/posts>; rel="successor-version"`)
    }
    const create = () =>
      server.call('POST', '/v1/tags', { body: { name: 'twice' }, headers: { 'Idempotency-Key': 'twice' } })
    const [made, replayed] = [await create(), await create()]
    expect(replayed.headers.get('idempotency-replayed')).toBe('true')
    expect(lifeOf(replayed)).toEqual(lifeOf(made))
  })

  test('leads by its links to the same record, and to a page and a section that there are', async () => {
    const links = (await server.call('GET', `/v1/articles/${article}`)).headers.get('link') ?? ''
    const [explanation, , successor] = [...links.matchAll(/<([^>]+)>/g)].map((match) => match[1] ?? '')
    expect((await server.call('GET', successor ?? '')).body.id).toBe(article)
    const [path, section] = explanation?.split('#') ?? []
    expect((await server.call('GET', path ?? '', { key: null })).text).toContain(`<section id="${section}">`)
  })

  test.each(['/v2/posts', '/v3/posts', '/posts', '/posts/x', '/versions', '/nothing'])(
    'is none of %s',
    async (path) => {
      expect(lifeOf(await server.call('GET', path))).toEqual([null, null, null])
    },
  )
})

describe('two keys of one tenant and the same scopes', () => {
  test('that are pinned to other versions never get one another what is kept for the same URL', async () => {
    const pins = [null, '2026-07-01', '2026-11-01', '2026-07-01'] as const
    const keys = await Promise.all(pins.map((version) => server.key({ version })))
    const timings: (string | null)[] = []
    for (const _ of [1, 2, 3, 4]) {
      for (const [i, key] of keys.entries()) {
        const { headers } = await server.call('GET', '/users?sort=handle', { key })
        expect([i, headers.get('api-version')]).toEqual([i, pins[i] ?? '2026-11-01'])
        timings.push(headers.get('server-timing'))
      }
    }
    expect(timings.slice(-4)).toEqual(['kept', 'kept', 'kept', 'kept'])
  })

  test('are served their own version where a request names none, and the named one where it does', async () => {
    const key = await server.key({ version: '2026-03-01' })
    expect(Object.keys((await server.call('GET', '/users', { key })).body.data[0])).toContain('familyName')
    expect((await server.call('GET', '/articles', { key })).status).toBe(200)
    expect((await server.call('GET', '/v3/users', { key })).headers.get('api-version')).toBe('2026-11-01')
    const headers = { 'API-Version': '2026-07-01' }
    expect((await server.call('GET', '/users', { key, headers })).headers.get('api-version')).toBe('2026-07-01')
  })
})

describe('from its sunset on', () => {
  let ended: TestApp
  let clock = sunsetAt - 1
  let pinned: string
  beforeAll(async () => {
    ended = await testApp(() => ({ now: () => clock }))
    pinned = await ended.key({ version: '2026-03-01' })
  })
  afterAll(async () => {
    await ended.stop()
    expect(ended.faults).toEqual([])
  })

  const ask = (method: string, path: string, headers: Record<string, string> = {}, body?: object) =>
    ended.app.fetch(
      new Request(`http://127.0.0.1${path}`, {
        method,
        headers: {
          Host: '127.0.0.1',
          Authorization: `Bearer ${pinned}`,
          'Content-Type': 'application/json',
          ...headers,
        },
        ...(body && { body: JSON.stringify(body) }),
      }),
    )

  test('nothing of a version is answered but 410 and what to move to, what was kept included', async () => {
    const once = { 'Idempotency-Key': 'once' }
    const tag = { name: 'last' }
    const requests = [
      () => ask('GET', '/v1/articles'),
      () => ask('GET', '/articles'),
      () => ask('GET', '/articles', { 'API-Version': 'v1' }),
      () => ask('GET', '/v1/openapi.json'),
      () => ask('POST', '/v1/tags', once, tag),
      () => ask('POST', '/tags', { 'Idempotency-Key': 'again' }, { name: 'other' }),
    ]
    const statuses = async () => Promise.all(requests.map(async (request) => (await request()).status))
    clock = sunsetAt - 1
    expect(await statuses()).toEqual([200, 200, 200, 200, 201, 201])
    const timings: (string | null)[] = []
    for (const _ of [1, 2, 3, 4]) timings.push((await ask('GET', '/v1/articles')).headers.get('server-timing'))
    expect(timings.at(-1)).toBe('kept')
    clock = sunsetAt
    for (const request of requests) {
      const response = await request()
      expect([response.status, ...lifeOf(response).slice(0, 2)]).toEqual([410, deprecation, sunset])
      expect(response.headers.get('link')).toStartWith(`${explained}, </v2/`)
      expect(await response.json()).toMatchObject({
        type: '/problems/version-sunset',
        detail:
          'The API version 2026-03-01 (v1) ended on 2030-03-01. Move to 2026-07-01 (v2). What changed with 2026-07-01: Articles are posts, published ones say so, and a homepage is a field of its user. Posts count their words. See /changelog.',
      })
    }
    expect((await ask('GET', '/posts', { 'API-Version': 'v2' })).status).toBe(200)
    expect((await ask('GET', '/v3/tags?name=last')).status).toBe(200)
  })

  test('it is told apart by /versions, and is no choice of the documentation page', async () => {
    const stateAt = async (moment: string) => {
      clock = Date.parse(moment)
      const { data } = (await (await ask('GET', '/versions')).json()) as { data: { alias: string; state: string }[] }
      const page = await (await ask('GET', '/docs')).text()
      return [data.find(({ alias }) => alias === 'v1')?.state, page.includes('/v1/openapi.json')]
    }
    expect(await stateAt('2026-10-31T23:59:59.999Z')).toEqual(['active', true])
    expect(await stateAt('2026-11-01')).toEqual(['deprecated', true])
    expect(await stateAt('2030-02-28T23:59:59.999Z')).toEqual(['deprecated', true])
    expect(await stateAt('2030-03-01')).toEqual(['sunset', false])
  })
})

describe('an edge', () => {
  let edge: TestEdge
  let pinned: string
  let clock = Date.now()
  beforeAll(async () => {
    pinned = await server.key({ version: '2026-03-01' })
    edge = await testEdge(server, { now: () => clock })
  })
  afterAll(async () => {
    await edge.stop()
    expect(edge.faults).toEqual([])
  })

  test('serves a pinned key its version, and ends it at its sunset with what it has kept and just written', async () => {
    const path = `/articles/${article}`
    const changed = await edge.call('PATCH', path, { key: pinned, body: { title: 'Through the edge' } })
    expect([changed.status, ...lifeOf(changed).slice(0, 2)]).toEqual([200, deprecation, sunset])
    const recent = await edge.call('GET', path, { key: pinned })
    expect([recent.status, recent.body.title, ...lifeOf(recent)]).toEqual([200, 'Through the edge', ...lifeOf(changed)])
    for (const _ of [1, 2, 3]) expect((await edge.call('GET', '/articles', { key: pinned })).status).toBe(200)
    clock = sunsetAt
    for (const each of [path, '/articles', '/v1/articles'])
      expect([each, (await edge.call('GET', each, { key: pinned })).status]).toEqual([each, 410])
    expect((await edge.call('GET', '/v2/posts', { key: pinned })).status).toBe(200)
    clock = Date.now()
  })

  test('whose primary is away and who has no copy tells of the versions, in every document', async () => {
    const alone = await testEdge(server, { origin: 'http://127.0.0.1:1' })
    alone.replica.claim({ position: null })
    const paths = ['/versions', '/changelog', '/changelog.json', '/openapi.json', '/v1/openapi.json', '/docs']
    const statusOf = async (path: string) =>
      (await alone.call('GET', path, { headers: { Consistency: 'strong' } })).status
    expect(await Promise.all(paths.map(statusOf))).toEqual(paths.map(() => 200))
    expect(await statusOf('/v1/articles')).toBe(503)
    await alone.stop()
  })

  test('counts the requests of each version that it answers itself, by the key', async () => {
    const counted = await testEdge(server)
    const key = await server.key({ version: '2026-07-01' })
    counted.replica.catchUp()
    for (const _ of [1, 2, 3]) await counted.call('GET', '/posts', { key })
    await counted.call('GET', '/posts', { key, headers: { Consistency: 'strong' } })
    await counted.call('GET', '/v1/articles', { key: null })
    const { text } = await counted.call('GET', '/metrics')
    expect(versionCounts(text).map(({ version, key, count }) => [version, key.length, count])).toEqual([
      ['2026-07-01', 12, 3],
      ['2026-03-01', 'anonymous'.length, 1],
    ])
    await counted.stop()
  })
})

function versionCounts(text: string) {
  const lines = text.matchAll(/^perigee_version_requests_total\{version="(.*)",key="(.*)"\} (\d+)$/gm)
  return [...lines].map(([, version = '', key = '', count]) => ({ version, key, count: Number(count) }))
}

describe('/metrics', () => {
  test('count the requests of each version and key: reads, kept ones, writes, and those after the sunset', async () => {
    let clock = sunsetAt - 1
    const { app, key, stop } = await testApp(() => ({ now: () => clock }))
    const headers = { Host: '127.0.0.1', Authorization: `Bearer ${await key()}`, 'Content-Type': 'application/json' }
    const ask = async (path: string, init: RequestInit = {}) =>
      (await app.fetch(new Request(`http://127.0.0.1${path}`, { headers, ...init }))).text()
    for (const _ of [1, 2, 3, 4]) await ask('/v1/articles')
    await ask('/tags', { method: 'POST', body: '{"name":"counted"}' })
    await ask('/tags', { headers: { Host: '127.0.0.1' } })
    await ask('/livez')
    clock = sunsetAt
    await ask('/v1/articles')
    const counts = versionCounts(await ask('/metrics'))
    const [mine] = counts
    expect(counts).toEqual([
      { version: '2026-03-01', key: mine?.key ?? '', count: 5 },
      { version: '2026-11-01', key: mine?.key ?? '', count: 1 },
      { version: '2026-11-01', key: 'anonymous', count: 1 },
    ])
    expect(mine?.key).toMatch(/^[0-9a-f]{12}$/)
    await stop()
  })

  test('count the keys above the limit together', () => {
    const metrics = new Metrics(() => 0)
    for (let i = 0; i < limits.versionSeriesMax + 50; i++) metrics.countVersion('2026-11-01', `key-${i}`)
    metrics.countVersion('2026-11-01', 'key-0')
    const counts = versionCounts(metrics.render({ seq: null, primary: null, kept: { hits: 0, misses: 0 }, more: [] }))
    expect(counts.length).toBe(limits.versionSeriesMax + 1)
    expect(counts.filter(({ count }) => count > 1)).toEqual([
      { version: '2026-11-01', key: 'key-0', count: 2 },
      { version: '2026-11-01', key: 'other', count: 50 },
    ])
  })
})
