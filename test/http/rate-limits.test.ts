import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { countedSeal } from '../../src/http/rate-limits.ts'
import { type Answer, type CallOptions, call, type TestServer, testServer } from '../support/server.ts'
import { hasRedis, startRedis, type TestRedis } from '../support/upstash.ts'

setDefaultTimeout(60_000)

/** Over a minute, in which a test ends, a bucket of this many gets a token in six seconds. */
const [perKey, perAddress] = [20, 10]
const limited = (trustedProxies: string[] = []) => ({ perKey, perAddress, trustedProxies })

const read = (node: TestServer, options: CallOptions = {}) => node.call('GET', '/posts', { key: null, ...options })

/** Sends requests one after another until one is refused: how many were allowed, and the refusal. */
async function untilRefused(send: () => Promise<Answer>): Promise<[allowed: number, refusal: Answer]> {
  for (let allowed = 0; ; allowed++) {
    const answer = await send()
    if (answer.status === 429) return [allowed, answer]
    expect(answer.status).toBeLessThan(500)
  }
}

describe('a limit of requests', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await testServer({ rateLimits: limited() })
  })
  afterAll(() => server.stop())

  test('is told with each answer, and then kept, with when to come again', async () => {
    const key = await server.key()
    const first = await server.call('GET', '/posts', { key })
    expect(first.headers.get('ratelimit-policy')).toBe('"default";q=20;w=60')
    expect(first.headers.get('ratelimit')).toBe('"default";r=19;t=3')
    const [allowed, refusal] = await untilRefused(() => server.call('GET', '/posts', { key }))
    expect(allowed).toBeGreaterThanOrEqual(19)
    expect(allowed).toBeLessThan(22)
    expect(refusal.body).toMatchObject({ type: '/problems/rate-limited', status: 429 })
    expect(refusal.headers.get('retry-after')).toMatch(/^[123]$/)
    expect(refusal.headers.get('ratelimit')).toMatch(/^"default";r=0;t=\d+$/)
    expect(refusal.headers.get('cache-control')).toBe('no-store')
    const write = await server.call('POST', '/tags', { key, body: { name: 'late' } })
    expect(write.status).toBe(429)
    const { body } = await server.call('GET', '/tags', { key: await server.key() })
    expect(body.data).toEqual([])
  })

  test('is of each key by itself, and of an address where there is none; who guesses keys has one limit for all', async () => {
    const key = await server.key()
    const guess = () =>
      server.call('GET', '/posts', { key: `pgk_${Bun.randomUUIDv7().replaceAll('-', '').padEnd(43, 'x')}` })
    const [guesses] = await untilRefused(guess)
    expect(guesses).toBeGreaterThanOrEqual(perAddress)
    expect(guesses).toBeLessThan(perAddress + 3)
    expect((await read(server)).status).toBe(429)
    expect((await server.call('GET', '/posts', { key })).status).toBe(200)
  })

  test('takes no header for an address, and counts no one who asks how the node is', async () => {
    const forwarded = (i: number) => ({ headers: { 'X-Forwarded-For': `10.0.0.${i}`, Forwarded: `for=10.0.0.${i}` } })
    const answers = await Promise.all(Array.from({ length: 5 }, (_, i) => read(server, forwarded(i))))
    expect(answers.map(({ status }) => status)).toEqual([429, 429, 429, 429, 429])
    for (const path of ['/livez', '/readyz', '/metrics'])
      for (let i = 0; i < perAddress + 1; i++) expect((await server.call('GET', path, { key: null })).status).toBe(200)
    const { text } = await server.call('GET', '/metrics', { key: null })
    expect(text).toMatch(/perigee_rate_limited_requests_total{result="refused"} [1-9]/)
  })

  test('does not count what an edge has counted, and believes nobody else that it was', async () => {
    const id = 'a-request'
    const seal = countedSeal(server.node, id)
    const sent = (counted: string) => read(server, { headers: { 'X-Request-Id': id, 'Perigee-Counted': counted } })
    expect((await sent(seal)).status).toBe(200)
    expect((await sent(`${seal.slice(0, -1)}${seal.endsWith('A') ? 'B' : 'A'}`)).status).toBe(429)
    expect((await sent('')).status).toBe(429)
  })
})

test('a proxy that is trusted is taken at its word, and nobody beyond it', async () => {
  const server = await testServer({ rateLimits: limited(['127.0.0.1', '10.9.9.9']) })
  const from = (forwarded: string) => read(server, { headers: { 'X-Forwarded-For': forwarded } })
  const [allowed] = await untilRefused(() => from('192.0.2.1'))
  expect(allowed).toBeLessThan(perAddress + 3)
  for (const same of ['198.51.100.7, 192.0.2.1', '192.0.2.1, 10.9.9.9', '::ffff:192.0.2.1'])
    expect([same, (await from(same)).status]).toEqual([same, 429])
  expect((await from('192.0.2.1, 198.51.100.7')).status).toBe(200)
  const [ofNetwork] = await untilRefused(() => from(`2001:db8:0:1::${Math.floor(Math.random() * 9_999)}`))
  expect(ofNetwork).toBeLessThan(perAddress + 3)
  expect((await from('2001:db8:0:2::1')).status).toBe(200)
  await server.stop()
})

describe.skipIf(!hasRedis)('a limit that nodes share', () => {
  let redis: TestRedis
  let nodes: TestServer[]
  beforeAll(async () => {
    redis = await startRedis()
    const { url, token } = redis
    const settings = { rateLimits: limited(['127.0.0.1']), redis: { url, token } }
    nodes = [await testServer(settings), await testServer(settings)]
  })
  afterAll(async () => {
    for (const node of nodes) await node.stop()
    await redis.remove()
  })
  /** As many requests as all of a window at each node; how many were allowed in all. */
  async function flood(address: string): Promise<number> {
    const sent = Array.from({ length: 3 * perAddress }, (_, i) => {
      const node = nodes[i % 2] as TestServer
      return call(node.url, 'GET', '/posts', { headers: { 'X-Forwarded-For': address } })
    })
    const answers = await Promise.all(sent)
    for (const { status } of answers) expect([200, 429]).toContain(status)
    return answers.filter(({ status }) => status === 200).length
  }

  test('holds for all of them together', async () => {
    // A Redis that a busy machine keeps from answering in time is done without: then each node counts by itself.
    const allowed: number[] = []
    for (let n = 1; n <= 5; n++) allowed.push(await flood(`192.0.2.${n}`))
    expect(Math.min(...allowed)).toBeGreaterThanOrEqual(perAddress)
    expect(Math.min(...allowed)).toBeLessThan(perAddress + 3)
    expect(Math.max(...allowed)).toBeLessThanOrEqual(2 * perAddress + 3)
  })

  const be = (mood: TestRedis['mood']) => async () => {
    redis.mood = mood
  }
  test.each([
    ['is down', () => redis.kill(), () => redis.restart()],
    ['hangs', async () => redis.signal('SIGSTOP'), async () => redis.signal('SIGCONT')],
    ['takes two seconds', be({ slowMs: 2_000 }), be('sound')],
    ['answers nonsense', be({ status: 200, text: '[{"result":[-1,"x"]}]' }), be('sound')],
  ])('lets each node decide for itself while Redis %s, and blocks nobody', async (name, begin, end) => {
    await begin()
    const allowed = await flood(`192.0.2.${10 + name.length}`)
    expect(allowed).toBeGreaterThanOrEqual(perAddress)
    expect(allowed).toBeLessThan(2 * perAddress + 3)
    await end()
    for (let i = 0, isShared = false; !isShared; i++) {
      await Bun.sleep(50)
      await call((nodes[0] as TestServer).url, 'GET', '/posts', { headers: { 'X-Forwarded-For': `198.51.100.${i}` } })
      isShared = (await redis.send('EXISTS', `perigee:bucket:address 198.51.100.${i}`)) === 1
    }
  })
})
