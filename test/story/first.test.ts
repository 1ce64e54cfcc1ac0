import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

describe('a record, from its creation to its end', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await testServer()
  })
  afterAll(() => server.stop())

  test('is created, read, changed under a condition, refused when stale, and deleted', async () => {
    const made = await server.call('POST', '/users', { body: { handle: 'ada', name: 'Ada' } })
    expect(made.status).toBe(201)
    expect(made.headers.get('location')).toBe(`/users/${made.body.id}`)
    expect(made.headers.get('etag')).toBe('"1-v3"')
    const path = `/users/${made.body.id}`
    const read = await server.call('GET', path)
    expect(read.body).toEqual(made.body)

    const changed = await server.call('PATCH', path, { body: { name: 'Ada L.' }, headers: { 'If-Match': '"1"' } })
    expect([changed.status, changed.body.name, changed.headers.get('etag')]).toEqual([200, 'Ada L.', '"2-v3"'])
    const stale = await server.call('PATCH', path, { body: { name: 'No' }, headers: { 'If-Match': '"1"' } })
    expect([stale.status, stale.body.type, stale.headers.get('etag')]).toEqual([
      412,
      '/problems/precondition-failed',
      '"2-v3"',
    ])

    const unchanged = await server.call('GET', path, { headers: { 'If-None-Match': '"2-v3"' } })
    expect([unchanged.status, unchanged.text]).toEqual([304, ''])
    expect((await server.call('DELETE', path, { headers: { 'If-Match': '"2-v3"' } })).status).toBe(204)
    expect((await server.call('GET', path)).status).toBe(404)
  })

  test('is created once, however often the same request with the same key arrives', async () => {
    const headers = { 'Idempotency-Key': '"once"' }
    const body = { handle: 'grace', name: 'Grace' }
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => server.call('POST', '/users', { body, headers })),
    )
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1)
    expect(answers.filter((answer) => answer.headers.get('idempotency-replayed') === null).length).toBe(1)
    expect((await server.call('GET', '/users?handle=grace&count=exact')).body.count).toBe(1)
    const other = await server.call('POST', '/users', { body: { ...body, name: 'G' }, headers })
    expect([other.status, other.body.type]).toEqual([422, '/problems/idempotency-key-reused'])
  })
})

describe('what a write takes', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await testServer()
  })
  afterAll(() => server.stop())

  test('a create takes no condition, since there is no record to compare', async () => {
    const body = { handle: 'ada', name: 'Ada' }
    for (const headers of [{ 'If-Match': '"1"' }, { 'If-Match': '*' }, { 'If-None-Match': '*' }]) {
      const refused = await server.call('POST', '/users', { body, headers: headers as Record<string, string> })
      expect([refused.status, refused.body.type]).toEqual([400, '/problems/invalid-header'])
    }
    expect((await server.call('GET', '/users?count=exact')).body.count).toBe(0)
  })

  test('a value is stored as its schema makes it', async () => {
    const body = { handle: 'grace', name: 'Grace', homepage: '  https://example.com/grace  ' }
    const made = await server.call('POST', '/users', { body })
    expect([made.status, made.body.homepage]).toEqual([201, 'https://example.com/grace'])
  })
})
