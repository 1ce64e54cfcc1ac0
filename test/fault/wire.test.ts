import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { exchange, head, openWire } from '../support/socket.ts'

setDefaultTimeout(60_000)

let server: TestServer
/** Tables are written before there is a key; `sent` puts it in. */
const authorization = 'Authorization: KEY'
let key: string
let user: string
beforeAll(async () => {
  server = await testServer()
  key = await server.key()
  user = (await server.call('POST', '/users', { body: { handle: 'ada', name: 'Ada' } })).body.id
})
afterAll(() => server.stop())

const sent = (bytes: string) => bytes.replaceAll('KEY', `Bearer ${key}`).replaceAll('USER', user)
const json = 'Content-Type: application/json'
const bodyOf = (handle: string) => JSON.stringify({ handle, name: 'N' })
const post = (handle: string, ...headers: string[]) =>
  head('POST /users', authorization, json, `Content-Length: ${bodyOf(handle).length}`, ...headers) + bodyOf(handle)
const count = async () => (await server.call('GET', '/users?count=exact&limit=1')).body.count

describe('row 31: what two servers might read in two ways is refused, and the connection closed', () => {
  const body = bodyOf('smuggled')
  const length = `Content-Length: ${body.length}`
  const chunked = `1e\r\n${body.padEnd(30)}\r\n0\r\n\r\n`
  const start = (...headers: string[]) => head('POST /users', authorization, json, ...headers)

  test.each([
    ['Content-Length and Transfer-Encoding', start(length, 'Transfer-Encoding: chunked') + chunked],
    ['Transfer-Encoding and Content-Length', start('Transfer-Encoding: chunked', length) + chunked],
    ['two lengths', start(length, 'Content-Length: 3') + body],
    ['a list of lengths', start(`${length}, 3`) + body],
    ['a folded header', start(length, 'X-Folded: a\r\n b') + body],
    ['a folded Transfer-Encoding', start('Transfer-Encoding:\r\n chunked') + chunked],
    ['two encodings', start('Transfer-Encoding: chunked', 'Transfer-Encoding: identity') + chunked],
    ['an encoding that is nearly chunked', start('Transfer-Encoding: xchunked') + chunked],
    ['a space before the colon', start('Transfer-Encoding : chunked') + chunked],
    ['a header without a name', start(length, ': x') + body],
    ['a header name with a space', start(length, 'X Y: z') + body],
    ['a bare CR in a header', start(length, 'X: a\rContent-Length: 3') + body],
    ['a bare LF in a header', start(length, 'X: a\nContent-Length: 3') + body],
    ['NUL in a header', start(length, 'X: a\0b') + body],
    ['a chunk size that is no number', `${start('Transfer-Encoding: chunked')}zz\r\n${body}\r\n0\r\n\r\n`],
    ['a negative chunk size', `${start('Transfer-Encoding: chunked')}-1e\r\n${body}\r\n0\r\n\r\n`],
    ['a chunk size beyond every number', `${start('Transfer-Encoding: chunked')}fffffffffffffffff\r\n${body}`],
    ['a chunk without its line end', `${start('Transfer-Encoding: chunked')}1e\r\n${body.padEnd(32, 'x')}0\r\n\r\n`],
    ['a chunk size that ends in LF alone', `${start('Transfer-Encoding: chunked')}1e\n${body.padEnd(30)}\r\n0\r\n\r\n`],
    ['two Hosts', 'GET /users HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n'],
    ['the same Host twice', 'GET /users HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n'],
    ['no Host', 'GET /users HTTP/1.1\r\n\r\n'],
    ['an absolute target of another scheme', head('GET ftp://localhost/users')],
    ['a target without its slash', head('GET users')],
    ['a target of nothing but an asterisk', head('GET *')],
    ['a target that is an authority', head('CONNECT localhost:80')],
  ])('%s', async (_, bytes) => {
    const before = await count()
    const wire = await openWire(server.url)
    wire.send(sent(bytes))
    const answer = await wire.answer()
    expect(answer?.status).toBe(400)
    await wire.closed
    expect(wire.rest).toBe('')
    expect(await count()).toBe(before)
  })

  test.each([
    ['a version of HTTP that is not spoken', 'GET /users HTTP/2.0\r\nHost: localhost\r\n\r\n'],
    ['lines that end in LF alone', 'GET /users HTTP/1.1\nHost: localhost\n\n'],
    ['a control character in the target', head('GET /users?\x01')],
    ['a space in the target', head('GET /users?a b')],
    ['TLS', Buffer.from('16030100a5010000a10303', 'hex')],
    ['a method that is none', head('F\x00O /users')],
    ['a header of 20 KB', head('GET /users', `X-Large: ${'x'.repeat(20_000)}`)],
    ['300 headers', head('GET /users', ...Array.from({ length: 300 }, (_, i) => `X-${i}: x`))],
    ['a target of 20 KB', head(`GET /users?handle=${'x'.repeat(20_000)}`)],
  ])('%s ends the connection, and nothing is served', async (_, bytes) => {
    const wire = await openWire(server.url)
    wire.send(bytes)
    const answer = await wire.answer()
    expect([null, 400, 431, 505]).toContain(answer?.status ?? null)
    await wire.closed
    expect(wire.rest).toBe('')
  })

  test('an absolute target means its path, and the authority in it is reflected nowhere', async () => {
    const plain = await exchange(server.url, head('GET /users?limit=1'))
    for (const authority of ['localhost', 'evil', 'me:secret@evil:99']) {
      const answer = await exchange(server.url, head(`GET http://${authority}/users?limit=1`))
      expect([answer?.status, answer?.body]).toEqual([200, plain?.body])
      expect(`${[...(answer?.headers ?? [])]}`).not.toContain('evil')
    }
  })
})

describe('row 31: a Host that is none never reaches a handler', () => {
  const badHosts = [
    '',
    ' ',
    'a b',
    'a@b',
    'me:secret@localhost',
    'a/../b?x',
    'localhost/admin',
    'a#b',
    'a?b',
    'localhost:1:2',
    'localhost:123456',
    ':8787',
    '[::1',
    '[::1]x',
    'localhost, other',
    '%6cocalhost',
    'caf\u00e9.example',
    '-localhost',
  ]
  const routes = [
    ...[...model.resources.keys()].flatMap((name) =>
      ['', '/v3'].flatMap((alias) => [
        `GET ${alias}/${name}`,
        `POST ${alias}/${name}`,
        `GET ${alias}/${name}/${Bun.randomUUIDv7()}`,
        `PUT ${alias}/${name}/${Bun.randomUUIDv7()}`,
        `PATCH ${alias}/${name}/${Bun.randomUUIDv7()}`,
        `DELETE ${alias}/${name}/${Bun.randomUUIDv7()}`,
        `GET ${alias}/${name}/${Bun.randomUUIDv7()}/history`,
        `OPTIONS ${alias}/${name}`,
        `HEAD ${alias}/${name}`,
      ]),
    ),
    'POST /batch',
    'POST /v3/batch',
    'GET /livez',
    'GET /readyz',
    'GET /metrics',
    'GET /openapi.json',
    'GET /docs',
    'GET /docs/scalar.js',
    'GET /problems/not-found',
    'GET /',
    'GET /nowhere',
  ]
  let app: TestApp
  let listening: ReturnType<typeof Bun.serve>
  let entered = 0
  beforeAll(async () => {
    const counted = <T extends object>(part: T): T =>
      new Proxy(part, {
        get(target, name, receiver) {
          const value = Reflect.get(target, name, receiver)
          return typeof value !== 'function' ? value : (...args: unknown[]) => ++entered && value.apply(target, args)
        },
      })
    app = await testApp((options) => ({
      reader: counted(options.reader),
      primary: counted(options.primary!),
      elapsed: () => ++entered,
      unready: () => (++entered ? null : null),
      docsScript: async () => new Response(String(++entered)),
    }))
    listening = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: app.app.fetch })
  })
  afterAll(async () => {
    await listening.stop(true)
    await app.stop()
  })
  const ask = (route: string, host: string) =>
    exchange(
      `http://127.0.0.1:${listening.port}`,
      Buffer.from(`${route} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, 'latin1'),
      { method: route.split(' ')[0] ?? '' },
    )

  test.each(badHosts)('Host "%s", over all routes: 400', async (host) => {
    entered = 0
    for (const route of routes) expect([route, (await ask(route, host))?.status]).toEqual([route, 400])
    expect(entered).toBe(0)
  })

  test('a sound Host reaches each of them', async () => {
    for (const host of ['localhost', '127.0.0.1:8787', '[::1]:8787', 'api.example.com', 'LOCALHOST'])
      for (const route of routes) expect([route, (await ask(route, host))?.status === 400]).toEqual([route, false])
    expect(entered).toBeGreaterThan(routes.length)
  })
})

describe('requests that are odd and allowed', () => {
  test.each([
    ['HEAD with a body', `${head('HEAD /users', 'Content-Length: 5')}hello`, 'HEAD', 200],
    ['OPTIONS with a body', `${head('OPTIONS /users', 'Content-Length: 5')}hello`, 'OPTIONS', 204],
    ['GET with a body', `${head('GET /users', 'Content-Length: 5')}hello`, 'GET', 200],
    ['DELETE with a body', `${head(`DELETE /users/${Bun.randomUUIDv7()}`, 'Content-Length: 5')}hello`, 'DELETE', 401],
    [
      'GET with a chunked body',
      `${head('GET /users', 'Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\n\r\n`,
      'GET',
      200,
    ],
    ['a question mark and nothing', head('GET /users?'), 'GET', 200],
    ['empty pairs', head('GET /users?&&limit=1&&'), 'GET', 200],
    ['two question marks', head('GET /users??limit=1'), 'GET', 422],
    ['a pair without a name', head('GET /users?=1'), 'GET', 422],
    ['a parameter twice', head('GET /users?limit=1&limit=1'), 'GET', 400],
    ['a parameter of a record twice', head('GET /users/USER?fields=id&fields=name'), 'GET', 400],
    ['a parameter of a history twice', head('GET /users/USER/history?limit=1&limit=2'), 'GET', 400],
    ['an operator twice', head('GET /users?handle[eq][eq]=a'), 'GET', 422],
    ['brackets that do not close', head('GET /users?handle[eq=a'), 'GET', 422],
    ['half an escape', head('GET /users?handle=%f'), 'GET', 400],
    ['an escape that is not UTF-8', head('GET /users?handle=%ff'), 'GET', 400],
    ['NUL in a query', head('GET /users?handle=%00'), 'GET', 400],
    ['a fragment', head('GET /users?limit=1#x'), 'GET', 400],
    ['a trailing slash', head('GET /users/'), 'GET', 404],
    ['two slashes', head('GET //users'), 'GET', 404],
    ['a backslash', head('GET /\\users'), 'GET', 404],
    ['a semicolon', head('GET /users;a=b'), 'GET', 404],
    ['an encoded letter', head('GET /%75sers?limit=1'), 'GET', 200],
    ['an encoded slash', head('GET /users%2fx'), 'GET', 404],
    ['an encoded question mark', head('GET /users%3flimit=1'), 'GET', 404],
    ['dots', head('GET /users/./../users?limit=1'), 'GET', 200],
    ['upper case', head('GET /USERS'), 'GET', 404],
    ['an escape that is none in a path', head('GET /users/%zz'), 'GET', 400],
    ['a URL over the limit', head(`GET /users?handle=${'x'.repeat(9_000)}`), 'GET', 414],
    ['TRACE', head('TRACE /users'), 'TRACE', 405],
    [
      'an upgrade to WebSocket',
      head(
        'GET /users',
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Key: x',
        'Sec-WebSocket-Version: 13',
      ),
      'GET',
      200,
    ],
    [
      'an upgrade to HTTP/2',
      head('GET /users', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'),
      'GET',
      200,
    ],
    ['a range', head(`GET /users/USER`, 'Range: bytes=0-1'), 'GET', 200],
    ['an Accept of nothing that there is', head('GET /users', 'Accept: text/x-none;q=0'), 'GET', 200],
    [
      'If-None-Match of 7,000 characters',
      head('GET /users/USER', `If-None-Match: ${'"a",'.repeat(1_750)}"1-v3"`),
      'GET',
      304,
    ],
    [
      'an If-Modified-Since in the future',
      head('GET /users/USER', 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT'),
      'GET',
      200,
    ],
    ['a Consistency that is none', head('GET /users', 'Consistency: perfect'), 'GET', 400],
    ['a token that is none', head('GET /users', 'Consistency-Token: a.1.b'), 'GET', 400],
    ['an Authorization that is none', head('GET /users', 'Authorization: Basic YTpi'), 'GET', 401],
    ['an Authorization of 7 KB', head('GET /users', `Authorization: Bearer ${'x'.repeat(7_000)}`), 'GET', 401],
  ])('%s', async (_, bytes, method, status) => {
    const wire = await openWire(server.url)
    wire.send(sent(bytes))
    expect((await wire.answer({ method }))?.status).toBe(status)
    // What came with the request is not left over for the next one on the connection.
    if (status < 400) {
      wire.send(head('GET /livez'))
      expect((await wire.answer())?.body).toBe('{"status":"live"}')
    }
    wire.destroy()
  })

  test('what is refused before anything is routed says what would be taken', async () => {
    const refusal = async (bytes: string, method: string) => {
      const answer = await exchange(server.url, sent(bytes), { method })
      return [JSON.parse(answer?.body ?? '{}').detail, answer?.headers.get('allow')]
    }
    const long = head(`GET /users?handle=${'x'.repeat(9_000)}`)
    expect(await refusal(long, 'GET')).toEqual(['A URL has at most 8192 characters.', undefined])
    const methods = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'
    expect(await refusal(head('TRACE /users'), 'TRACE')).toEqual([`There are the methods ${methods}.`, methods])
  })

  test.each(['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override'])('%s overrides nothing', async (name) => {
    for (const method of ['GET', 'HEAD', 'OPTIONS']) {
      const request = sent(head(`${method} /users/USER`, authorization, `${name}: DELETE`))
      const answer = await exchange(server.url, request, { method })
      expect([200, 204]).toContain(answer?.status ?? 0)
    }
    const wrong = await exchange(server.url, sent(post(`override-${name.length}`, `${name}: DELETE`)))
    expect(wrong?.status).toBe(201)
    expect((await server.call('GET', `/users/${user}`)).status).toBe(200)
  })

  test('a body that waits for 100 Continue is asked for and taken', async () => {
    const wire = await openWire(server.url)
    const body = bodyOf('expects')
    const length = `Content-Length: ${body.length}`
    wire.send(sent(head('POST /users', authorization, json, length, 'Expect: 100-continue')))
    expect((await wire.answer())?.status).toBe(100)
    wire.send(body)
    expect((await wire.answer())?.status).toBe(201)
    wire.destroy()
  })

  test('a write goes through byte by byte', async () => {
    const wire = await openWire(server.url)
    for (const byte of Buffer.from(sent(post('drip')))) await wire.flushed(Uint8Array.of(byte))
    expect((await wire.answer())?.status).toBe(201)
    wire.destroy()
  })

  test('a request behind a write that is under way may cut the connection; the write is done once, as a retry tells', async () => {
    for (const handle of ['first-piped', 'second-piped', 'third-piped']) {
      const request = sent(post(handle, `Idempotency-Key: ${handle}`))
      const wire = await openWire(server.url)
      wire.send(request + head('GET /livez'))
      const answer = await wire.answer()
      expect([undefined, 201]).toContain(answer?.status)
      wire.destroy()
      const again = await exchange(server.url, request)
      expect(again?.status).toBe(201)
      expect((await server.call('GET', `/users?handle=${handle}`)).body.data).toEqual([JSON.parse(again?.body ?? '')])
    }
  })
})
