import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Link, type Message } from '../../src/http/forward.ts'
import { NodeWire } from '../../src/http/node-wire.ts'
import { limits } from '../../src/schema/limits.ts'
import { type TestEdge, type TestEdgeOptions, testEdge } from '../support/edge.ts'
import { relay } from '../support/relay.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'
import { exchange, head } from '../support/socket.ts'
import { type Upstream, upstream, type WireReply, type WireRequest } from '../support/upstream.ts'

setDefaultTimeout(60_000)

const unknown = '019a3f00-0000-7000-8000-00000000dead'
let primary: TestServer
const faults: unknown[] = []

beforeAll(async () => {
  primary = await testServer()
})
afterAll(async () => {
  await primary.stop()
  expect(faults).toEqual([])
})

/** An edge for one piece of work. */
async function withEdge<T>(options: TestEdgeOptions, work: (edge: TestEdge) => Promise<T>): Promise<T> {
  const edge = await testEdge(primary, options)
  try {
    return await work(edge)
  } finally {
    faults.push(...edge.faults)
    await edge.stop()
  }
}

/** An edge whose primary answers what the test says. */
async function withUpstream<T>(
  reply: (request: WireRequest) => WireReply,
  work: (edge: TestEdge, server: Upstream) => Promise<T>,
  options: TestEdgeOptions = {},
): Promise<T> {
  const server = await upstream(reply)
  try {
    return await withEdge({ ...options, origin: server.origin }, (edge) => work(edge, server))
  } finally {
    await server.stop()
  }
}

/** What of an answer does not depend on when and by whom it was asked for. */
function lasting({ status, headers, text }: Answer) {
  const moving = ['date', 'server-timing', 'x-request-id', 'idempotency-replayed']
  return { status, text, headers: [...headers].filter(([name]) => !moving.includes(name)).sort() }
}

describe('what an edge sends on', () => {
  let edge: TestEdge
  let post: string
  beforeAll(async () => {
    edge = await testEdge(primary)
    const user = await primary.call('POST', '/users', { body: { handle: 'writer', name: 'Writer' } })
    const body = { authorId: user.body.id, slug: 'first', title: 'First', status: 'published' }
    post = (await primary.call('POST', '/posts', { body })).body.id
  })
  afterAll(async () => {
    faults.push(...edge.faults)
    await edge.stop()
  })

  test.each([
    ['a creation', 'POST', '/tags', { name: 'one' }, {}],
    ['a creation in a version of the URL', 'POST', '/v3/tags', { name: 'two' }, {}],
    ['a replacement', 'PUT', `/tags/${unknown}`, { name: 'three' }, {}],
    ['a patch', 'PATCH', '/posts/{post}', { title: 'Second' }, { 'If-Match': '"1"' }],
    ['a batch', 'POST', '/batch', { commands: [{ do: 'create', resource: 'tags', body: { name: 'four' } }] }, {}],
    ['a deletion', 'DELETE', `/tags/${unknown}`, undefined, {}],
  ] as const)('is answered as the primary answers it: %s', async (name, method, place, body, more) => {
    const path = place.replace('{post}', post)
    const options = {
      ...(body && { body }),
      headers: { ...more, 'Idempotency-Key': `"${name}"`, 'X-Request-Id': 'mine' },
    }
    const through = await edge.call(method, path, options)
    const straight = await primary.call(method, path, options)
    expect(through.status).toBeLessThan(300)
    expect(through.headers.get('x-request-id')).toBe('mine')
    expect(straight.headers.get('idempotency-replayed')).toBe('true')
    expect(lasting(through)).toEqual(lasting(straight))
  })

  test.each([
    ['POST', '/tags', '{"name":', {}],
    ['POST', '/tags', { colour: 'red' }, {}],
    ['POST', '/tags', { name: 'x' }, { 'Content-Type': 'text/plain' }],
    ['POST', '/tags', { name: 'x' }, { 'Content-Encoding': 'gzip' }],
    ['POST', '/tags', { name: 'x' }, { 'Idempotency-Key': '"' }],
    ['POST', '/tags', { name: 'x' }, { Authorization: 'Bearer pgk_wrong' }],
    ['POST', '/tags?a=b', { name: 'x' }, {}],
    ['PATCH', '/tags/1', { name: 'x' }, {}],
    ['DELETE', '/tags/019a3f00-0000-7000-8000-00000000beef', undefined, {}],
    ['DELETE', '/tags', undefined, {}],
    ['POST', '/nowhere', undefined, {}],
    ['GET', '/posts?limit=1', undefined, { Consistency: 'strong' }],
    ['GET', '/posts?limit=1', undefined, { Consistency: 'strong', 'If-None-Match': '*' }],
    ['HEAD', '/posts', undefined, { Consistency: 'strong' }],
    ['GET', '/posts/1', undefined, { Consistency: 'strong' }],
  ] as const)('is refused or read as at the primary: %s %s %p %p', async (method, path, body, headers) => {
    const options = { ...(body && { body }), headers }
    const through = await edge.call(method, path, options)
    expect(lasting(through)).toEqual(lasting(await primary.call(method, path, options)))
  })

  test('is refused where its body is too long, before it is sent', () =>
    withUpstream(
      () => 'silence',
      async (behind, server) => {
        const body = new Uint8Array(limits.bodyBytesMax + 1)
        const refused = await behind.call('POST', '/tags', { body })
        expect([refused.status, refused.body.type]).toEqual([413, '/problems/content-too-large'])
        const chunked = await exchange(
          behind.url,
          `${head('POST /tags', 'Transfer-Encoding: chunked')}${'100000\r\n'}${'x'.repeat(0x100000)}\r\n1\r\nx\r\n0\r\n\r\n`,
        )
        expect(chunked?.status).toBe(413)
        expect(server.requests).toEqual([])
      },
    ))

  test('says whence it comes, and keeps to itself what is of one connection or one page', () =>
    withUpstream(
      () => 'HTTP/1.1 204 No Content\r\n\r\n',
      async (behind, server) => {
        const sent = [
          ...['Origin: https://app.example.com', 'Connection: keep-alive, X-Secret', 'X-Secret: 1', 'TE: trailers'],
          ...['Via: 1.0 proxy', 'X-Request-Id: mine', 'Accept-Language: de', 'Content-Length: 2'],
        ]
        await exchange(behind.url, `${head('PUT /tags/%41?x=%0d', ...sent)}{}`)
        await exchange(behind.url, head('DELETE /tags/1', 'traceparent: 00-aa-bb-01', 'X-Request-Id: a b'))
        const [first, second] = server.requests
        const { host, traceparent, ...rest } = Object.fromEntries(first?.headers ?? [])
        expect([first?.line, first?.body]).toEqual(['PUT /tags/%41?x=%0d HTTP/1.1', '{}'])
        expect(host).toBe(new URL(server.origin).host)
        expect(traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
        expect(rest).toEqual({
          ...{ connection: 'keep-alive', 'content-length': '2', 'accept-language': 'de' },
          ...{ via: '1.0 proxy, 1.1 perigee-edge', 'x-request-id': 'mine' },
        })
        expect(second?.headers.get('traceparent')).toBe('00-aa-bb-01')
        expect(second?.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
        const odd = await exchange(behind.url, head('DELETE /tags/1', 'X-Odd: \x7f'))
        expect(odd?.body).toContain('/problems/invalid-header')
      },
    ))

  const mebibyte = Buffer.alloc(limits.bodyBytesMax, 'é')
  test.each<[string, string, string | Buffer, Buffer | null]>([
    ['a mebibyte', 'GET', `HTTP/1.1 200 OK\r\nContent-Length: ${mebibyte.length}\r\n\r\n`, mebibyte],
    [
      'what is compressed',
      'POST',
      'HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n',
      Buffer.from('abc'),
    ],
    ['chunks', 'POST', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n', null],
    ['no content', 'DELETE', 'HTTP/1.1 204 No Content\r\n\r\n', null],
    ['nothing new', 'GET', 'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n', null],
    ['a head', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n', null],
    [
      'a failure of the primary',
      'POST',
      'HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n',
      Buffer.from('{}'),
    ],
  ])('is answered with the bytes that came: %s', (name, method, answer, body) =>
    withUpstream(
      () => Buffer.concat([Buffer.from(answer), body ?? Buffer.alloc(0)]),
      async (behind) => {
        const bytes = head(
          `${method} /tags`,
          'Consistency: strong',
          ...(method === 'POST' ? ['Content-Length: 0'] : []),
        )
        const got = await exchange(behind.url, bytes, { method })
        expect(got?.status).toBe(Number(/ (\d+) /.exec(String(answer))?.[1]))
        expect(got?.body).toBe(name === 'chunks' ? 'abc' : (body?.toString('latin1') ?? ''))
        expect(got?.headers.get('content-encoding') ?? null).toBe(name === 'what is compressed' ? 'gzip' : null)
        expect(got?.headers.has('transfer-encoding')).toBe(false)
        if (name === 'a head') expect(got?.headers.get('content-length')).toBe('77')
        if (name === 'nothing new') expect(got?.headers.get('etag')).toBe('"1"')
      },
    ),
  )

  test.each([
    ['POST', {}, 504, 'outcome-unknown', 1],
    ['POST', { 'Idempotency-Key': 'k' }, 504, 'outcome-unknown', 2],
    ['GET', { Consistency: 'strong' }, 503, 'primary-unreachable', 2],
  ])('is none where a proxy before the primary failed: %s %p', (method, headers, status, problem, times) =>
    withUpstream(
      () => 'HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>',
      async (behind, server) => {
        const answer = await behind.call(method, '/tags', { headers, ...(method === 'POST' && { body: {} }) })
        expect([answer.status, answer.body.type]).toEqual([status, `/problems/${problem}`])
        expect(server.requests.length).toBe(times)
      },
    ),
  )

  test('is answered to a page of an allowed origin by the edge itself', () =>
    withEdge({ allowedOrigins: ['https://app.example.com'] }, async (behind) => {
      const headers = { Origin: 'https://app.example.com', Consistency: 'strong' }
      const answer = await behind.call('GET', '/tags', { headers })
      expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.example.com')
      const preflight = await behind.call('OPTIONS', '/tags', {
        headers: { ...headers, 'Access-Control-Request-Method': 'POST' },
      })
      expect([preflight.status, preflight.headers.get('access-control-allow-methods')]).toEqual([
        204,
        'GET, HEAD, POST, OPTIONS',
      ])
    }))

  test('ends where edges take one another for their primary', async () => {
    const wire = await relay('http://127.0.0.1:1')
    try {
      await withEdge({ origin: wire.origin }, (a) =>
        withEdge({ origin: a.url }, async (b) => {
          wire.retarget(b.url)
          for (const [method, headers] of [
            ['DELETE', {}],
            ['GET', { Consistency: 'strong' }],
          ] as const) {
            const answer = await b.call(method, `/tags/${unknown}`, { headers })
            expect([answer.status, answer.body.type]).toEqual([508, '/problems/loop-detected'])
          }
        }),
      )
    } finally {
      wire.stop()
    }
  })
})

describe('the connections of an edge', () => {
  test('are kept: a write takes one round trip, also after a pause', async () => {
    const wire = await relay(primary.url)
    wire.delayMs = 60
    try {
      await withEdge({ origin: wire.origin }, async (edge) => {
        const write = async (name: string) => {
          const start = performance.now()
          expect((await edge.call('POST', '/tags', { body: { name } })).status).toBe(201)
          return performance.now() - start
        }
        await write('warm')
        const connections = wire.connections
        const times = [await write('at once'), await write('and again')]
        await Bun.sleep(1_300)
        times.push(await write('after a pause'))
        expect(wire.connections).toBe(connections)
        for (const time of times) expect(time).toBeLessThan(2 * 60 + 60)
      })
    } finally {
      wire.stop()
    }
  })

  test.each([
    ['POST', '/tags'],
    ['PATCH', `/tags/${unknown}`],
    ['PUT', `/tags/${unknown}`],
    ['DELETE', `/tags/${unknown}`],
  ])('that end after a %s was written do not repeat it', (method, path) => {
    let count = 0
    return withUpstream(
      () => (++count === 1 ? 'HTTP/1.1 204 No Content\r\n\r\n' : 'cut'),
      async (edge, server) => {
        await edge.call('DELETE', '/tags/first')
        const cut = await edge.call(method, path, method === 'DELETE' ? {} : { body: {} })
        expect([cut.status, cut.body.type]).toEqual([504, '/problems/outcome-unknown'])
        expect(cut.headers.get('x-request-id')).toBe(server.requests.at(-1)?.headers.get('x-request-id') ?? '')
        expect(server.requests.length).toBe(2)
        expect(server.requests[1]?.connection).toBe(server.requests[0]?.connection ?? 0)
      },
    )
  })

  test('that end after a write with a key was written repeat it once, over a new one', () => {
    let count = 0
    return withUpstream(
      () => (++count === 2 || count === 3 ? 'cut' : 'HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}'),
      async (edge, server) => {
        const write = () => edge.call('POST', '/tags', { body: {}, headers: { 'Idempotency-Key': 'k' } })
        await write()
        expect((await write()).status).toBe(504)
        expect((await write()).status).toBe(201)
        const [, first, second, third] = server.requests.map(({ connection }) => connection)
        expect([server.requests.length, new Set([first, second, third]).size]).toEqual([4, 3])
      },
    )
  })
})

describe('a primary that cannot be reached', () => {
  test.each([
    ['refuses', 'http://127.0.0.1:1'],
    ['has no address', 'http://primary.invalid'],
    ['speaks no TLS', null],
  ])('leaves a write undone, and says so: it %s', async (_, origin) => {
    const work = async (edge: TestEdge) => {
      const answer = await edge.call('POST', '/tags', { body: {}, headers: { 'X-Request-Id': 'mine' } })
      expect([answer.status, answer.body.type]).toEqual([503, '/problems/primary-unreachable'])
      const headers = ['retry-after', 'cache-control', 'x-request-id'].map((name) => answer.headers.get(name))
      expect(headers).toEqual(['1', 'no-store', 'mine'])
    }
    await (origin === null
      ? withUpstream(
          () => 'cut',
          (_, { origin: plain }) => withEdge({ origin: plain.replace('http', 'https') }, work),
        )
      : withEdge({ origin }, work))
  })
})

describe('a primary that does not answer', () => {
  test('leaves the outcome open at the end of the time it has; the same key tells it', async () => {
    const wire = await relay(primary.url)
    try {
      await withEdge({ origin: wire.origin, answerMsMax: 700 }, async (edge) => {
        const write = () =>
          edge.call('POST', '/tags', { body: { name: 'late' }, headers: { 'Idempotency-Key': 'late' } })
        await edge.call('DELETE', `/tags/${unknown}`)
        wire.towards = { primary: true, edge: false }
        const start = performance.now()
        const lost = await write()
        expect([lost.status, lost.body.type]).toEqual([504, '/problems/outcome-unknown'])
        expect(performance.now() - start).toBeLessThan(1_500)
        wire.towards = { primary: true, edge: true }
        const told = await write()
        expect([told.status, told.headers.get('idempotency-replayed')]).toEqual([201, 'true'])
        expect((await primary.call('GET', '/tags?name=late')).body.data.length).toBe(1)
      })
    } finally {
      wire.stop()
    }
  })

  test('holds up no read of the copy', () =>
    withUpstream(
      () => 'silence',
      async (edge) => {
        const writes = Array.from({ length: 100 }, () => edge.call('POST', '/tags', { body: {} }))
        const times: number[] = []
        for (let i = 0; i < 100; i++) {
          const start = performance.now()
          expect((await edge.call('GET', '/tags?limit=1')).status).toBe(200)
          times.push(performance.now() - start)
        }
        expect(times.sort((a, b) => a - b)[98]).toBeLessThan(100)
        for (const { body } of await Promise.all(writes)) expect(body.type).toBe('/problems/outcome-unknown')
      },
      { answerMsMax: 1_000 },
    ))

  test('has no more under way to it than may be', async () => {
    const server = await upstream(() => 'silence')
    const elapsed = () => performance.now()
    const link = new Link(new NodeWire({ origin: server.origin, elapsed }), elapsed)
    const send = (body: Uint8Array): ReturnType<Link['exchange']> => {
      const headers = { 'content-length': String(body.byteLength) }
      const message: Message = { method: 'POST', path: '/tags', headers, body, repeatable: false }
      return link.exchange(message, 500)
    }
    try {
      const body = new Uint8Array(limits.bodyBytesMax)
      const large = Array.from({ length: limits.forwardBytesMax / limits.bodyBytesMax + 1 }, () => send(body))
      expect(await large.at(-1)).toEqual({ kind: 'overloaded' })
      expect(new Set((await Promise.all(large.slice(0, -1))).map(({ kind }) => kind))).toEqual(new Set(['unanswered']))
      const small = Array.from({ length: limits.forwardsMax + 1 }, () => send(new Uint8Array()))
      expect(await small.at(-1)).toEqual({ kind: 'overloaded' })
      await Promise.all(small)
      expect((await send(new Uint8Array())).kind).toBe('unanswered')
    } finally {
      link.close()
      await server.stop()
    }
  })
})
