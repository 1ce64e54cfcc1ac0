import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createTokenSealer, type Epoch, type Seq } from '../../src/log/position.ts'
import { limits } from '../../src/schema/limits.ts'
import { type TestEdge, testEdge } from '../support/edge.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'
import { upstream } from '../support/upstream.ts'

setDefaultTimeout(60_000)

let primary: TestServer
/** An edge that reaches its primary, and one that does not. Their copies have `old` and lack `fresh`. */
let edge: TestEdge
let lonely: TestEdge
let old: Answer
let fresh: Answer

beforeAll(async () => {
  primary = await testServer()
  old = await primary.call('POST', '/tags', { body: { name: 'old' } })
  edge = await testEdge(primary)
  lonely = await testEdge(primary, { origin: 'http://127.0.0.1:1' })
  fresh = await primary.call('POST', '/tags', { body: { name: 'fresh' } })
})
afterAll(async () => {
  expect([...edge.faults, ...lonely.faults]).toEqual([])
  await Promise.all([edge.stop(), lonely.stop()])
  await primary.stop()
})

const tokenOf = (answer: Answer) => answer.headers.get('consistency-token') ?? ''
const withToken = (answer: Answer) => ({ headers: { 'Consistency-Token': tokenOf(answer) } })
const ageOf = (answer: Answer) => answer.headers.get('replica-age')
const names = (answer: Answer) => answer.body.data.map(({ name }: { name: string }) => name)

describe('a read at an edge', () => {
  test.each(['/tags', `/tags?limit=1&count=exact`, '/tags/{old}', '/tags/{old}/history', '/tags/{fresh}'])(
    'is answered from the copy as the primary would have answered it, with the age: %s',
    async (path) => {
      const place = path.replace('{old}', old.body.id).replace('{fresh}', fresh.body.id)
      for (const method of ['GET', 'HEAD']) {
        const here = await lonely.call(method, place)
        expect(ageOf(here)).toBe('0.000')
        expect(tokenOf(here)).toBe(tokenOf(old))
        expect(here.status).toBe(path.includes('fresh') ? 404 : 200)
      }
    },
  )

  test('that must be strong is answered by the primary', async () => {
    const strong = { headers: { Consistency: 'strong' } }
    const answer = await edge.call('GET', '/tags', strong)
    expect([names(answer), ageOf(answer)]).toEqual([['old', 'fresh'], null])
    expect((await edge.call('HEAD', `/tags/${fresh.body.id}`, strong)).status).toBe(200)
    const refused = await lonely.call('GET', '/tags', strong)
    expect([refused.status, refused.body.type]).toEqual([503, '/problems/primary-unreachable'])
  })

  test.each([
    [4_000, 5, true],
    [4_000, 4, true],
    [4_000, 3, false],
    [null, 999_999, false],
  ])('whose staleness is bounded: a copy of %p ms serves %p s: %p', async (ageMs, seconds, isServed) => {
    const headers = { Consistency: `bounded;max-staleness=${seconds}` }
    for (const each of [edge, lonely]) each.replica.claim({ ageMs })
    const answers = [await edge.call('GET', '/tags', { headers }), await lonely.call('GET', '/tags', { headers })]
    for (const each of [edge, lonely]) each.replica.claim({})
    expect(answers.map(({ status }) => status)).toEqual([200, isServed ? 200 : 503])
    expect(answers.map(ageOf)).toEqual(isServed ? ['4.000', '4.000'] : [null, null])
  })

  test('that takes what is here is answered at once, whatever its token', async () => {
    const headers = { Consistency: 'eventual', 'Consistency-Token': tokenOf(fresh) }
    expect(names(await lonely.call('GET', '/tags', { headers }))).toEqual(['old'])
  })

  test('that wants more than the copy has waits for it', async () => {
    const late = await testEdge(primary, { origin: 'http://127.0.0.1:1' })
    const next = await primary.call('POST', '/tags', { body: { name: 'next' } })
    const reading = late.call('GET', '/tags', withToken(next))
    while (late.replica.nudges === 0) await Bun.sleep(1)
    late.replica.catchUp()
    const answer = await reading
    expect([answer.status, names(answer).includes('next'), ageOf(answer)]).toEqual([200, true, '0.000'])
    await late.stop()
  })

  test.each(['/tags', '/tags/{fresh}', '/tags/{fresh}/history'])(
    'that waits in vain is answered by the primary, and where that is away, refused: %s',
    async (path) => {
      const place = path.replace('{fresh}', fresh.body.id)
      const start = performance.now()
      const answer = await edge.call('GET', place, withToken(fresh))
      expect([answer.status, ageOf(answer)]).toEqual([200, null])
      expect(performance.now() - start).toBeGreaterThan(limits.positionWaitMsMax - 5)
      const refused = await lonely.call('GET', place, withToken(fresh))
      expect([refused.status, refused.body.type]).toEqual([503, '/problems/position-not-reached'])
      expect(refused.headers.get('retry-after')).toBe('1')
      expect(performance.now() - start).toBeLessThan(3 * limits.positionWaitMsMax + 300)
    },
  )

  test('with a token of another epoch is the business of the primary', async () => {
    const sealer = createTokenSealer(primary.node.sign)
    const token = sealer.seal({ epoch: 'restored' as Epoch, seq: 1 as Seq })
    const headers = { 'Consistency-Token': token }
    const answer = await edge.call('GET', '/tags', { headers })
    expect([answer.status, answer.body.type]).toEqual([409, '/problems/token-from-another-epoch'])
    expect((await lonely.call('GET', '/tags', { headers })).body.type).toBe('/problems/primary-unreachable')
  })

  test.each([
    ['Consistency-Token', 'a.1.b', 'invalid-consistency-token'],
    ['Consistency', 'perhaps', 'invalid-header'],
  ])('with a malformed %s is refused here', async (name, value, problem) => {
    const answer = await lonely.call('GET', '/tags', { headers: { [name]: value } })
    expect([answer.status, answer.body.type]).toEqual([400, `/problems/${problem}`])
  })

  test.each([
    [59_999, true],
    [60_001, false],
    [null, false],
  ])(
    'that asks for nothing goes to the primary while it can be reached where the copy is old: %p ms',
    async (ageMs, isFresh) => {
      for (const each of [edge, lonely]) each.replica.claim({ ageMs })
      const answers = [
        await edge.call('GET', '/tags/?limit=1'),
        await edge.call('GET', '/tags'),
        await lonely.call('GET', '/tags'),
      ]
      for (const each of [edge, lonely]) each.replica.claim({})
      const shown = ageMs === null ? 'unknown' : (ageMs / 1000).toFixed(3)
      expect(answers.slice(1).map(ageOf)).toEqual([isFresh ? shown : null, shown])
      expect(answers.slice(1).map(({ status }) => status)).toEqual([200, 200])
    },
  )

  test.each([
    ['hangs', 'silence'],
    ['is away behind a proxy', 'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n'],
  ] as const)('is answered from an old copy, or refused, where the primary %s', async (_, reply) => {
    const server = await upstream(() => reply)
    const behind = await testEdge(primary, { origin: server.origin, answerMsMax: 300 })
    const last = await primary.call('POST', '/tags', { body: { name: Bun.randomUUIDv7() } })
    behind.replica.claim({ ageMs: 61_000 })
    const start = performance.now()
    const answer = await behind.call('GET', '/tags')
    expect([answer.status, ageOf(answer)]).toEqual([200, '61.000'])
    expect(performance.now() - start).toBeLessThan(limits.forwardConnectMsMax + 500)
    const refused = await behind.call('GET', '/tags', withToken(last))
    expect([refused.status, refused.body.type]).toEqual([503, '/problems/position-not-reached'])
    expect(behind.faults).toEqual([])
    await behind.stop()
    await server.stop()
  })

  test('without a copy is answered by the primary, and where that is away, refused', async () => {
    for (const each of [edge, lonely]) each.replica.claim({ file: null, position: null, unready: 'There is no copy.' })
    const [answer, refused] = [await edge.call('GET', '/tags'), await lonely.call('GET', '/tags')]
    const [alive, ready] = [await lonely.call('GET', '/livez'), await edge.call('GET', '/readyz')]
    for (const each of [edge, lonely]) each.replica.claim({})
    expect([names(answer).slice(0, 2), ageOf(answer)]).toEqual([['old', 'fresh'], null])
    expect([refused.status, refused.body.type, refused.body.detail]).toEqual([
      503,
      '/problems/not-ready',
      'There is no copy.',
    ])
    expect([alive.status, ready.status, ready.body.detail]).toEqual([200, 503, 'There is no copy.'])
  })

  test.each(['/livez', '/readyz', '/metrics', '/openapi.json', '/problems/not-found', '/nowhere'])(
    'of what a node says of itself is never sent on: %s',
    async (path) => {
      const headers = { Consistency: 'strong', 'Consistency-Token': tokenOf(fresh) }
      const answer = await lonely.call('GET', path, { headers })
      expect(answer.status).toBe(path === '/nowhere' ? 404 : 200)
    },
  )
})

test('the node says how far behind it is, and what it has done', async () => {
  const made = await edge.call('POST', '/tags', { body: { name: 'counted' } })
  edge.replica.claim({ ageMs: 1_234.5, phase: 'failing', restarts: 3, bootstraps: 2 })
  const [ready, metrics] = [await edge.call('GET', '/readyz'), await edge.call('GET', '/metrics')]
  edge.replica.claim({})
  const seq = (answer: Answer) => Number(tokenOf(answer).split('.')[1])
  const changes = seq(made) - seq(old)
  expect(ready.body).toMatchObject({
    position: seq(old),
    lag: { milliseconds: 1_235, changes },
    replicator: { phase: 'failing', restarts: 3, bootstraps: 2 },
  })
  const lines = metrics.text.split('\n')
  expect(lines).toContain('perigee_replica_lag_seconds 1.2345')
  expect(lines).toContain(`perigee_replica_lag_changes ${changes}`)
  expect(lines).toContain('perigee_replica_phase{phase="failing"} 1')
  expect(lines).toContain('perigee_replicator_restarts_total 3')
  expect(lines).toContain(`perigee_primary_position ${seq(made)}`)
  expect(lines).toContain('perigee_edge_writes_total{outcome="done"} 1')
  for (const name of [
    'reads_total{from="primary"}',
    'reads_forwarded_total{reason="behind"}',
    'waits_total{result="expired"}',
  ])
    expect(lines.some((line) => line.startsWith(`perigee_edge_${name}`) && !line.endsWith(' 0'))).toBe(true)
})

describe('a write through an edge is read there at once, before the copy has it', () => {
  let author: string
  beforeAll(async () => {
    const user = await primary.call('POST', '/users', { body: { handle: 'author', name: 'Author' } })
    author = user.body.id
    edge.replica.catchUp()
  })

  /** What a read answers, but for what says when it was. */
  const moving = ['date', 'server-timing', 'replica-age', 'cache-status']
  const lasting = ({ status, headers, text }: Answer) => ({
    ...{ status, text },
    headers: [...headers].filter(([name]) => !moving.includes(name)).sort(),
  })
  const create = (name: string) => edge.call('POST', '/tags', { body: { name } })

  test.each(['created', 'created in a version of the URL', 'replaced', 'patched', 'deleted'])(
    'a record that was %s, just as the copy will answer it',
    async (how) => {
      const alias = how.includes('version') ? '/v3' : ''
      const { id } = (await edge.call('POST', `${alias}/tags`, { body: { name: how } })).body
      const path = `${alias}/tags/${id}`
      if (how === 'replaced') await edge.call('PUT', path, { body: { name: 'put' } })
      if (how === 'patched') await edge.call('PATCH', path, { body: { name: 'patch' } })
      if (how === 'deleted') await edge.call('DELETE', path)
      const early = await edge.call('GET', path)
      const head = await edge.call('HEAD', path)
      const again = await edge.call('GET', path, { headers: { 'If-None-Match': early.headers.get('etag') ?? '' } })
      edge.replica.catchUp()
      const late = await edge.call('GET', path)
      expect([ageOf(early), ageOf(late)]).toEqual([null, '0.000'])
      expect(late.status).toBe(how === 'deleted' ? 404 : 200)
      expect(lasting(early)).toEqual(lasting(late))
      expect([head.status, head.text]).toEqual([late.status, ''])
      const known = await edge.call('GET', path, { headers: { 'If-None-Match': late.headers.get('etag') ?? '' } })
      expect(lasting(again)).toEqual(lasting(known))
      expect(again.status).toBe(how === 'deleted' ? 404 : 304)
    },
  )

  test('with the token of the write, without waiting', async () => {
    const made = await create('quick')
    const start = performance.now()
    const read = await edge.call('GET', `/tags/${made.body.id}`, withToken(made))
    expect([read.status, read.text]).toEqual([200, made.text])
    expect(performance.now() - start).toBeLessThan(limits.positionWaitMsMax / 2)
  })

  test('but not where the token has seen more than the write', async () => {
    const made = await create('seen')
    await primary.call('PATCH', `/tags/${made.body.id}`, { body: { name: 'by another' } })
    const later = await primary.call('GET', '/tags')
    const read = await edge.call('GET', `/tags/${made.body.id}`, withToken(later))
    expect(read.body.name).toBe('by another')
    edge.replica.catchUp()
    expect((await edge.call('GET', `/tags/${made.body.id}`)).body.name).toBe('by another')
  })

  test('but not where the copy has seen more than the write, though not than others', async () => {
    const made = await create('passed')
    await primary.call('PATCH', `/tags/${made.body.id}`, { body: { name: 'passed by another' } })
    edge.replica.catchUp()
    const other = await create('other')
    expect((await edge.call('GET', `/tags/${made.body.id}`)).body.name).toBe('passed by another')
    expect((await edge.call('GET', `/tags/${other.body.id}`)).status).toBe(200)
  })

  test('by its writer alone, and for the record alone', async () => {
    edge.replica.catchUp()
    const made = await create('mine')
    const { id } = made.body
    const refused = [
      edge.call('GET', `/tags/${id}`, { key: await primary.key({ tenant: 'other' }) }),
      edge.call('GET', `/tags/${id}`, { key: null }),
      edge.call('GET', `/tags/${id}?fields=name`),
      edge.call('GET', `/tags/${id}/history`),
    ]
    for (const answer of await Promise.all(refused)) expect([401, 404]).toContain(answer.status)
    const unknownVersion = await edge.call('GET', `/tags/${id}`, { headers: { 'API-Version': '2001-01-01' } })
    expect(unknownVersion.body.type).toBe('/problems/unknown-version')
    expect((await edge.call('GET', `/tags/${id}`)).status).toBe(200)
  })

  test('not by a key that may only write', async () => {
    const key = await primary.key({ scopes: ['write', 'editor'] })
    edge.replica.catchUp()
    const made = await edge.call('POST', '/tags', { key, body: { name: 'write only' } })
    const read = await edge.call('GET', `/tags/${made.body.id}`, { key })
    expect([made.status, read.status, read.body.type]).toEqual([201, 403, '/problems/forbidden'])
  })

  test.each(['published', 'draft'])('by a user whose right to it depends on the record: a %s post', async (status) => {
    const key = await primary.key({ subject: author })
    edge.replica.catchUp()
    const body = { authorId: author, slug: Bun.randomUUIDv7(), title: 'T', status }
    const made = await edge.call('POST', '/posts', { key, body })
    const read = await edge.call('GET', `/posts/${made.body.id}`, { key })
    expect([made.status, read.status, read.text]).toEqual([201, 200, made.text])
  })

  test.each(['live', 'draft'])(
    'at an old version in its words, by a user whose right depends on it: a %s article',
    async (status) => {
      const key = await primary.key({ subject: author })
      edge.replica.catchUp()
      const body = { authorId: author, slug: Bun.randomUUIDv7(), title: 'T', content: 'C', status, language: 'en' }
      const made = await edge.call('POST', '/v1/articles', { key, body })
      const [path, headers] = [`/articles/${made.body.id}`, { 'API-Version': '2026-03-01' }]
      const patched = await edge.call('PATCH', path, { key, headers, body: { language: 'fr' } })
      expect([made.status, patched.body]).toMatchObject([201, { content: 'C', status, language: 'fr' }])
      const [early, other] = [
        await edge.call('GET', `/v1${path}`, { key }),
        await edge.call('GET', `/v3/posts/${made.body.id}`, { key }),
      ]
      expect([early.text, early.headers.get('etag'), ageOf(early)]).toEqual([patched.text, '"2-v1"', null])
      // What its writer knows of is known at that version; another is the copy's, or with the token the primary's.
      expect(other.status).toBe(404)
      const strong = { Consistency: 'strong', 'API-Version': 'v2' }
      const answers = [
        await edge.call('GET', `/v3/posts/${made.body.id}`, { key, ...withToken(patched) }),
        await edge.call('GET', `/posts/${made.body.id}`, { key, headers: strong }),
      ]
      const shown = { body: 'C', status: status === 'live' ? 'published' : 'draft', meta: { language: 'fr' } }
      expect(answers.map((each) => each.body)).toMatchObject([shown, { ...shown, featured: false }])
      edge.replica.catchUp()
      const late = await edge.call('GET', `/v1${path}`, { key })
      expect([lasting(late), ageOf(late)]).toEqual([lasting(early), '0.000'])
    },
  )

  test('as long as there is room for it', async () => {
    edge.replica.catchUp()
    const body = { authorId: author, title: 'T', body: 'x'.repeat(limits.textCharsMax), status: 'published' }
    const made: Answer[] = []
    for (let bytes = 0; bytes < 1.2 * limits.recentWriteBytesMax; bytes += 2 * limits.textCharsMax)
      made.push(await edge.call('POST', '/posts', { body: { ...body, slug: Bun.randomUUIDv7() } }))
    const read = async (one: Answer | undefined) => (await edge.call('GET', `/posts/${one?.body.id}`)).status
    expect([await read(made.at(0)), await read(made.at(-1))]).toEqual([404, 200])
    expect(await edge.call('GET', `/posts/${made[0]?.body.id}`, withToken(made[0] as Answer))).toMatchObject({
      status: 200,
    })
  })

  test('as it is after the last write, whichever answer comes last', async () => {
    edge.replica.catchUp()
    const headers = { 'Idempotency-Key': 'first' }
    const made = await edge.call('POST', '/tags', { body: { name: 'v1' }, headers })
    await edge.call('PATCH', `/tags/${made.body.id}`, { body: { name: 'v2' } })
    const replayed = await edge.call('POST', '/tags', { body: { name: 'v1' }, headers })
    expect(replayed.headers.get('idempotency-replayed')).toBe('true')
    expect((await edge.call('GET', `/tags/${made.body.id}`)).body.name).toBe('v2')
  })
})
