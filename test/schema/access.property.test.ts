import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type Predicate, predicateFields, predicateHolds, predicateSql } from '../../src/schema/access.ts'

const fields = ['a', 'b'] as const
const field = fc.constantFrom(...fields)
const value = fc.constantFrom('x', 'X', '', 1, 0)

const { predicate } = fc.letrec<{ predicate: Predicate }>((tie) => ({
  predicate: fc.oneof(
    { depthSize: 'small' },
    fc.record({ kind: fc.constantFrom('always', 'never') }),
    fc.record({ kind: fc.constant('equals'), field, value }),
    fc.record({ kind: fc.constant('subject'), field }),
    fc.record({
      kind: fc.constantFrom('or', 'and'),
      parts: fc.array(tie('predicate'), { minLength: 1, maxLength: 3 }),
    }),
  ),
}))

test('a predicate holds for a record in memory where it holds for the row', () => {
  using database = new Database(':memory:')
  const stored = fc.oneof(value, fc.constant(null))
  fc.assert(
    fc.property(predicate, fc.record({ a: stored, b: stored }), fc.constantFrom('x', 'y'), (tested, row, subject) => {
      const sql = predicateSql(
        tested,
        (name) => `t.${name}`,
        () => '?3',
      )
      const found = database.query(`select ${sql} from (select ?1 as a, ?2 as b, ?3) t`).values(row.a, row.b, subject)
      const holds = predicateHolds(tested, (name) => row[name as 'a' | 'b'], subject)
      expect(holds).toBe(found[0]?.[0] === 1)
      for (const name of predicateFields(tested)) expect(sql).toContain(`t.${name}`)
    }),
    { numRuns: 1_000 },
  )
})
