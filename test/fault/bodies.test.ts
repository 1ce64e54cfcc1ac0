import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { Problem } from '../../src/problem.ts'
import { limits } from '../../src/schema/limits.ts'
import { parseJson } from '../../src/write/json.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { exchange, head, openWire, type WireAnswer } from '../support/socket.ts'

setDefaultTimeout(60_000)

let server: TestServer
let authorization: string
beforeAll(async () => {
  server = await testServer()
  authorization = `Authorization: Bearer ${await server.key()}`
})
afterAll(() => server.stop())

const json = 'Content-Type: application/json'
const mebibyte = 1_048_576
const typeOf = (answer: WireAnswer | null) => answer && JSON.parse(answer.body).type

/** A body of exactly this many bytes that makes a user. */
function userOf(bytes: number, handle: string): string {
  const start = `{"handle":"${handle}","name":"N"`
  return `${start}${' '.repeat(bytes - start.length - 1)}}`
}

describe('row 26: a body over the limit is refused with 413 and a problem, and is not read', () => {
  const bodyLimit = { status: 413, type: '/problems/content-too-large', contentType: 'application/problem+json' }
  const said = (answer: WireAnswer | null) => ({
    status: answer?.status,
    type: typeOf(answer),
    contentType: answer?.headers.get('content-type'),
  })

  test.each([
    ['one byte more', `${mebibyte + 1}`],
    ['200 MB, more than Bun itself takes', '200000000'],
    ['5 TB', '5000000000000'],
  ])('declared: %s, of which nothing is sent; the connection is closed', async (_, length) => {
    const wire = await openWire(server.url)
    wire.send(head('POST /users', authorization, json, `Content-Length: ${length}`))
    expect(said(await wire.answer())).toEqual(bodyLimit)
    await wire.closed
  })

  test('declared twice with the same number: the limit holds all the same', async () => {
    const wire = await openWire(server.url)
    const length = `Content-Length: ${mebibyte * 2}`
    wire.send(head('POST /users', authorization, json, length, length))
    expect(said(await wire.answer())).toEqual(bodyLimit)
    await wire.closed
  })

  test.each([
    ['with a key', () => [authorization], 17, 413],
    ['without a key', () => [], 0, 401],
  ])('chunked without end, %s: reading stops, though the sender goes on', async (_, headers, chunks, status) => {
    const wire = await openWire(server.url)
    const chunk = Buffer.from(`10000\r\n${'x'.repeat(0x10000)}\r\n`)
    wire.send(head('POST /users', ...headers(), json, 'Transfer-Encoding: chunked'))
    for (let i = 0; i < chunks; i++) wire.send(chunk)
    expect((await wire.answer())?.status).toBe(status)
    let isOver = false
    void wire.closed.then(() => {
      isOver = true
    })
    let sent = 0
    for (; !isOver && sent < 256 * mebibyte; sent += chunk.length) await wire.flushed(chunk)
    expect(sent).toBeLessThan(64 * mebibyte)
  })

  test('one byte less passes, declared or chunked', async () => {
    for (const framing of ['declared', 'chunked']) {
      const body = userOf(mebibyte, framing)
      const wire = await openWire(server.url)
      if (framing === 'declared') {
        wire.send(head('POST /users', authorization, json, `Content-Length: ${body.length}`) + body)
      } else {
        wire.send(head('POST /users', authorization, json, 'Transfer-Encoding: chunked'))
        wire.send(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`)
      }
      expect((await wire.answer())?.status).toBe(201)
      wire.destroy()
    }
  })

  test('a length that lies: less than declared never becomes a write', async () => {
    const body = userOf(100, 'liar')
    const wire = await openWire(server.url)
    wire.send(head('POST /users', authorization, json, `Content-Length: ${body.length + 50}`) + body)
    wire.destroy()
    await wire.closed
    const next = await server.call('GET', '/users?handle=liar')
    expect(next.body.data).toEqual([])
  })

  test('a length that lies: what is more than declared is no part of the body; a retry tells what was done', async () => {
    const body = userOf(100, 'longer')
    const request = head(
      'POST /users',
      authorization,
      json,
      'Idempotency-Key: longer',
      `Content-Length: ${body.length}`,
    )
    const wire = await openWire(server.url)
    wire.send(`${request}${body}}}garbage\r\n\r\n`)
    // Bun may answer the garbage before the write has been committed, and closes: the sender cannot tell.
    expect([201, 400]).toContain((await wire.answer())?.status ?? 0)
    await wire.closed
    const again = await exchange(server.url, request + body)
    expect(again?.status).toBe(201)
    expect((await server.call('GET', '/users?handle=longer')).body.data).toEqual([JSON.parse(again?.body ?? '')])
  })

  test.each(['-1', '+5', '0x10', '1e3', '5, 5', '', '٥', '99999999999999999999999'])(
    'a length of "%s" is refused and the connection closed',
    async (length) => {
      const wire = await openWire(server.url)
      wire.send(Buffer.from(head('POST /users', authorization, json, `Content-Length: ${length}`)))
      expect([400, 411]).toContain((await wire.answer())?.status ?? 0)
      await wire.closed
    },
  )

  test('what of a refused body has been sent already is never taken for a request', async () => {
    const smuggled = head('DELETE /users/me')
    const wire = await openWire(server.url)
    wire.send(head('POST /users', authorization, json, `Content-Length: ${mebibyte + smuggled.length}`))
    wire.send(smuggled.padStart(mebibyte + smuggled.length, 'x'))
    expect((await wire.answer())?.status).toBe(413)
    await wire.closed
    expect(wire.rest).toBe('')
  })
})

const many = (count: number, each: (i: number) => string) => Array.from({ length: count }, (_, i) => each(i)).join(',')

describe('row 27: JSON that JSON.parse would take', () => {
  const cases: [name: string, code: string, body: string | Uint8Array][] = [
    ['nested 33 deep', 'depth', `${'['.repeat(33)}${']'.repeat(33)}`],
    ['nested 65 deep in objects', 'depth', `${'{"a":'.repeat(65)}1${'}'.repeat(65)}`],
    ['nested 150,000 deep', 'depth', '['.repeat(150_000) + ']'.repeat(150_000)],
    ['opened 150,000 times and never closed', 'depth', '[{"a":'.repeat(100_000)],
    ['100,000 members in one object', 'members', `{${many(90_000, (i) => `"${i}":1`)}}`],
    ['1,000,000 bytes of empty elements', 'members', `[${many(340_000, () => '0')}]`],
    ['a number of 100,000 digits', 'number', `{"words":${'1'.repeat(100_000)}}`],
    ['a number out of range', 'number', '{"words":1e999}'],
    ['a fraction of 100,000 digits', 'number', `{"words":0.${'3'.repeat(100_000)}}`],
    ['a member twice', 'duplicate-key', '{"name":"a","name":"b"}'],
    ['a member twice, once in escapes', 'duplicate-key', '{"name":"a","n\\u0061me":"b"}'],
    ['a member twice, deep inside', 'duplicate-key', '{"meta":[{"a":1,"b":{"c":1,"c":2}}]}'],
    ['__proto__ twice', 'duplicate-key', '{"__proto__":1,"__proto__":2}'],
    ['an overlong UTF-8 sequence', 'utf-8', Buffer.from('7b226e616d65223a22c0af227d', 'hex')],
    ['a surrogate in UTF-8', 'utf-8', Buffer.from('7b226e616d65223a22eda080227d', 'hex')],
    ['a UTF-8 sequence cut short', 'utf-8', Buffer.from('7b226e616d65223a22e282227d', 'hex')],
    ['latin1', 'utf-8', Buffer.from('{"name":"\xe9"}', 'latin1')],
    ['UTF-16', 'utf-8', Buffer.from('\ufeff{"name":"a"}', 'utf16le')],
    ['a byte order mark', 'syntax', '\ufeff{"name":"a"}'],
    ['a high surrogate alone', 'surrogate', '{"name":"\\ud800"}'],
    ['a low surrogate alone, in a key', 'surrogate', '{"\\udc00":1}'],
    ['surrogates the wrong way round', 'surrogate', '{"name":"\\udc00\\ud800"}'],
    ['NUL in a text', 'nul', '{"name":"a\\u0000b"}'],
    ['nothing', 'syntax', ''],
    ['only spaces', 'syntax', '   '],
    ['a comment', 'syntax', '{"name":"a"/* */}'],
    ['a comma too many', 'syntax', '{"name":"a",}'],
    ['single quotes', 'syntax', "{'name':'a'}"],
    ['two values', 'syntax', '{}{}'],
    ['NaN', 'syntax', '{"words":NaN}'],
    ['a text without an end', 'syntax', '{"name":"a'],
    ['half a million backslashes', 'syntax', `"${'\\'.repeat(500_001)}"`],
  ]

  test.each(cases)('%s: 400 invalid-json that says "%s"', async (_, code, body) => {
    const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : new Uint8Array(body)
    const answer = await server.call('POST', '/users', { body: bytes, headers: { 'Content-Type': 'application/json' } })
    expect([answer.status, answer.body.type, answer.body.errors?.[0]?.code]).toEqual([
      400,
      '/problems/invalid-json',
      code,
    ])
    expect(answer.text.length).toBeLessThan(2_000)
  })

  test.each(cases)('%s: the work is bounded by what was read, once', (_, code, body) => {
    const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : new Uint8Array(body)
    const { looks, problem } = looksAt(bytes)
    expect(problem?.details.errors?.[0]?.code).toBe(code)
    expect(looks).toBeLessThan(4 * bytes.length + 100)
    if (code === 'depth') expect(looks).toBeLessThan(20 * limits.jsonDepthMax)
    if (code === 'members') expect(looks).toBeLessThan(20 * limits.jsonMembersMax)
  })

  test('whatever the text, each character is looked at a few times at most', () => {
    const piece = fc.constantFrom(
      '"',
      '\\',
      '\\"',
      '\\\\',
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      ' ',
      '1',
      'a',
      '"a":',
      '\\u00',
      '[  ',
    )
    const text = fc.array(fc.tuple(piece, fc.integer({ min: 1, max: 200 })), { maxLength: 40 })
    fc.assert(
      fc.property(text, (pieces) => {
        const bytes = new TextEncoder().encode(pieces.map(([each, times]) => each.repeat(times)).join(''))
        expect(looksAt(bytes).looks).toBeLessThan(4 * bytes.length + 100)
      }),
      { numRuns: 500 },
    )
  })

  test('what it takes is what JSON.parse says', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        let taken: { value: unknown } | undefined
        try {
          taken = { value: parseJson(new TextEncoder().encode(text)) }
        } catch (error) {
          expect(error).toBeInstanceOf(Problem)
        }
        if (taken) expect(JSON.stringify(taken.value)).toBe(JSON.stringify(JSON.parse(text)))
      }),
      { numRuns: 500 },
    )
  })

  test('20,000 unknown members are told of 100 times, and only these are put into words', async () => {
    const body = `{${many(19_000, (i) => `"${'u'.repeat(40)}${i}":1`)}}`
    const { calls, answer } = await countLowerCasing(() => server.call('POST', '/users', { body }))
    expect([answer.status, answer.body.type, answer.body.errors.length]).toEqual([422, '/problems/unknown-field', 100])
    expect(calls).toBeLessThan(100 * 50)
  })

  test('2,000 unknown parameters are told of 100 times', async () => {
    const answer = await server.call('GET', `/users?${'zz&'.repeat(2_000)}`)
    expect([answer.status, answer.body.errors.length]).toEqual([422, 100])
  })
})

/** Parses and counts how often a character of the text was looked at. */
function looksAt(bytes: Uint8Array): { looks: number; problem: Problem | undefined } {
  const { charCodeAt } = String.prototype
  let looks = 0
  String.prototype.charCodeAt = function (this: string, at: number) {
    looks++
    return charCodeAt.call(this, at)
  }
  try {
    parseJson(bytes)
    return { looks, problem: undefined }
  } catch (error) {
    return { looks, problem: error as Problem }
  } finally {
    String.prototype.charCodeAt = charCodeAt
  }
}

/** The search for the nearest name lower-cases each name that it compares: a count of the comparisons. */
async function countLowerCasing<T>(work: () => Promise<T>): Promise<{ calls: number; answer: T }> {
  const { toLowerCase } = String.prototype
  let calls = 0
  String.prototype.toLowerCase = function (this: string) {
    calls++
    return toLowerCase.call(this)
  }
  try {
    return { answer: await work(), calls }
  } finally {
    String.prototype.toLowerCase = toLowerCase
  }
}

describe('row 33: a compressed body is refused before it is opened', () => {
  const zeros = new Uint8Array(10 * mebibyte)
  const bomb = Bun.gzipSync(zeros)

  test.each([
    ['gzip', bomb],
    ['GZIP', bomb],
    ['x-gzip', bomb],
    ['gzip, gzip', Bun.gzipSync(bomb)],
    ['identity, gzip', bomb],
    ['gzip, identity', bomb],
    ['deflate', Bun.deflateSync(zeros)],
    ['br', bomb],
    ['zstd', Bun.zstdCompressSync(zeros)],
    ['unheard-of', new TextEncoder().encode('{}')],
  ])('%s: 415 unsupported-content-encoding', async (encoding, body) => {
    for (const [method, path] of [
      ['POST', '/users'],
      ['POST', '/batch'],
      ['PATCH', `/users/${Bun.randomUUIDv7()}`],
    ] as const) {
      const answer = await server.call(method, path, { body, headers: { 'Content-Encoding': encoding } })
      expect([answer.status, answer.body.type]).toEqual([415, '/problems/unsupported-content-encoding'])
      expect(answer.headers.get('accept-encoding')).toBe('identity')
    }
  })

  test.each(['gzip, chunked', 'gzip', 'chunked, gzip', 'chunked, chunked', 'identity'])(
    'Transfer-Encoding: %s is refused and the connection closed',
    async (encoding) => {
      const wire = await openWire(server.url)
      wire.send(head('POST /users', authorization, json, `Transfer-Encoding: ${encoding}`))
      wire.send(bomb)
      expect((await wire.answer())?.status).toBe(400)
      await wire.closed
    },
  )

  test('a gzip body that does not say so is not JSON', async () => {
    const answer = await server.call('POST', '/users', { body: new Uint8Array(bomb) })
    expect([answer.status, answer.body.type]).toEqual([400, '/problems/invalid-json'])
  })
})
