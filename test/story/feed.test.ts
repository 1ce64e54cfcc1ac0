import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { limits } from '../../src/schema/limits.ts'
import { compactLog } from '../../src/write/maintenance.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'
import { follow } from '../support/stream.ts'

setDefaultTimeout(60_000)

let server: TestServer
let editor: string
beforeAll(async () => {
  server = await testServer()
  editor = await server.key({ scopes: ['read', 'write', 'editor'] })
})
afterAll(() => server.stop())

const tokenOf = (answer: Answer) => answer.headers.get('consistency-token') ?? ''
let count = 0
const newTag = (name = `tag-${count++}`) => server.call('POST', '/tags', { body: { name } })

async function newPost(status: 'draft' | 'published') {
  const n = count++
  const user = await server.call('POST', '/users', { body: { handle: `author-${n}`, name: `Author ${n}` } })
  const body = { authorId: user.body.id, slug: `post-${n}`, title: `Post ${n}`, status }
  return { post: await server.call('POST', '/posts', { body }), authorId: user.body.id as string }
}

describe('a page of changes', () => {
  test('is all that happened after the position of an answer, in order, each once', async () => {
    const list = await server.call('GET', '/tags')
    const first = await newTag()
    const second = await server.call('PATCH', `/tags/${first.body.id}`, { body: { name: `again-${count++}` } })
    expect((await server.call('DELETE', `/tags/${first.body.id}`)).status).toBe(204)
    const page = await server.call('GET', `/changes?after=${tokenOf(list)}`)
    expect(page.body.data.map((each: { operation: string }) => each.operation)).toEqual(['create', 'update', 'delete'])
    const [created, updated, deleted] = page.body.data
    expect([created.record, created.changed, updated.record]).toEqual([first.body, null, second.body])
    expect(updated.changed.sort()).toEqual(['name'])
    expect([deleted.record, deleted.id, deleted.version]).toEqual([null, first.body.id, 3])
    expect(page.body.next).toBe(tokenOf(page))
    expect((await server.call('GET', `/changes?after=${page.body.next}`)).body.data).toEqual([])
    expect((await server.call('GET', `/changes?after=${created.position}`)).body.data).toEqual([updated, deleted])
  })

  test('of any length is the same log, and its link leads on', async () => {
    const start = tokenOf(await server.call('GET', '/tags'))
    for (let n = 0; n < 7; n++) await newTag()
    const whole = (await server.call('GET', `/changes?after=${start}`)).body.data
    for (const limit of [1, 2, 3, 7]) {
      const seen: unknown[] = []
      let path = `/changes?after=${start}&limit=${limit}`
      for (;;) {
        const page = await server.call('GET', path)
        if (page.body.data.length === 0) break
        expect(page.body.data.length).toBeLessThanOrEqual(limit)
        seen.push(...page.body.data)
        path = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1] ?? ''
      }
      expect(seen).toEqual(whole)
    }
  })

  test('is of a resource, a record and its fields, where they are named', async () => {
    const start = tokenOf(await server.call('GET', '/tags'))
    const [tag, other] = [await newTag(), await newTag()]
    await newPost('published')
    const names = async (query: string) =>
      (await server.call('GET', `/changes?after=${start}&${query}`)).body.data.map(
        (each: { record: object }) => each.record,
      )
    expect(await names('resource=tags')).toEqual([tag.body, other.body])
    expect(await names(`resource=tags&id=${tag.body.id}&fields=name`)).toEqual([{ name: tag.body.name }])
    expect(await names(`resource=posts&id=${tag.body.id}`)).toEqual([])
  })

  test('is in the version of its reader', async () => {
    const start = tokenOf(await server.call('GET', '/tags'))
    const { post } = await newPost('published')
    await server.call('PATCH', `/posts/${post.body.id}`, { body: { body: 'Text', meta: { language: 'en' } } })
    const page = await server.call('GET', `/v1/changes?after=${start}&resource=articles`)
    const [, changed] = page.body.data
    expect(page.headers.get('api-version')).toBe('2026-03-01')
    expect([changed.resource, changed.record.content, changed.record.status, changed.record.language]).toEqual([
      ...['articles', 'Text', 'live', 'en'],
    ])
    expect(changed.changed.sort()).toEqual(['content', 'language', 'meta'])
    const read = await server.call('GET', `/v1/articles/${post.body.id}`)
    expect(changed.record).toEqual(read.body)
  })

  test('tells as deleted what leaves the sight of its reader, and nothing of what never was in it', async () => {
    const start = tokenOf(await server.call('GET', '/tags'))
    const { post } = await newPost('draft')
    const path = `/posts/${post.body.id}`
    const statuses = ['published', 'archived', 'draft', 'published'] as const
    for (const status of statuses) await server.call('PATCH', path, { body: { status } })
    await server.call('DELETE', path)
    const told = async (key: string | null) => {
      const { body } = await server.call('GET', `/changes?after=${start}&resource=posts`, { key })
      return body.data.map((each: { operation: string; record: { status: string } | null }) => [
        each.operation,
        each.record?.status ?? null,
      ])
    }
    expect(await told(null)).toEqual([
      ...[
        ['update', 'published'],
        ['delete', null],
      ],
      ...[
        ['update', 'published'],
        ['delete', null],
      ],
    ])
    expect(await told(editor)).toEqual([
      ['create', 'draft'],
      ...statuses.map((status) => ['update', status]),
      ['delete', null],
    ])
    const stranger = await server.key({ tenant: 'other' })
    expect((await server.call('GET', `/changes?after=${start}`, { key: stranger })).body.data).toEqual([])
  })

  test('is a batch of CloudEvents, where it is asked for', async () => {
    const start = tokenOf(await server.call('GET', '/tags'))
    const tag = await newTag()
    const page = await server.call('GET', `/changes?after=${start}&format=cloudevents`)
    expect(page.headers.get('content-type')).toBe('application/cloudevents-batch+json')
    const [event] = page.body
    expect([event.specversion, event.type, event.subject, event.data.record]).toEqual([
      ...['1.0', 'perigee.tags.create', `tags/${tag.body.id}`, tag.body],
    ])
    expect([typeof event.id, event.source, Number.isNaN(Date.parse(event.time))]).toEqual(['string', '/changes', false])
  })

  test('waits for the first change, if it is asked to, and answers at once when there is one', async () => {
    const start = tokenOf(await server.call('GET', '/tags'))
    const waiting = server.call('GET', `/changes?after=${start}&resource=tags&wait=${limits.feedWaitSecondsMax}`)
    await newPost('published')
    const tag = await newTag()
    expect((await waiting).body.data.map((each: { id: string }) => each.id)).toEqual([tag.body.id])
    expect((await server.call('GET', `/changes?after=${tokenOf(tag)}&wait=0`)).body.data).toEqual([])
  })

  test.each([
    ['after=1', 400, 'invalid-consistency-token', 'after'],
    ['resource=tag', 400, 'invalid-parameter', 'resource'],
    ['id=019a3f00-0000-7000-8000-000000000001', 400, 'invalid-parameter', 'id'],
    ['resource=tags&id=1', 422, 'invalid-value', 'id'],
    ['fields=name', 400, 'invalid-parameter', 'fields'],
    ['resource=tags&fields=nam', 422, 'unknown-field', 'fields'],
    ['limit=501', 400, 'invalid-parameter', 'limit'],
    ['wait=26', 400, 'invalid-parameter', 'wait'],
    ['format=xml', 400, 'invalid-parameter', 'format'],
    ['since=1', 422, 'unknown-parameter', 'since'],
    ['limit=1&limit=2', 400, 'invalid-parameter', 'limit'],
  ])('?%s is refused with %d %s', async (query, status, code, parameter) => {
    const answer = await server.call('GET', `/changes?${query}`)
    expect([answer.status, answer.body.type, answer.body.errors[0].parameter]).toEqual([
      ...[status, `/problems/${code}`, parameter],
    ])
  })
})

describe('a stream of changes', () => {
  test('tells each change once, with its position, and goes on from there when it was cut off', async () => {
    const start = tokenOf(await server.call('GET', '/tags'))
    const before = await newTag()
    const stream = await follow(`${server.url}/changes?after=${start}&resource=tags`)
    expect((await stream.next()).data.record).toEqual(before.body)
    const live = await newTag()
    const event = await stream.next()
    expect([event.event, event.data.record, event.id]).toEqual(['change', live.body, event.data.position])
    stream.close()
    const missed = await newTag()
    const again = await follow(`${server.url}/changes?resource=tags`, { 'Last-Event-ID': event.id })
    expect((await again.next()).data.record).toEqual(missed.body)
    again.close()
  })

  test('without a position tells what happens from now on', async () => {
    await newTag()
    const stream = await follow(`${server.url}/changes?resource=tags`)
    await stream.opened
    const tag = await newTag()
    expect((await stream.next()).data.record).toEqual(tag.body)
    stream.close()
  })

  test('begins with "reset" where it cannot go on from a position, for a browser to see', async () => {
    const stream = await follow(`${server.url}/changes`, { 'Last-Event-ID': 'zzz.1.aaaaaaaaaaaa' })
    const event = await stream.next()
    expect([event.event, event.data.type]).toEqual(['reset', '/problems/invalid-consistency-token'])
    await stream.ended
  })

  test('reaches many followers, in their versions, with what each may see', async () => {
    const urls = ['/changes', '/v1/changes', '/v2/changes?resource=posts']
    const streams = await Promise.all(
      Array.from({ length: 60 }, (_, n) =>
        follow(server.url + urls[n % 3], n % 2 ? { Authorization: `Bearer ${editor}` } : {}),
      ),
    )
    await Promise.all(streams.map((stream) => stream.opened))
    const { post, authorId } = await newPost('draft')
    await server.call('PATCH', `/posts/${post.body.id}`, { body: { status: 'published' } })
    for (const [n, stream] of streams.entries()) {
      const events = [await stream.next()]
      if (n % 3 < 2) {
        expect(events[0]?.data.id).toBe(authorId)
        events.push(await stream.next())
      }
      if (n % 2) {
        // The author's count of posts is a change, too.
        expect(events.at(-1)?.data.record?.status).toBe('draft')
      }
      stream.close()
    }
  })
})

describe('a log that was compacted', () => {
  test('keeps the last change of each record, refuses positions before what it lost, and serves the others', async () => {
    const own = await testServer()
    const tag = await own.call('POST', '/tags', { body: { name: 'first' } })
    const gone = await own.call('POST', '/tags', { body: { name: 'gone' } })
    await own.call('DELETE', `/tags/${gone.body.id}`)
    for (let n = 0; n < 5; n++) await own.call('PATCH', `/tags/${tag.body.id}`, { body: { name: `name ${n}` } })
    const late = await own.call('GET', '/tags')
    using database = new Database(own.databaseFile)
    const cutoff = new Date(Date.now() + 1_000).toISOString()
    for (let at: number | null = 0; at !== null; ) at = await compactLog(at, cutoff, own.node.reader, own.node.primary)
    const left = database
      .query("select id, operation, version from changes where resource = 'tags' order by seq")
      .values()
    expect(left).toEqual([
      [gone.body.id, 'delete', 2],
      [tag.body.id, 'update', 6],
    ])
    for (const after of [tokenOf(tag), 'start']) {
      const refused = await own.call('GET', `/changes?after=${after}`)
      expect([refused.status, refused.body.type]).toEqual([410, '/problems/must-refetch'])
    }
    const stream = await follow(`${own.url}/changes`, { 'Last-Event-ID': tokenOf(tag) })
    expect((await stream.next()).event).toBe('reset')
    expect((await own.call('GET', `/changes?after=${tokenOf(late)}`)).status).toBe(200)
    const again = await own.call('PUT', `/tags/${gone.body.id}`, { body: { name: 'back' } })
    expect([again.status, again.body.version]).toEqual([201, 3])
    await own.stop()
  })
})
