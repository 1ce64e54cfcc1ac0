import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { attacks, crossings } from '../support/poison.ts'
import type { Answer, CallOptions } from '../support/server.ts'
import { type SharedEdge, type SharedWorld, sharedWorld } from '../support/shared-world.ts'
import { hasRedis } from '../support/upstash.ts'

setDefaultTimeout(60_000)

describe.skipIf(!hasRedis)('what nodes share', () => {
  let world: SharedWorld
  let edge: SharedEdge
  let other: SharedEdge
  let user: string
  let post: string
  beforeAll(async () => {
    world = await sharedWorld(2)
    ;[edge, other] = world.edges as [SharedEdge, SharedEdge]
    user = (await world.primary.call('POST', '/users', { body: { handle: 'ada', name: 'Ada' } })).body.id
    const body = { authorId: user, slug: 'first', title: 'First', status: 'published' }
    post = (await world.primary.call('POST', '/posts', { body })).body.id
  })
  afterAll(async () => {
    for (const each of world.edges) expect(each.faults).toEqual([])
    await world.stop()
  })
  beforeEach(async () => {
    world.redis.mood = 'sound'
    world.redis.before = () => undefined
    await world.redis.send('FLUSHALL')
  })

  type Node = Pick<SharedEdge, 'call'>
  const status = (answer: Answer) => answer.headers.get('cache-status') ?? ''
  const read = (node: Node, path: string, options: CallOptions = {}) =>
    node.call('GET', path, { key: null, ...options })
  /** Reads until the answer is one that was kept, and answers that. */
  async function warm(node: Node, path: string, options: CallOptions = {}): Promise<Answer> {
    for (;;) {
      const answer = await read(node, path, options)
      if (answer.status !== 200 || status(answer).includes('hit')) return answer
      await edge.shared.settled()
    }
  }
  const rename = (node: Node, title: string) => node.call('PATCH', `/posts/${post}`, { body: { title } })
  const keys = async () => ((await world.redis.send('KEYS', 'perigee:*:answer:*')) as string[]).length

  test('is read once and then answered from there, at every node, with its position and its groups', async () => {
    const path = `/posts/${post}?include=author`
    const first = await read(edge, path)
    expect(status(first)).toMatch(/^Perigee-test; fwd=miss; stored, Perigee-edge; fwd=miss; stored$/)
    expect(first.headers.get('cache-groups')).toBe('"posts", "users"')
    await warm(edge, path)
    const again = await read(other, path)
    expect(status(again)).toMatch(/^Perigee-edge; hit; ttl=\d+$/)
    expect(Number(again.headers.get('age'))).toBeLessThanOrEqual(60)
    expect([again.status, again.text]).toEqual([200, first.text])
    for (const name of [
      'etag',
      'api-version',
      'content-type',
      'cache-control',
      'vary',
      'cache-groups',
      'x-content-type-options',
    ])
      expect([name, again.headers.get(name)]).toEqual([name, first.headers.get(name)])
    const kept = await read(other, path, { headers: { 'If-None-Match': first.headers.get('etag') ?? '' } })
    expect([kept.status, kept.text, kept.headers.get('content-type')]).toEqual([304, '', null])
    expect(status(await read(other, path, { headers: { Consistency: 'strong' } }))).toContain(
      'Perigee-edge; fwd=bypass',
    )
  })

  test('shares a query whatever the order of its parameters, and nothing between queries, versions or paths', async () => {
    const path = '/posts?limit=5&sort=-createdAt&fields=title'
    await warm(edge, path)
    expect(status(await read(other, '/posts?fields=title&sort=%2DcreatedAt&&limit=5'))).toContain('hit')
    for (const different of [
      '/posts?limit=5&sort=createdAt&fields=title',
      '/posts?limit=5',
      '/v1/posts?limit=5&sort=-createdAt&fields=title',
    ])
      expect([different, status(await read(other, different))]).toEqual([different, expect.not.stringContaining('hit')])
    const version = { 'API-Version': '2026-03-01' }
    expect(status(await read(other, path, { headers: version }))).not.toContain('hit')
  })

  test('is not older than a write that came through the same node, nor than a token', async () => {
    const path = `/posts/${post}`
    for (const node of [world.primary, edge]) {
      await warm(node, path)
      const title = Bun.randomUUIDv7()
      const written = await rename(node, title)
      const [mine, there] = await Promise.all([
        read(node, path),
        read(other, path, { headers: { 'Consistency-Token': written.headers.get('consistency-token') ?? '' } }),
      ])
      expect([mine.body.title, there.body.title]).toEqual([title, title])
    }
  })

  test('is stale by what has happened as soon as that is told, whatever is written', async () => {
    const [list, one, included] = ['/posts?fields=title', `/posts/${post}`, `/users/${user}?include=posts`]
    for (const path of [list, one, included]) await warm(other, path)
    const title = Bun.randomUUIDv7()
    const answer = await rename(world.primary, title)
    expect(answer.headers.get('cache-group-invalidation')?.split(', ')).toContain('"posts"')
    expect(answer.headers.get('cache-group-invalidation')?.split(', ')).toContain(`"posts/${post}"`)
    const seq = Number(answer.headers.get('consistency-token')?.split('.')[1])
    const told = async () => {
      const [to] = await Promise.all([world.redis.send('HGET', `perigee:{${world.primary.node.epoch}}:news`, 'to')])
      return Number(to)
    }
    while ((await told()) < seq);
    // `bounded` by less than the age of the fill: only what is proven is young enough.
    for (const path of [list, one, included]) {
      const fresh = await read(other, path, { headers: { Consistency: 'bounded; max-staleness=0' } })
      expect(fresh.text).toContain(title)
    }
  })

  test('is asked before the primary by an edge whose copy is too old for what is asked, and not by one whose copy does', async () => {
    const path = `/posts/${post}`
    await warm(other, path)
    const asked = async (headers: Record<string, string> = {}) => status(await read(edge, path, { headers }))
    edge.replica.catchUp()
    edge.replica.claim({ ageMs: 0 })
    expect(await asked()).toMatch(/^Perigee-edge; (fwd=miss|hit)$/)
    edge.replica.claim({ ageMs: 100_000 })
    expect(await asked()).toMatch(/^Perigee-edge; hit; ttl=/)
    expect(await asked({ Consistency: 'bounded; max-staleness=60' })).toMatch(/^Perigee-edge; hit; ttl=/)
    expect(await asked({ Consistency: 'eventual' })).toMatch(/^Perigee-edge; (fwd=miss|hit)$/)
    edge.replica.claim({ position: null, unready: 'There is no copy.' })
  })

  test('never takes a fill that was held up for a newer one', async () => {
    const path = `/posts/${post}`
    const held = Promise.withResolvers<void>()
    const isHeld = Promise.withResolvers<void>()
    // The entry is in what fills it, and in nothing that only looks for it.
    const old = (await read(world.primary, path, { headers: { Consistency: 'strong' } })).body.title
    world.redis.before = async (commands) => {
      if (!commands.some((each) => each.some((arg) => String(arg).includes(`\\"title\\":\\"${old}\\"`)))) return
      isHeld.resolve()
      await held.promise
    }
    await read(world.primary, path)
    await isHeld.promise
    const title = Bun.randomUUIDv7()
    const written = await rename(world.primary, title)
    expect(
      (await warm(edge, path, { headers: { 'Consistency-Token': written.headers.get('consistency-token') ?? '' } }))
        .body.title,
    ).toBe(title)
    held.resolve()
    await world.redis.send('PING')
    for (let i = 0; i < 10; i++) {
      const answer = await read(other, path, { headers: { Consistency: 'eventual' } })
      expect(answer.body.title).toBe(title)
    }
  })

  test('reads once where many ask for the same at once', async () => {
    const counts = () =>
      Promise.all(['joined', 'miss'].map((result) => world.metric(`perigee_shared_reads_total{result="${result}"}`)))
    const [joined = 0, missed = 0] = await counts()
    const answers = await Promise.all(Array.from({ length: 30 }, () => read(world.primary, '/users?limit=3')))
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    const [joinedNow = 0, missedNow = 0] = await counts()
    expect(answers.filter((each) => status(each).includes('collapsed'))).toHaveLength(joinedNow - joined)
    expect(joinedNow).toBeGreaterThan(joined)
    expect(missedNow).toBe(missed + 1)
  })

  describe('with a poisoner about', () => {
    test.each(attacks)('%s leaves the answer of the next caller as it is', async (_, suffix, headers) => {
      const path = `/posts?limit=2&fields=title`
      const wanted = await read(world.primary, path, { headers: { Consistency: 'strong' } })
      for (const node of [world.primary, edge]) {
        await world.redis.send('FLUSHALL')
        const attack = await read(node, path + suffix, { headers })
        if (attack.status >= 400) expect(attack.headers.get('cache-control')).toBe('no-store')
        await edge.shared.settled()
        for (const victim of [node, other]) {
          const answer = await read(victim, path)
          expect([answer.status, answer.text]).toEqual([200, wanted.text])
          for (const name of ['etag', 'link', 'content-type', 'cache-control', 'vary'])
            expect([name, answer.headers.get(name)]).toEqual([name, wanted.headers.get(name)])
        }
      }
    })

    test('no refusal is kept, and one of another is no answer for the next', async () => {
      for (const path of ['/posts?limit=0', '/posts?ghost=1', '/posts/none', '/ghosts', `/posts/${user}`]) {
        for (const node of [world.primary, edge, world.primary, edge])
          expect((await read(node, path)).status).toBeGreaterThanOrEqual(400)
      }
      await edge.shared.settled()
      expect(await keys()).toBe(0)
    })
  })

  test('nothing that is private goes in, and nothing that went in comes out to a key', async () => {
    const keyOf = await Promise.all(['demo', 'acme', 'acme'].map((tenant) => world.primary.key({ tenant })))
    const draft = { authorId: user, slug: 'draft', title: 'Nobody else', status: 'draft' }
    await world.primary.call('POST', '/posts', { body: draft, key: keyOf[0] ?? null })
    const paths = ['/posts?fields=title', '/users', `/posts/${post}`, '/posts?fields=title&limit=1']
    const nodes = { warm: world.edges, read: [...world.edges, world.primary], truth: world.primary }
    expect(await crossings({ nodes, paths, keys: [null, ...keyOf] })).toEqual([])
    expect(await keys()).toBeLessThanOrEqual(paths.length)
    expect(`${await world.redis.send('KEYS', '*')}`).not.toContain('Nobody else')
    for (const key of (await world.redis.send('KEYS', 'perigee:*:answer:*')) as string[])
      expect(`${await world.redis.send('HGET', key, 'value')}`).not.toContain('Nobody else')
  }, 300_000)
})
