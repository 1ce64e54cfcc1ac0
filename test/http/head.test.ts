import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { type TestServer, testServer } from '../support/server.ts'
import { openWire, type WireAnswer } from '../support/socket.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

let server: TestServer
let key: string
let record: string
beforeAll(async () => {
  server = await testServer()
  key = await server.key()
  const made = await server.call('POST', '/tags', { body: { name: 'grüße' } })
  record = `/tags/${made.body.id}`
})
afterAll(() => server.stop())

/** The answer as it comes over the wire, without what is another at every request. */
async function ask(method: string, path: string, headers = ''): Promise<WireAnswer> {
  const wire = await openWire(server.url)
  wire.send(`${method} ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${key}\r\n${headers}\r\n`)
  const answer = await wire.answer({ method })
  wire.destroy()
  if (!answer) throw new Error('no answer')
  const lasting = [...answer.headers].filter(([name]) => !['date', 'server-timing', 'cache-status'].includes(name))
  return { ...answer, headers: new Map(lasting.sort()) }
}

test.each([
  'a record',
  'a list',
  'a history',
  '/tags/none',
  '/nothing',
  '/tags?limit=0',
  '/openapi.json',
  '/problems/not-found',
  '/livez',
])('HEAD of %s has the status and the headers of GET, its length among them, and no body', async (what) => {
  const paths: Record<string, string> = { 'a record': record, 'a list': '/tags', 'a history': `${record}/history` }
  const path = paths[what] ?? what
  const [get, head] = [await ask('GET', path), await ask('HEAD', path)]
  expect([head.status, head.headers]).toEqual([get.status, get.headers])
  expect(Number(get.headers.get('content-length'))).toBe(get.body.length)
  expect([get.body.length > 0, head.body]).toEqual([true, ''])
})

test('HEAD of what has not changed is 304, as GET is', async () => {
  const tag = (await ask('GET', record)).headers.get('etag')
  const [get, head] = await Promise.all(
    ['GET', 'HEAD'].map((method) => ask(method, record, `If-None-Match: ${tag}\r\n`)),
  )
  expect([get?.status, head?.status, head?.headers]).toEqual([304, 304, get?.headers])
})
