import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { caughtUp } from '../support/activity.ts'
import { Contract } from '../support/contract.ts'
import { type Answer, type CallOptions, type TestServer, testServer } from '../support/server.ts'
import { startSqld, type TestSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

let sqld: TestSqld | null = null
let server: TestServer
let contract: Contract
let author: string
let post: string
let comment: string
let editor: string

/** A request whose answer must be as the document says. */
async function ask(path: string, options: CallOptions = {}): Promise<Answer> {
  const answer = await server.call('GET', path, options)
  expect(contract.breaches('GET', path, answer)).toEqual([])
  return answer
}
const rowsOf = async (query: string) => (await ask(`/authorActivity?${query}`)).body.data

describe.each(['a file', 'sqld'])('a read model over %s', (place) => {
  beforeAll(async () => {
    sqld = place === 'sqld' ? await startSqld() : null
    const libsql = sqld && { url: sqld.url, token: sqld.token, folder: null }
    server = await testServer({ follows: true, libsql })
    editor = await server.key({ scopes: ['read', 'write', 'editor'] })
    contract = new Contract((await server.call('GET', '/openapi.json')).body)
    const make = async (path: string, body: unknown) => (await server.call('POST', path, { key: editor, body })).body.id
    author = await make('/users', { handle: 'ada', name: 'Ada' })
    post = await make('/posts', { authorId: author, slug: 'first', title: 'First', status: 'published', words: 7 })
    comment = await make('/comments', { postId: post, authorId: author, body: 'Yes' })
    await caughtUp(server.node.reader)
  })
  afterAll(async () => {
    await server.stop()
    await sqld?.remove()
  })

  test('is read like every resource: listed, filtered, sorted, with what it belongs to, in every version', async () => {
    const [row] = await rowsOf(`authorId=${author}&day[gte]=2026-01-01&sort=-day&include=author(fields:name)`)
    expect(row).toMatchObject({ authorId: author, posts: 1, words: 7, comments: 1, author: { name: 'Ada' } })
    expect(row.day).toMatch(/^\d{4}-\d\d-\d\d$/)
    const one = await ask(`/authorActivity/${row.id}`)
    expect([one.status, one.body.posts, one.headers.get('etag')]).toEqual([200, 1, `"${row.version}-v3"`])
    expect(
      (await ask(`/authorActivity/${row.id}`, { headers: { 'If-None-Match': one.headers.get('etag') ?? '' } })).status,
    ).toBe(304)
    const old = await server.call('GET', `/v1/authorActivity/${row.id}`)
    expect(old.body).toEqual(one.body)
    const history = await ask(`/authorActivity/${row.id}/history`)
    expect(history.body.data.at(-1)).toMatchObject({ operation: 'create', actor: null })
    expect((await ask('/authorActivity', { key: null })).body.data).toHaveLength(1)
    const other = await server.key({ tenant: 'other' })
    expect((await ask('/authorActivity', { key: other })).body.data).toEqual([])
    expect((await ask(`/authorActivity/${row.id}`, { key: other })).status).toBe(404)
  })

  test('follows what is written, in the feed too, and its rows go with what they counted', async () => {
    const { headers } = await ask('/authorActivity')
    const after = headers.get('consistency-token')
    await server.call('PATCH', `/posts/${post}`, { key: editor, body: { words: 9 } })
    await caughtUp(server.node.reader)
    expect(await rowsOf('fields=posts,words,comments')).toEqual([{ posts: 1, words: 9, comments: 1 }])
    await server.call('PATCH', `/posts/${post}`, { key: editor, body: { status: 'archived' } })
    await caughtUp(server.node.reader)
    expect(await rowsOf('fields=posts,words,comments')).toEqual([{ posts: 0, words: 0, comments: 1 }])
    await server.call('DELETE', `/comments/${comment}`, { key: editor })
    await caughtUp(server.node.reader)
    expect(await rowsOf('')).toEqual([])
    const feed = await server.call('GET', `/changes?resource=authorActivity&after=${after}`)
    const told = feed.body.data.map((each: { operation: string; changed: string[] }) => [each.operation, each.changed])
    expect(told).toEqual([
      ['update', ['words']],
      ['update', ['posts', 'words']],
      ['delete', null],
    ])
    await server.call('PATCH', `/posts/${post}`, { key: editor, body: { status: 'published' } })
    await caughtUp(server.node.reader)
    expect(await rowsOf('fields=posts,words,comments')).toEqual([{ posts: 1, words: 9, comments: 0 }])
  })

  test.each([
    ['POST', '/authorActivity'],
    ['PUT', '/authorActivity/ID'],
    ['PATCH', '/authorActivity/ID'],
    ['DELETE', '/authorActivity/ID'],
    ['POST', '/v1/authorActivity'],
    ['DELETE', '/v2/authorActivity/ID'],
  ])('is not written: %s %s', async (method, path) => {
    const answer = await server.call(method, path.replace('ID', Bun.randomUUIDv7()), { key: editor, body: {} })
    expect([answer.status, answer.body.type, answer.headers.get('allow')]).toEqual([
      405,
      '/problems/method-not-allowed',
      'GET, HEAD, OPTIONS',
    ])
  })

  test('is not written by a batch, which says why, nor described as if it were', async () => {
    const commands = [{ do: 'delete', resource: 'authorActivity', id: Bun.randomUUIDv7() }]
    const refused = await server.call('POST', '/batch', { key: editor, body: { commands } })
    expect([refused.status, refused.body.errors]).toEqual([
      422,
      [
        {
          pointer: '/commands/0/resource',
          code: 'invalid-command',
          message: 'authorActivity is a read model, which follows the records that it is made of.',
        },
      ],
    ])
    const mistyped = { commands: [{ do: 'delete', resource: 'nothing' }] }
    const { body } = await server.call('POST', '/batch', { key: editor, body: mistyped })
    expect(body.errors[0].message).toBe('"resource" is one of users, posts, comments, tags, postTags.')
    const described = contract.operations.filter(({ path }) => path.startsWith('/authorActivity'))
    expect(described.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /authorActivity',
      'GET /authorActivity/{id}',
      'GET /authorActivity/{id}/history',
    ])
    expect(
      Object.keys(contract.document.components.schemas).filter((name) =>
        /^AuthorActivity(Input|Patch|.*Command)/.test(name),
      ),
    ).toEqual([])
  })

  test('tells how far it is behind', async () => {
    await caughtUp(server.node.reader)
    const { text } = await server.call('GET', '/metrics', { key: null })
    for (const name of ['lag_changes', 'lag_seconds', 'rebuilding'])
      expect(text).toContain(`\nperigee_projection_${name}{projection="authorActivity"} 0\n`)
  })
})
