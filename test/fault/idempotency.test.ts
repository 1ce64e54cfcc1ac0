import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { dataFolder } from '../support/folder.ts'
import { spawnServer } from '../support/process.ts'
import { type Answer, call, type TestServer, testServer } from '../support/server.ts'
import { exchange, head, openWire } from '../support/socket.ts'

setDefaultTimeout(60_000)

let server: TestServer
let key: string
beforeAll(async () => {
  server = await testServer()
  key = await server.key()
})
afterAll(() => server.stop())

const some = { handle: 'ada', name: 'Ada' }
const keyed = (name: string) => ({ 'Idempotency-Key': name })
const isReplay = (answer: Answer) => answer.headers.get('idempotency-replayed') === 'true'
const position = async () => Number((await server.call('GET', '/readyz')).body.position)

async function madeUser(handle: string): Promise<string> {
  const made = await server.call('POST', '/users', { body: { handle, name: 'Someone' } })
  expect(made.status).toBe(201)
  return made.body.id
}

describe('row 14: the same request with the same key, 50 at once', () => {
  test.each([
    ['POST', async () => ({ path: '/users', body: { handle: 'fifty', name: 'Fifty' } }), 201],
    ['PUT', async () => ({ path: `/users/${Bun.randomUUIDv7()}`, body: { handle: 'put-fifty', name: 'Fifty' } }), 201],
    ['PATCH', async () => ({ path: `/users/${await madeUser('patched')}`, body: { name: 'Changed once' } }), 200],
    ['DELETE', async () => ({ path: `/users/${await madeUser('deleted')}`, body: undefined }), 204],
    ['POST', async () => ({ path: '/batch', body: { commands: [create('first'), create('second')] } }), 200],
  ] as const)('%s is done once and answered alike', async (method, given, status) => {
    const { path, body } = await given()
    const before = await position()
    const headers = keyed(`row-14 ${method} ${path}`.replaceAll(' ', '-'))
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => server.call(method, path, { key, body, headers })),
    )
    expect(answers.map((answer) => answer.status)).toEqual(Array(50).fill(status))
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1)
    expect(answers.filter((answer) => !isReplay(answer)).length).toBe(1)
    for (const name of ['etag', 'location', 'consistency-token', 'content-type', 'api-version'])
      expect(new Set(answers.map((answer) => answer.headers.get(name))).size).toBe(1)
    expect((await position()) - before).toBe(path === '/batch' ? 2 : 1)
  })

  const create = (handle: string) => ({ do: 'create', resource: 'users', body: { handle, name: 'Batched' } })

  test('over three servers on one database it is done once, and each of them reads it at once', async () => {
    const folder = await dataFolder()
    const servers = await Promise.all([1, 2, 3].map(() => spawnServer({ dataDir: folder.path })))
    const at = (i: number) => servers[i % servers.length]?.url ?? ''
    const options = { key: folder.key, body: some, headers: keyed('three') }
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => call(at(i), 'POST', '/users', options)))
    expect(new Set(answers.map((answer) => `${answer.status} ${answer.text}`)).size).toBe(1)
    expect(answers.filter((answer) => !isReplay(answer)).length).toBe(1)
    for (let i = 0; i < 3; i++)
      expect((await call(at(i), 'GET', `/users/${answers[0]?.body.id}`)).text).toBe(answers[0]?.text ?? '')
    expect(await Promise.all(servers.map((each) => each.end('SIGTERM')))).toEqual([0, 0, 0])
    folder.remove()
  })

  test('a refused request claims nothing: the key is free for a request that is right', async () => {
    const wrong = await server.call('POST', '/posts', {
      body: { authorId: Bun.randomUUIDv7(), slug: 's', title: 't' },
      headers: keyed('refused'),
    })
    expect(wrong.status).toBe(422)
    const right = await server.call('POST', '/users', {
      body: { handle: 'right', name: 'R' },
      headers: keyed('refused'),
    })
    expect([right.status, isReplay(right)]).toEqual([201, false])
  })
})

describe('row 15: a key that was used with another request', () => {
  const requests = fc.record({
    method: fc.constantFrom('POST', 'PUT', 'PATCH', 'DELETE'),
    place: fc.constantFrom('', '/v3'),
    id: fc.constantFrom(Bun.randomUUIDv7(), Bun.randomUUIDv7()),
    name: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
    ifMatch: fc.constantFrom(undefined, '*', '"1"', '"2"'),
    spaces: fc.nat(2),
  })
  type Asked = typeof requests extends fc.Arbitrary<infer T> ? T : never

  const send = ({ method, place, id, name, ifMatch, spaces }: Asked) =>
    server.call(method, `${place}/users${method === 'POST' ? '' : `/${id}`}`, {
      key,
      ...(method === 'DELETE' ? {} : { body: JSON.stringify({ handle: 'reused', name }) + ' '.repeat(spaces) }),
      headers: { ...keyed('row-15'), ...(ifMatch && method !== 'POST' ? { 'If-Match': ifMatch } : {}) },
    })
  // A create has no id of its own and a delete no body, so these do not tell two of them apart.
  const identity = ({ method, place, id, name, ifMatch, spaces }: Asked) =>
    JSON.stringify([method, place, method === 'POST' || id, method === 'DELETE' || [name, spaces], ifMatch])

  test('is answered 422 idempotency-key-reused, whatever is different, and changes nothing', async () => {
    const first = await server.call('POST', '/users', { key, body: some, headers: keyed('row-15') })
    expect(first.status).toBe(201)
    const before = await position()
    await fc.assert(
      fc.asyncProperty(requests, async (asked) => {
        const answer = await send(asked)
        expect([answer.status, answer.body.type]).toEqual([422, '/problems/idempotency-key-reused'])
      }),
      { numRuns: 150 },
    )
    expect(await position()).toBe(before)
    const again = await server.call('POST', '/users', { key, body: some, headers: keyed('row-15') })
    expect([again.status, again.text, isReplay(again)]).toEqual([201, first.text, true])
  })

  test('two random requests share an answer exactly when they are the same request', async () => {
    await fc.assert(
      fc.asyncProperty(requests, requests, async (one, other) => {
        const name = `pair-${Bun.randomUUIDv7()}`
        const ask = (asked: Asked) =>
          server.call('POST', `${asked.place}/tags`, {
            key,
            body: JSON.stringify({ name: `${name} ${asked.name}` }) + ' '.repeat(asked.spaces),
            headers: keyed(name),
          })
        const made = await ask(one)
        expect(made.status).toBe(201)
        const second = await ask(other)
        const same = identity({ ...one, method: 'POST', ifMatch: undefined })
        if (same === identity({ ...other, method: 'POST', ifMatch: undefined }))
          expect([second.status, second.text, isReplay(second)]).toEqual([201, made.text, true])
        else expect([second.status, second.body.type]).toEqual([422, '/problems/idempotency-key-reused'])
      }),
      { numRuns: 60 },
    )
  })
})

describe('row 16: the same key elsewhere', () => {
  test('in another tenant is independent: both are created, neither is a replay', async () => {
    const other = await server.key({ tenant: 'other' })
    const body = { handle: 'both', name: 'Both' }
    const [here, there] = await Promise.all([
      server.call('POST', '/users', { body, headers: keyed('shared') }),
      server.call('POST', '/users', { key: other, body, headers: keyed('shared') }),
    ])
    expect([here.status, there.status, isReplay(here), isReplay(there)]).toEqual([201, 201, false, false])
    expect(here.body.id).not.toBe(there.body.id)
    const again = await server.call('POST', '/users', { key: other, body, headers: keyed('shared') })
    expect([again.body.id, isReplay(again)]).toEqual([there.body.id, true])
  })

  test('sent by another user of the tenant does not hand over the first one’s answer', async () => {
    const owner = await madeUser('the-owner')
    const guest = await madeUser('the-guest')
    const body = { authorId: owner, slug: 'secret-draft', title: 'Nobody else may read this' }
    const made = await server.call('POST', '/posts', {
      key: await server.key({ subject: owner }),
      body,
      headers: keyed('private'),
    })
    expect(made.status).toBe(201)
    const guestKey = await server.key({ subject: guest })
    expect((await server.call('GET', `/posts/${made.body.id}`, { key: guestKey })).status).toBe(404)
    const taken = await server.call('POST', '/posts', { key: guestKey, body, headers: keyed('private') })
    expect([taken.status, taken.text.includes(made.body.id)]).toEqual([422, false])
  })
})

describe('row 17: a key that is none', () => {
  const body = JSON.stringify({ handle: 'keyless', name: 'K' })
  const post = (...lines: string[]) =>
    Buffer.from(
      head(
        'POST /users',
        `Authorization: Bearer ${key}`,
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
        ...lines,
      ) + body,
      'latin1',
    )

  test.each([
    ['empty', ['Idempotency-Key:']],
    ['only spaces', ['Idempotency-Key:   ']],
    ['an empty string', ['Idempotency-Key: ""']],
    ['256 characters, bare', [`Idempotency-Key: ${'k'.repeat(256)}`]],
    ['256 characters, quoted', [`Idempotency-Key: "${'k'.repeat(256)}"`]],
    ['4,000 characters', [`Idempotency-Key: ${'k'.repeat(4_000)}`]],
    ['a letter outside ASCII, as UTF-8', [`Idempotency-Key: ${Buffer.from('clé').toString('latin1')}`]],
    ['a letter outside ASCII, as latin1', ['Idempotency-Key: "cl\xe9"']],
    ['DEL', ['Idempotency-Key: "a\x7fb"']],
    ['a tab', ['Idempotency-Key: "a\tb"']],
    ['a space, bare', ['Idempotency-Key: a b']],
    ['a quote that does not end', ['Idempotency-Key: "abc']],
    ['a quote inside', ['Idempotency-Key: "a"b"']],
    ['an escape of nothing', ['Idempotency-Key: "a\\b"']],
    ['two strings', ['Idempotency-Key: "a", "b"']],
    ['two headers', ['Idempotency-Key: a', 'Idempotency-Key: b']],
    ['a parameter', ['Idempotency-Key: "a"; x=1']],
  ])('%s: 400 invalid-idempotency-key', async (_, lines) => {
    const answer = await exchange(server.url, post(...lines))
    expect([answer?.status, answer && JSON.parse(answer.body).type]).toEqual([400, '/problems/invalid-idempotency-key'])
  })

  test.each([
    ['CR and LF', 'Idempotency-Key: a\r\n b'],
    ['a bare CR', 'Idempotency-Key: a\rb'],
    ['a bare LF', 'Idempotency-Key: a\nb'],
    ['NUL', 'Idempotency-Key: a\0b'],
    ['another control character', 'Idempotency-Key: "a\x01b"'],
  ])('%s inside ends the connection with 400', async (_, line) => {
    const wire = await openWire(server.url)
    wire.send(post(line))
    expect((await wire.answer())?.status).toBe(400)
    await wire.closed
  })

  test('nothing was created meanwhile; 255 characters are a key, bare or quoted the same', async () => {
    expect((await server.call('GET', '/users?handle=keyless')).body.data).toEqual([])
    const name = 'k'.repeat(255)
    const made = await exchange(server.url, post(`Idempotency-Key: ${name}`))
    const again = await exchange(server.url, post(`Idempotency-Key: "${name}"`))
    expect([made?.status, again?.status, again?.headers.get('idempotency-replayed')]).toEqual([201, 201, 'true'])
    expect(again?.body).toBe(made?.body ?? '')
  })
})
