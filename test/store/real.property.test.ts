import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { roundedReal, toStored } from '../../src/schema/field.ts'
import { openLibsqlReader } from '../../src/store/libsql-reader.ts'
import type { Reader } from '../../src/store/reader.ts'
import { startSqld, type TestSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

let sqld: TestSqld
let remote: Reader
let local: Database
beforeAll(async () => {
  sqld = await startSqld()
  remote = openLibsqlReader({ url: sqld.url, token: sqld.token })
  local = new Database(':memory:')
})
afterAll(async () => {
  remote.close()
  local.close()
  await sqld.remove()
})

const sql = "select json_group_array(json_object('n', value)) from json_each(?1)"
const numbersIn = (text: unknown) => (JSON.parse(String(text)) as { n: number }[]).map(({ n }) => n)

test('a real number that was written is in the log what it is in its row, whichever SQLite writes it as text', async () => {
  const real = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.float({ noNaN: true, noDefaultInfinity: true }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(real, { minLength: 1, maxLength: 200 }), async (numbers) => {
      // JSON has no number below zero that is zero.
      const kept = numbers.map((each) => (toStored({ kind: 'real' }, each) as number) + 0)
      const args = [JSON.stringify(kept)]
      const [[there] = [null]] = await remote.rows(sql, args)
      expect(numbersIn(there)).toEqual(kept)
      expect(numbersIn(local.query<[string], string[]>(sql).values(...args)[0]?.[0])).toEqual(kept)
      expect(kept.map(roundedReal)).toEqual(kept)
    }),
    { numRuns: 30 },
  )
})

test('has 15 significant digits', () => {
  expect([0.1 + 0.2, 123_456_789 + 1 / 81, 1e21, -2 / 3].map(roundedReal)).toEqual([
    0.3, 123_456_789.012346, 1e21, -0.666666666666667,
  ])
})
