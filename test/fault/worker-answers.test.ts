import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { limits } from '../../src/schema/limits.ts'
import { attacks, crossings } from '../support/poison.ts'
import { databaseIn } from '../support/primary.ts'
import { type Replicated, replicated, type TestEdgeNode, until } from '../support/replicated.ts'
import type { Answer, CallOptions } from '../support/server.ts'
import { bundle } from '../support/worker.ts'
import { type WorkerEdge, workerEdge } from '../support/worker-edge.ts'
import { tenantsAreApart } from './tenancy.ts'

setDefaultTimeout(60_000)

const publicTenant = { PUBLIC_TENANT: 'demo' }

describe('what a Worker keeps in KV', () => {
  let world: Replicated
  let worker: WorkerEdge
  let bun: TestEdgeNode
  let post: string
  beforeAll(async () => {
    await bundle()
    world = await replicated()
    await world.stopPrimary()
    await world.startPrimary(publicTenant)
    ;[worker, bun] = await Promise.all([workerEdge(world, publicTenant), world.edge(publicTenant)])
    const author = (await world.call('POST', '/users', { body: { handle: 'ada', name: 'Ada' } })).body.id
    for (const [slug, title, status] of [
      ['first', 'First', 'published'],
      ['second', 'Second', 'published'],
      ['draft', 'Nobody else', 'draft'],
    ])
      post = (await worker.call('POST', '/posts', { body: { authorId: author, slug, title, status } })).body.id
    await Promise.all([worker.ready(), bun.ready()])
  })
  afterAll(async () => {
    await worker.stop()
    expect(worker.complaints()).toBe('')
    await world.stop()
  })

  const read = (path: string, options: CallOptions = {}) => worker.call('GET', path, { key: null, ...options })
  const isHit = ({ headers }: Answer) => /Perigee-edge-kv; hit/.test(headers.get('cache-status') ?? '')
  /** Reads until KV answers. */
  async function warm(path: string): Promise<Answer> {
    let answer = await read(path)
    const isKept = async () => {
      if (!isHit(answer)) answer = await read(path)
      return isHit(answer)
    }
    await until(isKept, () => `KV never answers ${path}: ${answer.headers.get('cache-status')}`)
    return answer
  }

  test.each(attacks)('rows 21 and 22: %s leaves the answer of the next caller as it is', async (_, suffix, headers) => {
    const path = '/posts?limit=2&fields=title'
    const wanted = await world.call('GET', path, { key: null })
    for (let round = 0; round < 2; round++) {
      const attack = await read(path + suffix, { headers })
      if (attack.status >= 400) expect(attack.headers.get('cache-control')).toBe('no-store')
      for (const answer of [await read(path), await warm(path)]) {
        expect([answer.status, answer.text]).toEqual([200, wanted.text])
        for (const name of ['etag', 'link', 'content-type', 'cache-control', 'vary'])
          expect([name, answer.headers.get(name)]).toEqual([name, wanted.headers.get(name)])
      }
    }
  })

  test('row 22: no refusal is kept, nor an answer to a GET with a body', async () => {
    const before = [...(await worker.kvNames())].sort()
    for (let round = 0; round < 3; round++)
      for (const path of ['/posts?limit=0', '/posts?ghost=1', '/posts/none', '/ghosts', `/tags/${post}`])
        expect((await read(path)).status).toBeGreaterThanOrEqual(400)
    expect([...(await worker.kvNames())].sort()).toEqual(before)
  })

  test('row 23: nothing that is private goes in, and nothing that went in comes out to a key', async () => {
    const keys = await Promise.all(['demo', 'acme', 'acme'].map((tenant) => world.owner.key({ tenant })))
    for (const node of [worker, bun])
      for (const key of keys)
        await until(
          async () => (await node.call('GET', '/tags', { key })).status === 200,
          () => 'a key is not taken',
        )
    const paths = ['/posts?fields=title', '/users', `/posts/${post}`, '/posts?fields=title&limit=1']
    const nodes = { warm: [worker, bun], read: [worker, worker, bun, world], truth: world }
    expect(await crossings({ nodes, paths, keys: [null, ...keys] })).toEqual([])
    for (const [name, value] of await worker.kvEntries()) expect([name, value]).not.toContain('Nobody else')
    expect((await read('/posts')).text).not.toContain('Nobody else')
  }, 300_000)
})

tenantsAreApart({
  name: 'a Worker edge',
  operations: 'reads',
  async start() {
    await bundle()
    const world = await replicated()
    const worker = await workerEdge(world, publicTenant)
    await worker.ready()
    let token: string | null = null
    const call = async (method: string, path: string, options: CallOptions = {}) => {
      const headers = token === null ? options.headers : { 'Consistency-Token': token, ...options.headers }
      const answer = await worker.call(method, path, { ...options, ...(headers && { headers }) })
      if (answer.status < 300 && method !== 'GET') token = answer.headers.get('consistency-token') ?? token
      return answer
    }
    return {
      call,
      async key(options) {
        const key = await world.owner.key(options)
        await until(
          async () => (await worker.call('GET', '/tags', { key })).status === 200,
          () => 'a key is not taken',
        )
        return key
      },
      databaseFile: databaseIn(world.sqld.folder),
      async stop() {
        await worker.stop()
        await world.stop()
      },
    }
  },
})

describe('row 45: the limits of workerd', () => {
  let world: Replicated
  let worker: WorkerEdge
  beforeAll(async () => {
    await bundle()
    world = await replicated()
    worker = await workerEdge(world)
    await worker.ready()
  })
  afterAll(async () => {
    await worker.stop()
    expect(worker.complaints()).toBe('')
    await world.stop()
  })

  const many = (n: number, each: (i: number) => string, by = ',') =>
    Array.from({ length: n }, (_, i) => each(i)).join(by)
  const id = () => Bun.randomUUIDv7()
  const inMax = limits.inValuesMax
  const filters = (n: number) => many(n, (i) => `slug[ne]=s${i}`, '&')
  test.each([
    ['as many values as a filter takes', `/posts?id[in]=${many(inMax, id)}`, 200],
    ['one value more', `/posts?id[in]=${many(inMax + 1, id)}`, 422],
    ['two filters of as many values', `/posts?id[in]=${many(inMax, id)}&slug[in]=${many(inMax, (i) => `s${i}`)}`, 200],
    ['as many filters as a query takes', `/posts?${filters(limits.filterTermsMax)}`, 200],
    ['one filter more', `/posts?${filters(limits.filterTermsMax + 1)}`, 422],
    [
      'includes three deep',
      '/posts?include=author.posts.comments,comments.author.posts,tags.posts.author&limit=1',
      200,
    ],
    ['a page of as many records as there may be', '/posts?limit=100&include=author,comments,tags', 200],
    ['one record more', '/posts?limit=101', 400],
    ['a URL that is too long', `/posts?slug[in]=${'x'.repeat(limits.urlCharsMax)}`, 414],
  ])('a read with %s is answered by the copy, or refused before it meets them', async (_, path, status) => {
    const here = await worker.call('GET', path)
    const there = await world.call('GET', path)
    expect([here.status, here.body.data, here.body.type]).toEqual([status, there.body.data, there.body.type])
    if (status === 200) expect(here.headers.has('replica-age')).toBe(true)
  })

  test('a record with more in it than a value may have is refused in words, and less of it is answered', async () => {
    const author = (await world.call('POST', '/users', { body: { handle: id(), name: 'Much' } })).body.id
    const post = (i: number) => ({ authorId: author, slug: `much-${i}`, title: 'Much', body: 'x'.repeat(60_000) })
    let made: Answer | undefined
    for (let i = 0; i < 40; i++) made = await worker.call('POST', '/posts', { body: post(i) })
    const headers = { 'Consistency-Token': made?.headers.get('consistency-token') ?? '' }
    const ask = (limit: number) => worker.call('GET', `/users/${author}?include=posts(limit:${limit})`, { headers })
    const refused = await ask(40)
    expect([refused.status, refused.body.type]).toEqual([422, '/problems/filter-too-complex'])
    const less = await ask(20)
    expect([less.status, less.body.posts?.length, less.headers.has('replica-age')]).toEqual([200, 20, true])
  })

  const commands = (n: number) =>
    Array.from({ length: n }, () => ({ do: 'create', resource: 'tags', body: { name: id() } }))
  test.each([
    ['as many commands as it takes', () => JSON.stringify({ commands: commands(limits.batchCommandsMax) }), 200],
    ['one command more', () => JSON.stringify({ commands: commands(limits.batchCommandsMax + 1) }), 422],
    ['more bytes than a body has', () => `{"commands":[${' '.repeat(limits.bodyBytesMax)}]}`, 413],
    ['as many bytes as a body may have', () => `{"commands":[${' '.repeat(limits.bodyBytesMax - 20)}]}`, 422],
  ])('a batch with %s is done or refused as by the primary', async (_, text, status) => {
    const send = (url: string) =>
      fetch(`${url}/batch`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${world.key}`, 'Content-Type': 'application/json' },
        body: text(),
      })
    const [here, there] = [await send(worker.url), await send(world.origin)]
    expect([here.status, there.status]).toEqual([status, status])
    const typeOf = async (response: Response) => ((await response.json()) as { type?: string }).type
    expect(await typeOf(here)).toBe(await typeOf(there))
  })

  test('bodies that are more than there is memory for are refused, and others are answered meanwhile', async () => {
    const body = 'x'.repeat(8 * limits.bodyBytesMax)
    // Whoever still sends when it is refused may find the connection closed, and no answer.
    const send = () =>
      fetch(`${worker.url}/tags`, { method: 'POST', headers: { Authorization: `Bearer ${world.key}` }, body }).then(
        ({ status }) => status,
        () => 'closed',
      )
    const flood = Promise.all(Array.from({ length: 40 }, send))
    const reads = await Promise.all(Array.from({ length: 20 }, () => worker.call('GET', '/tags?limit=1')))
    expect(new Set(reads.map(({ status }) => status))).toEqual(new Set([200]))
    const statuses = new Set(await flood)
    statuses.delete('closed')
    expect(statuses.size).toBeGreaterThan(0)
    for (const status of statuses) expect([413, 415, 503] as unknown[]).toContain(status)
  })
})
