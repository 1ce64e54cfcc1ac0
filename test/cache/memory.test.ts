import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { LastChanges } from '../../src/cache/last-changes.ts'
import { MemoryCache } from '../../src/cache/memory.ts'

const entry = <T>(value: T, bytes: number, seq = 1) => ({ value, bytes, seq, depends: [] })

/** Sets twice: what is set once is not kept yet. */
function keep<T>(cache: MemoryCache<T>, key: string, value: T, bytes: number, seq = 1) {
  cache.set(key, entry(value, bytes, seq))
  cache.set(key, entry(value, bytes, seq))
}

describe('what a node keeps in memory', () => {
  test('holds what is set twice, and never takes an older one for it', () => {
    const cache = new MemoryCache<string>(1_000)
    cache.set('a', entry('one', 10, 5))
    expect(cache.get('a')).toBeUndefined()
    cache.set('a', entry('one', 10, 5))
    expect(cache.get('a')?.value).toBe('one')
    cache.set('a', entry('late', 10, 4))
    expect(cache.get('a')?.value).toBe('one')
    cache.set('a', entry('new', 10, 6))
    expect(cache.get('a')?.value).toBe('new')
  })

  test('keeps what is in use while other entries come and go, and nothing larger than half of its bytes', () => {
    const cache = new MemoryCache<number>(1_000)
    keep(cache, 'hot', 1, 100)
    for (let i = 0; i < 1_000; i++) {
      keep(cache, `cold ${i}`, i, 100)
      expect(cache.get('hot')?.value).toBe(1)
    }
    expect(cache.get('cold 0')).toBeUndefined()
    keep(cache, 'large', 1, 501)
    expect(cache.get('large')).toBeUndefined()
  })

  test('never holds more than its bytes, and never answers another than the newest that was kept', () => {
    const step = fc.record({
      key: fc.nat(20),
      bytes: fc.integer({ min: 1, max: 400 }),
      isGet: fc.boolean(),
      seq: fc.nat(5),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const cache = new MemoryCache<number>(1_000)
        const newest = new Map<number, { n: number; seq: number }>()
        for (const [n, { key, bytes, isGet, seq }] of steps.entries()) {
          const found = cache.get(`${key}`)
          if (found) expect(found.value).toBe(newest.get(key)!.n)
          else newest.delete(key)
          if (isGet) continue
          keep(cache, `${key}`, n, bytes, seq)
          if ((newest.get(key)?.seq ?? 0) <= seq) newest.set(key, { n, seq })
        }
        const held = [...newest.keys()].map((key) => cache.get(`${key}`)?.bytes ?? 0)
        expect(held.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(1_500)
      }),
    )
  })
})

describe('what is known of the last changes', () => {
  test('is enough to tell of every entry whether it is still true, and never calls a stale one true', () => {
    const change = fc.record({ name: fc.nat(5), forgets: fc.boolean() })
    const made = fc.record({ at: fc.nat(40), depends: fc.uniqueArray(fc.nat(5), { maxLength: 3 }) })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), made, (changes, { at, depends }) => {
        const known = new LastChanges()
        let lastForgotten = -1
        for (const [i, { name, forgets }] of changes.entries()) {
          if (forgets) known.forget(i + 1)
          else known.learn(`${name}`, i + 1)
          if (forgets) lastForgotten = i + 1
        }
        const isTrue = changes.every(({ name }, i) => i + 1 <= at || !depends.includes(name))
        const told = known.areBefore({ ...entry(0, 1, at), depends: depends.map(String) })
        // What was forgotten may have been anything.
        expect(told && at < lastForgotten).toBe(false)
        if (at >= lastForgotten)
          expect(told).toBe(changes.every(({ name, forgets }, i) => forgets || i + 1 <= at || !depends.includes(name)))
        if (told && lastForgotten < 0) expect(isTrue).toBe(true)
      }),
    )
  })
})
