import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { MemoryCache } from '../../src/cache/memory.ts'

const entry = <T>(value: T, bytes: number, seq = 1) => ({ value, bytes, seq, at: 0, depends: [] })
const make = <T>() => new MemoryCache<T>(1_000, () => 0)
const find = <T>(cache: MemoryCache<T>, key: string) => cache.look(key).found?.entry

/** Twice: what comes once is not kept yet. */
function keep<T>(cache: MemoryCache<T>, key: string, value: T, bytes: number, seq = 1) {
  cache.keep(key, entry(value, bytes, seq))
  cache.keep(key, entry(value, bytes, seq))
}

describe('what a node keeps in memory', () => {
  test('holds what is set twice, and never takes an older one for it', () => {
    const cache = make<string>()
    cache.keep('a', entry('one', 10, 5))
    expect(find(cache, 'a')).toBeUndefined()
    cache.keep('a', entry('one', 10, 5))
    expect(find(cache, 'a')?.value).toBe('one')
    cache.keep('a', entry('late', 10, 4))
    expect(find(cache, 'a')?.value).toBe('one')
    cache.keep('a', entry('new', 10, 6))
    expect(find(cache, 'a')?.value).toBe('new')
  })

  test('keeps what is in use while other entries come and go, and nothing larger than half of its bytes', () => {
    const cache = make<number>()
    keep(cache, 'hot', 1, 100)
    for (let i = 0; i < 1_000; i++) {
      keep(cache, `cold ${i}`, i, 100)
      expect(find(cache, 'hot')?.value).toBe(1)
    }
    expect(find(cache, 'cold 0')).toBeUndefined()
    keep(cache, 'large', 1, 501)
    expect(find(cache, 'large')).toBeUndefined()
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
        const cache = make<number>()
        const newest = new Map<number, { n: number; seq: number }>()
        for (const [n, { key, bytes, isGet, seq }] of steps.entries()) {
          const found = find(cache, `${key}`)
          if (found) expect(found.value).toBe(newest.get(key)!.n)
          else newest.delete(key)
          if (isGet) continue
          keep(cache, `${key}`, n, bytes, seq)
          if ((newest.get(key)?.seq ?? 0) <= seq) newest.set(key, { n, seq })
        }
        const held = [...newest.keys()].map((key) => find(cache, `${key}`)?.bytes ?? 0)
        expect(held.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(1_500)
      }),
    )
  })
})
