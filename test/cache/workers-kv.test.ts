import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import type { Entry } from '../../src/cache/cache.ts'
import { workersKvCache } from '../../src/cache/workers-kv.ts'
import { keeperOf, startKv, type TestKv } from '../support/kv.ts'

setDefaultTimeout(30_000)

let store: TestKv
beforeAll(async () => {
  store = await startKv()
})
afterAll(() => store.stop())
beforeEach(() => store.clear())

const entry = (value: string, seq: number, depends: string[] = ['x'], at = 1): Entry<string> => ({
  ...{ value, bytes: 100, seq, at, depends },
})

/** A log of names, and a clock that goes on by two seconds whenever it is looked at. */
function world() {
  const changes: string[] = ['']
  let time = 1_000_000
  return {
    changes,
    head: () => changes.length - 1,
    options: {
      now: () => (time += 2_000),
      lastChange: (name: string) => changes.lastIndexOf(name),
      changedAfter: (seq: number, most: number) => {
        const names = changes.slice(seq + 1, seq + 1 + most)
        return { names: [...new Set(names)], to: seq + names.length }
      },
    },
  }
}

test('keeps an answer from the second time on that it is asked for', async () => {
  const keeper = keeperOf(store.kv)
  await keeper.keep('a', entry('one', 0))
  expect(await store.entries()).toEqual(new Map())
  await keeper.keep('a', entry('one', 0))
  expect([...(await store.entries()).keys()]).toEqual(['a'])
})

test('takes nothing that has changed since it was read', async () => {
  const { changes, options } = world()
  const keeper = keeperOf(store.kv, options)
  changes.push('y', 'x')
  for (let i = 0; i < 3; i++) {
    await keeper.keep('a', entry('old', 1))
    await keeper.keep('b', entry('new', 2))
    await keeper.keep('c', entry('of another', 1, ['y']))
  }
  expect([...(await store.entries()).keys()].sort()).toEqual(['b', 'c'])
})

test('takes out what was made of what has changed, and nothing else, also after it was opened again', async () => {
  const { changes, head, options } = world()
  const database = new Database(':memory:')
  const open = (history = 'epoch') => keeperOf(store.kv, { ...options, history }, { database, position: head() })
  let keeper = open()
  for (const [key, names] of Object.entries({ a: ['x'], b: ['x', 'y'], c: ['z'] }))
    for (let i = 0; i < 2; i++) await keeper.keep(key, entry(key, head(), names))
  changes.push('y')
  await keeper.forget(head())
  expect([...(await store.entries()).keys()]).toEqual(['a', 'c'])
  changes.push('x')
  keeper = open()
  await keeper.forget(head())
  expect([...(await store.entries()).keys()]).toEqual(['c'])
  changes.push('z')
  await open('of another').forget(head())
  // What another history kept is under names of its own, which nobody asks for.
  expect([...(await store.entries()).keys()]).toEqual(['c'])
})

test('a fill that is held up is taken out by what happened meanwhile', async () => {
  const { changes, head, options } = world()
  const held = Promise.withResolvers<void>()
  const isHeld = Promise.withResolvers<void>()
  const kv = {
    ...store.kv,
    async put(...args: Parameters<typeof store.kv.put>) {
      isHeld.resolve()
      await held.promise
      await store.kv.put(...args)
    },
  }
  const keeper = keeperOf(kv, options)
  await keeper.keep('a', entry('old', head()))
  const filling = keeper.keep('a', entry('old', head()))
  await isHeld.promise
  changes.push('x')
  const forgetting = keeper.forget(head())
  await keeper.keep('a', entry('new', head()))
  held.resolve()
  await Promise.all([filling, forgetting])
  expect(await store.entries()).toEqual(new Map())
})

test('whatever happens in whichever order, what is there after the news was not overtaken by them', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('change' as const), name: fc.nat(2) }),
    fc.record({ kind: fc.constant('forget' as const) }),
    fc.record({ kind: fc.constant('reopen' as const) }),
    fc.record({ kind: fc.constant('fill' as const), key: fc.nat(2), late: fc.nat(2), depends: fc.subarray([0, 1, 2]) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      await store.clear()
      const { changes, head, options } = world()
      const database = new Database(':memory:')
      const open = () => keeperOf(store.kv, options, { database })
      let keeper = open()
      const underWay: Promise<void>[] = []
      for (const each of steps) {
        if (each.kind === 'change') changes.push(`${each.name}`)
        else if (each.kind === 'forget') underWay.push(keeper.forget(head()))
        else if (each.kind === 'reopen') {
          await Promise.all(underWay)
          keeper = open()
        } else {
          const filled = entry('', Math.max(0, head() - each.late), each.depends.map(String))
          underWay.push(keeper.keep(`${each.key}`, filled), keeper.keep(`${each.key}`, filled))
        }
      }
      await Promise.all(underWay)
      await keeper.forget(head())
      for (const text of (await store.entries()).values()) {
        const { seq, depends } = JSON.parse(text) as { seq: number; depends: string[] }
        expect(changes.slice(seq + 1).filter((name) => depends.includes(name))).toEqual([])
      }
    }),
    { numRuns: 40 },
  )
})

test('reads nothing out of what it did not write, and knows no time that is still to come', async () => {
  const cache = workersKvCache({ kv: store.kv, prefix: '', keep: async () => undefined, now: () => 5_000 })
  for (const text of [
    '',
    'none',
    '{}',
    '[]',
    'null',
    '{"value":1,"seq":1,"at":1,"depends":[]}',
    '{"value":"a","seq":1.5,"at":1,"depends":[]}',
  ]) {
    await store.kv.put('a', text, { expirationTtl: 60 })
    expect([text, (await cache.look('a')).found]).toEqual([text, null])
  }
  await store.kv.put('a', '{"value":"a","seq":1,"at":9000,"depends":[]}', { expirationTtl: 60 })
  expect((await cache.look('a')).found?.at).toBe(0)
})

test('waits for KV no longer than it is of use, and passes on that it is away', async () => {
  const never = { get: () => new Promise<never>(() => undefined) }
  const away = { get: () => Promise.reject(new Error('away')) }
  for (const kv of [never, away]) {
    const cache = workersKvCache({ kv, prefix: '', keep: async () => undefined, now: Date.now })
    expect(await Promise.resolve(cache.look('a')).catch(() => 'away')).toBe('away')
  }
})
