import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Metrics } from '../../src/http/metrics.ts'

const requests = fc.array(
  fc.record({
    method: fc.constantFrom('GET', 'POST'),
    route: fc.constantFrom('/posts', '/posts/:id'),
    status: fc.constantFrom(200, 304, 404),
    // Whole microseconds, of which bounds of the histogram are some.
    micros: fc.oneof(fc.constantFrom(0, 500, 1_000, 2_500_000, 2_500_001), fc.nat(3_000_000)),
    version: fc.constantFrom('2025-01-01', '2026-11-01'),
    key: fc.constantFrom('anonymous', 'a', 'b'),
  }),
  { maxLength: 60 },
)

const kept = { hits: 0, misses: 0 }

function numbersOf(metrics: Metrics): ReadonlyMap<string, number> {
  const lines = metrics.render({ seq: null, primary: null, kept, more: [] }).split('\n')
  return new Map(
    lines.flatMap((line) => {
      const [, name = '', value] = /^(perigee_(?:http|version)_.*) (\S+)$/.exec(line) ?? []
      return value === undefined ? [] : [[name, Number(value)] as const]
    }),
  )
}

test('Each kind of request is counted by itself, in whatever order they come, and each bound counts what is within it', () => {
  fc.assert(
    fc.property(requests, (all) => {
      const metrics = new Metrics(() => 0)
      for (const { method, route, status, micros, version, key } of all) {
        metrics.record(method, route, status, micros / 1_000)
        metrics.countVersion(version, key)
      }
      const numbers = numbersOf(metrics)
      let lines = 0
      for (const [kind, same] of Map.groupBy(
        all,
        ({ method, route, status }) => `method="${method}",route="${route}",status="${status}"`,
      )) {
        const ofKind = [...numbers].filter(([name]) => name.includes(`{${kind}`))
        for (const [name, value] of ofKind) {
          const bound = Number(/le="([^"]+)"/.exec(name)?.[1]?.replace('+Inf', 'Infinity'))
          if (name.includes('_bucket')) expect(value).toBe(same.filter(({ micros }) => micros / 1e6 <= bound).length)
          if (name.includes('_count')) expect(value).toBe(same.length)
          if (name.includes('_sum')) expect(value).toBeCloseTo(same.reduce((sum, { micros }) => sum + micros / 1e6, 0))
        }
        expect(ofKind.length).toBe(15)
        lines += ofKind.length
      }
      const byVersion = Map.groupBy(all, ({ version, key }) => `version="${version}",key="${key}"`)
      for (const [labels, same] of byVersion)
        expect(numbers.get(`perigee_version_requests_total{${labels}}`)).toBe(same.length)
      expect(numbers.size).toBe(lines + byVersion.size)
    }),
  )
})
