import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Answer } from '../support/server.ts'
import { type SharedEdge, type SharedWorld, sharedWorld } from '../support/shared-world.ts'
import { hasRedis } from '../support/upstash.ts'

setDefaultTimeout(60_000)

describe.skipIf(!hasRedis)('while Redis', () => {
  let world: SharedWorld
  let edge: SharedEdge
  let id: string
  beforeAll(async () => {
    world = await sharedWorld(1)
    edge = world.edges[0] as SharedEdge
    id = (await world.primary.call('POST', '/tags', { body: { name: 'first' } })).body.id
  })
  afterAll(async () => {
    expect(edge.faults).toEqual([])
    await world.stop()
  })
  afterEach(() => {
    world.redis.mood = 'sound'
  })

  const calls = (result: string) => world.metric(`perigee_redis_calls_total{result="${result}"}`)

  /** Writes through one node and reads at both, as callers do: by token at the other, by nothing at the same. */
  async function workOn(times: number) {
    for (let i = 0; i < times; i++) {
      const [writer, reader] = i % 2 === 0 ? [world.primary, edge] : [edge, world.primary]
      const name = Bun.randomUUIDv7()
      const written = await writer.call('PATCH', `/tags/${id}`, { body: { name } })
      expect(written.status).toBe(200)
      const token = { 'Consistency-Token': written.headers.get('consistency-token') ?? '' }
      const answers: Answer[] = [
        ...(await Promise.all([`/tags/${id}`, '/tags'].map((path) => writer.call('GET', path, { key: null })))),
        ...(await Promise.all(
          [`/tags/${id}`, '/tags'].map((path) => reader.call('GET', path, { key: null, headers: token })),
        )),
        await reader.call('GET', `/tags/${id}`, { key: null, headers: { Consistency: 'strong' } }),
      ]
      for (const answer of answers) {
        expect(answer.status).toBe(200)
        expect(answer.text).toContain(name)
      }
    }
  }

  /** Reads until an answer is one that was kept. */
  async function untilHit() {
    for (const node of [world.primary, edge]) {
      for (;;) {
        const { status, headers } = await node.call('GET', `/tags/${id}`, { key: null })
        expect(status).toBe(200)
        if (headers.get('cache-status')?.includes('hit')) break
        await Bun.sleep(20)
      }
    }
  }

  test('is down, every answer is right, it is soon not asked any more, and is used again when it is back', async () => {
    await untilHit()
    await world.redis.kill()
    await workOn(6)
    expect(await calls('failed')).toBeGreaterThan(0)
    expect(await calls('skipped')).toBeGreaterThan(0)
    await world.redis.restart()
    await untilHit()
    await workOn(2)
  })

  test('hangs', async () => {
    await untilHit()
    world.redis.signal('SIGSTOP')
    const before = world.redis.requests
    await workOn(6)
    // Of some 60 calls the first few are made, and then one now and then.
    expect(world.redis.requests - before).toBeLessThan(30)
    world.redis.signal('SIGCONT')
    await untilHit()
    await workOn(2)
  })

  test('takes two seconds', async () => {
    world.redis.mood = { slowMs: 2_000 }
    await workOn(6)
    world.redis.mood = 'sound'
    await untilHit()
  })

  test.each([
    ['a text', 200, 'hello'],
    ['nothing', 200, ''],
    ['a number', 200, '{"result":7}'],
    ['a list of nothing', 200, '[]'],
    ['what is none of it', 200, '[{"result":["MQ==","MQ==","MQ==","eA==","e30="]}]'],
    [
      'an entry that is none',
      200,
      '[{"result":[1795651050000,"OTk5OTk5","MTc5NTY1MTA1MDAwMA==","eA==","eyJib2R5IjoiZXZpbCIsImhlYWRlcnMiOnt9fQ=="]}]',
    ],
    ['a page of a proxy', 502, '<html>Bad Gateway</html>'],
    ['that the token is wrong', 401, '{"error":"WRONGPASS"}'],
  ])('answers %s', async (_, status, text) => {
    world.redis.mood = { status, text }
    await workOn(3)
    world.redis.mood = 'sound'
    await untilHit()
  })

  test('is flushed again and again', async () => {
    for (let i = 0; i < 5; i++) {
      await world.redis.send('FLUSHALL')
      await workOn(2)
    }
    await untilHit()
  })

  test('has entries of another kind under the names of ours', async () => {
    for (const key of (await world.redis.send('KEYS', 'perigee:*')) as string[]) {
      await world.redis.send('DEL', key)
      await world.redis.send('SET', key, 'none of yours')
    }
    await workOn(3)
    await world.redis.send('FLUSHALL')
    await untilHit()
  })

  test('evicts', async () => {
    const used = /used_memory:(\d+)/.exec(`${await world.redis.send('INFO', 'memory')}`)?.[1]
    await world.redis.send('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random')
    await world.redis.send('CONFIG', 'SET', 'maxmemory', `${Number(used) + 60_000}`)
    for (let limit = 1; limit <= 100; limit++) {
      const fills = ['sort=name', 'sort=-name', 'fields=name'].map((each) => `/tags?limit=${limit}&${each}`)
      const answers = await Promise.all(fills.map((path) => edge.call('GET', path, { key: null })))
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    }
    await edge.shared.settled()
    await workOn(6)
    expect(`${await world.redis.send('INFO', 'stats')}`).toMatch(/evicted_keys:[1-9]/)
    await world.redis.send('CONFIG', 'SET', 'maxmemory', '0')
  })

  test('was away, nobody has been told its token', async () => {
    const { text } = await world.primary.call('GET', '/metrics')
    expect(text).not.toContain(world.redis.token)
    expect(text).toMatch(/perigee_redis_up [01]/)
  })
})
