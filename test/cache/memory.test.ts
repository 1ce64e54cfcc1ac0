import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { MemoryCache } from '../../src/cache/memory.ts'

/** Sets twice: what is set once is not kept yet. */
function keep<T>(cache: MemoryCache<T>, key: string, value: T, bytes: number, generation: number) {
  cache.set(key, value, bytes, generation)
  cache.set(key, value, bytes, generation)
}

describe('what a node keeps in memory', () => {
  test('holds what is set twice, is emptied by another generation, and late values of an older one are dropped', () => {
    const cache = new MemoryCache<string>(1_000)
    expect(cache.get('a', 1)).toBeUndefined()
    cache.set('a', 'one', 10, 1)
    expect(cache.get('a', 1)).toBeUndefined()
    cache.set('a', 'one', 10, 1)
    expect(cache.get('a', 1)).toBe('one')
    expect(cache.get('a', 2)).toBeUndefined()
    keep(cache, 'a', 'late', 10, 1)
    expect(cache.get('a', 2)).toBeUndefined()
  })

  test('keeps what is in use while other entries come and go, and nothing larger than half of its bytes', () => {
    const cache = new MemoryCache<number>(1_000)
    cache.get('hot', 1)
    keep(cache, 'hot', 1, 100, 1)
    for (let i = 0; i < 1_000; i++) {
      keep(cache, `cold ${i}`, i, 100, 1)
      expect(cache.get('hot', 1)).toBe(1)
    }
    expect(cache.get('cold 0', 1)).toBeUndefined()
    keep(cache, 'large', 1, 501, 1)
    expect(cache.get('large', 1)).toBeUndefined()
  })

  test('never holds more than its bytes, and never answers what was not set last', () => {
    const step = fc.record({
      key: fc.nat(20),
      bytes: fc.integer({ min: 1, max: 400 }),
      isGet: fc.boolean(),
      generation: fc.nat(2),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const cache = new MemoryCache<{ n: number; bytes: number }>(1_000)
        const last = new Map<number, number>()
        let generation = 0
        for (const [n, each] of steps.entries()) {
          if (each.generation > generation) {
            generation = each.generation
            last.clear()
          }
          const found = cache.get(`${each.key}`, generation)
          if (found) expect(found.n).toBe(last.get(each.key) as number)
          if (each.isGet) continue
          keep(cache, `${each.key}`, { n, bytes: each.bytes }, each.bytes, generation)
          last.set(each.key, n)
        }
        const held = [...last.keys()].map((key) => cache.get(`${key}`, generation)?.bytes ?? 0)
        expect(held.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(1_500)
      }),
    )
  })
})
