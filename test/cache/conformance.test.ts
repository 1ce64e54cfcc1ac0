import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import type { Buckets, Quota } from '../../src/cache/buckets.ts'
import type { Cache, Entry, News } from '../../src/cache/cache.ts'
import { MemoryCache } from '../../src/cache/memory.ts'
import { MemoryBuckets } from '../../src/cache/memory-buckets.ts'
import { upstashBuckets } from '../../src/cache/upstash-buckets.ts'
import { UpstashLink } from '../../src/cache/upstash-link.ts'
import { upstashCaches } from '../../src/cache/upstash-redis.ts'
import { startKv, type TestKv } from '../support/kv.ts'
import { hasRedis, startRedis, type TestRedis } from '../support/upstash.ts'

setDefaultTimeout(30_000)

let redis: TestRedis
beforeAll(async () => {
  if (hasRedis) redis = await startRedis()
})
afterAll(() => redis?.remove())

const elapsed = () => performance.now()
const link = () => new UpstashLink({ url: redis.url, token: redis.token, answerMsMax: 5_000, elapsed })
let nth = 0

let kv: TestKv
beforeAll(async () => {
  kv = await startKv()
})
afterAll(() => kv.stop())

/** A driver that takes in news; what Workers KV has is never proven, and news take it out. */
interface Driver {
  readonly name: string
  readonly cache: () => Cache<string>
  readonly buckets: () => Buckets
}

const drivers: Driver[] = [
  { name: 'memory', cache: () => new MemoryCache(1_000_000, elapsed), buckets: () => new MemoryBuckets(elapsed) },
]
if (hasRedis)
  drivers.push({
    name: 'upstash-redis',
    cache: () => upstashCaches(link(), 60_000)(`epoch${nth++}`),
    buckets: () => upstashBuckets(link()),
  })

const entry = (value: string, seq: number, depends: string[] = [], at = 1): Entry<string> => ({
  ...{ value, bytes: 100, seq, at, depends },
})
const news = (from: number | null, to: number, changes: Record<string, number> = {}, at = 1): News => ({
  ...{ from, to, at, stamp: `stamp ${to}`, seqByName: new Map(Object.entries(changes)) },
})

/** Twice: a driver may wait whether an entry comes again before it keeps it. */
async function keepTwice(cache: Cache<string>, key: string, each: Entry<string>) {
  await cache.keep(key, each)
  await cache.keep(key, each)
}

const all = [...drivers, { name: 'workers-kv', cache: () => kv.cache() }]
describe.each(all)('any cache, in $name', ({ cache: open }) => {
  test('answers what it was given, as it was, and nothing under another key', async () => {
    const cache = open()
    const look = async (key: string) => (await cache.look(key)).found
    const value = '{"text":"ünïcode \\u0000 \n 🙂","n":1}'
    await keepTwice(cache, 'a', entry(value, 5, ['demo posts', 'demo posts/1']))
    expect((await look('a'))?.entry).toMatchObject({ value, seq: 5, at: 1, depends: ['demo posts', 'demo posts/1'] })
    expect(await look('b')).toBeNull()
    expect((await cache.look('b')).time).toBeLessThanOrEqual((await cache.look('b')).time)
  })

  test('never goes back to what was read before, in whichever order fills come', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(9), { minLength: 1, maxLength: 8 }), async (seqs) => {
        const cache = open()
        const key = `key ${nth++}`
        let before = -1
        for (const seq of seqs) {
          await keepTwice(cache, key, entry(`${seq}`, seq, ['x']))
          const { found } = await cache.look(key)
          expect([found?.entry.value, (found?.seq ?? 0) >= before]).toEqual([`${found?.seq}`, true])
          before = found?.seq ?? before
        }
        expect(before).toBe(Math.max(...seqs))
      }),
      { numRuns: 20 },
    )
  })
})

describe.each(drivers)('a cache in $name', ({ cache: open }) => {
  let cache: Cache<string>
  beforeEach(() => {
    cache = open()
  })
  const keep = (key: string, each: Entry<string>) => keepTwice(cache, key, each)
  const look = async (key: string) => (await cache.look(key)).found

  test('never takes an older entry for a newer one, in whichever order they come', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(9), { minLength: 1, maxLength: 8 }), async (seqs) => {
        const key = `key ${nth++}`
        await Promise.all(seqs.map((seq) => keep(key, entry(`${seq}`, seq))))
        expect((await look(key))?.entry.value).toBe(`${Math.max(...seqs)}`)
      }),
      { numRuns: 30 },
    )
  })

  test('takes nothing for proven before it has had news, nor what was read before them', async () => {
    await keep('a', entry('one', 5, ['x']))
    expect(await look('a')).toMatchObject({ isProven: false, seq: 5, stamp: null })
    await cache.learn(news(null, 7))
    expect(await look('a')).toMatchObject({ isProven: false, seq: 5 })
    await keep('a', entry('two', 7, ['x']))
    expect(await look('a')).toMatchObject({ isProven: true, seq: 7, stamp: null })
  })

  test('tells up to which position and time an entry is proven, until what it was made of changes', async () => {
    await cache.learn(news(null, 5))
    await keep('a', entry('one', 5, ['x', 'y'], 10))
    await cache.learn(news(5, 9, { z: 8 }, 20))
    expect(await look('a')).toMatchObject({ isProven: true, seq: 9, at: 20, stamp: 'stamp 9' })
    await cache.learn(news(9, 11, { y: 10 }, 30))
    expect(await look('a')).toMatchObject({ isProven: false, seq: 5, at: 10, stamp: null })
    await keep('a', entry('two', 10, ['x', 'y'], 25))
    expect(await look('a')).toMatchObject({ isProven: true, seq: 11, at: 30, entry: { value: 'two' } })
  })

  test('begins anew where news do not go on from where it stands', async () => {
    await cache.learn(news(null, 5))
    await keep('a', entry('one', 5, ['x']))
    await cache.learn(news(8, 9))
    expect(await look('a')).toMatchObject({ isProven: false })
    await keep('b', entry('two', 9, ['x']))
    await cache.learn(news(9, 12, { y: 12 }))
    expect(await look('b')).toMatchObject({ isProven: true, seq: 12 })
    expect(await look('a')).toMatchObject({ isProven: false })
  })

  test('is not led astray by news that come late or twice', async () => {
    const late = news(5, 7, { x: 7 }, 2)
    await cache.learn(news(null, 5))
    await keep('a', entry('one', 8, ['x']))
    await keep('b', entry('two', 6, ['x']))
    await cache.learn(news(5, 9, { x: 7, y: 9 }, 3))
    await cache.learn(late)
    expect(await look('a')).toMatchObject({ isProven: true, seq: 9, at: 3, stamp: 'stamp 9' })
    expect(await look('b')).toMatchObject({ isProven: false })
  })

  test('whatever happens in whichever order, what it calls proven has not been overtaken', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('change' as const), name: fc.nat(2) }),
      fc.record({ kind: fc.constant('publish' as const), anew: fc.integer({ min: 0, max: 5 }) }),
      fc.record({ kind: fc.constant('republish' as const) }),
      fc.record({
        kind: fc.constant('fill' as const),
        key: fc.nat(1),
        late: fc.nat(3),
        depends: fc.subarray([0, 1, 2]),
      }),
      fc.record({ kind: fc.constant('look' as const), key: fc.nat(1) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        cache = open()
        const changes: string[] = ['']
        const told: News[] = []
        for (const each of steps) {
          const head = changes.length - 1
          if (each.kind === 'change') changes.push(`${each.name}`)
          else if (each.kind === 'fill') {
            const seq = Math.max(0, head - each.late)
            await keep(`${each.key}`, entry(`${seq}`, seq, each.depends.map(String)))
          } else if (each.kind === 'look') {
            const found = await look(`${each.key}`)
            if (!found?.isProven) continue
            const since = changes.slice(found.entry.seq + 1, found.seq + 1)
            expect(since.filter((name) => found.entry.depends.includes(name))).toEqual([])
          } else {
            const last = told.at(-1)
            const from = each.kind === 'publish' && (each.anew === 0 || !last) ? null : (last?.to ?? null)
            const again = each.kind === 'republish' ? told[Math.floor(told.length / 2)] : undefined
            const seqByName = new Map(changes.map((name, seq) => [name, seq] as const).slice((from ?? head) + 1))
            const next = again ?? {
              from,
              to: head,
              at: head,
              stamp: '',
              seqByName: from === null ? new Map() : seqByName,
            }
            if (!again) told.push(next)
            await cache.learn(next)
          }
        }
      }),
      { numRuns: 40 },
    )
  })
})

describe.each(drivers)('buckets in $name', ({ buckets: open }) => {
  const quota: Quota = { tokens: 10, windowMs: 3_600_000 }

  test('hold as many tokens as they say, however many ask at once', async () => {
    const buckets = open()
    const name = `bucket ${nth++}`
    const grants = await Promise.all(Array.from({ length: 30 }, () => buckets.take(name, quota, 1)))
    expect(grants.filter(({ taken }) => taken === 1)).toHaveLength(10)
    expect(Math.min(...grants.map(({ left }) => left))).toBe(0)
    const refused = await buckets.take(name, quota, 1)
    expect(refused).toMatchObject({ taken: 0, left: 0 })
    expect(refused.waitMs).toBeGreaterThan(300_000)
    expect(refused.waitMs).toBeLessThanOrEqual(360_000)
    expect(refused.fullMs).toBeGreaterThan(3_500_000)
    expect((await buckets.take(`bucket ${nth++}`, quota, 1)).taken).toBe(1)
  })

  test('give as many as there are where more are wanted', async () => {
    const buckets = open()
    const name = `bucket ${nth++}`
    expect(await buckets.take(name, quota, 4)).toMatchObject({ taken: 4, left: 6, waitMs: 0 })
    expect(await buckets.take(name, quota, 50)).toMatchObject({ taken: 6, left: 0 })
  })

  test('fill again, evenly', async () => {
    const buckets = open()
    const name = `bucket ${nth++}`
    const fast: Quota = { tokens: 10, windowMs: 200 }
    const { waitMs } = await (async () => {
      for (;;) {
        const grant = await buckets.take(name, fast, 10)
        if (grant.taken < 10) return grant
      }
    })()
    expect(waitMs).toBeLessThanOrEqual(20)
    const refilled = async () => (await buckets.take(name, fast, 1)).taken === 1
    while (!(await refilled()));
  })
})
