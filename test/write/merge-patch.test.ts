import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import fc from 'fast-check'
import { roundedReal } from '../../src/schema/field.ts'
import { anyone, buildModel, identity, instant, resource, version } from '../../src/schema/index.ts'
import { modelServer } from '../support/database.ts'
import type { TestServer } from '../support/server.ts'
import { anyText } from '../support/texts.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const papers = sqliteTable(
  'papers',
  {
    ...identity,
    doc: text({ mode: 'json' }),
    title: text().notNull().default('untitled'),
    note: text(),
    rank: integer(),
    score: real(),
    isOpen: integer({ mode: 'boolean' }),
    dueAt: instant(),
    kind: text({ enum: ['a', 'b'] }),
  },
  (t) => [primaryKey({ columns: [t.tenant, t.id] })],
)
const Papers = resource('papers', papers, { description: 'Free.', access: { read: anyone, write: anyone } })
const model = buildModel({
  title: 'Papers',
  resources: [Papers],
  versions: [version('2026-11-01', { alias: 'v1', notes: 'The only version.' })],
})

let server: TestServer
beforeAll(async () => {
  server = await modelServer({ model, tables: [papers] })
})
afterAll(() => server.stop())

let papersMade = 0
const newPath = () => `/papers/0190a000-0000-7000-8000-${(papersMade++).toString(16).padStart(12, '0')}`

/** The `doc` after a record with the one was patched with the other. */
async function patched(original: unknown, patch: unknown): Promise<unknown> {
  const path = newPath()
  expect((await server.call('PUT', path, { body: { doc: original } })).status).toBe(201)
  const answer = await server.call('PATCH', path, { body: { doc: patch } })
  expect([answer.status, answer.headers.get('etag')]).toEqual([200, '"2-v1"'])
  expect((await server.call('GET', path)).text).toBe(answer.text)
  return answer.body.doc
}

/** RFC 7396 section 2. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const merged = new Map(isObject(target) ? Object.entries(target) : [])
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name)
    else merged.set(name, mergePatch(merged.get(name), value))
  }
  return Object.fromEntries(merged)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A JSON text of the value whose members stand in the order of their names. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (!isObject(value)) return JSON.stringify(value)
  const names = Object.keys(value).sort()
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`
}

describe('a merge patch of a JSON field', () => {
  test.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', '{}'],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"a":"b"}', '["c"]', '["c"]'],
    ['{"a":"foo"}', 'null', 'null'],
    ['{"a":"foo"}', '"bar"', '"bar"'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
    ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ])('of RFC 7396, appendix A: %s with %s is %s', async (original, patch, result) => {
    const found = await patched(JSON.parse(original), JSON.parse(patch))
    expect(canonical(found)).toBe(canonical(JSON.parse(result)))
  })

  test('of RFC 7396, section 3, is what the section says', async () => {
    const original = {
      title: 'Goodbye!',
      author: { givenName: 'John', familyName: 'Doe' },
      tags: ['example', 'sample'],
      content: 'This will be unchanged',
    }
    const patch = { title: 'Hello!', phoneNumber: '+01-123-456-7890', author: { familyName: null }, tags: ['example'] }
    expect(await patched(original, patch)).toEqual({
      title: 'Hello!',
      author: { givenName: 'John' },
      tags: ['example'],
      content: 'This will be unchanged',
      phoneNumber: '+01-123-456-7890',
    })
  })

  const names = fc.oneof(fc.constantFrom('a', 'b', 'A', '', '"', '\\', 'a.b', '$', '__proto__', 'constructor'), anyText)
  const { document } = fc.letrec<{ document: unknown }>((tie) => ({
    document: fc.oneof(
      { maxDepth: 4, depthSize: 'small' },
      fc.oneof(
        fc.constantFrom(null, null, true, false, 0, 1e21, -0.5, 1e-7),
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map(roundedReal),
        anyText,
      ),
      fc.array(tie('document'), { maxLength: 3 }),
      { weight: 3, arbitrary: fc.dictionary(names, tie('document'), { maxKeys: 5 }) },
    ),
  }))

  test('equals the algorithm of RFC 7396 for any two documents', async () => {
    const property = fc.asyncProperty(document, document, async (original, patch) => {
      // As JSON carries them: without minus zero.
      const sent = JSON.parse(JSON.stringify([original, patch]))
      expect(canonical(await patched(sent[0], sent[1]))).toBe(canonical(mergePatch(sent[0], sent[1])))
    })
    await fc.assert(property, { numRuns: 600, interruptAfterTimeLimit: 15_000 })
  })

  test('equals the algorithm of RFC 7396 for any patches one after another', async () => {
    const property = fc.asyncProperty(fc.array(document, { minLength: 2, maxLength: 8 }), async (documents) => {
      const [first, ...patches] = JSON.parse(JSON.stringify(documents))
      const path = newPath()
      await server.call('PUT', path, { body: { doc: first } })
      let expected = first
      for (const patch of patches) {
        expected = mergePatch(expected, patch)
        const answer = await server.call('PATCH', path, { body: { doc: patch } })
        expect([answer.status, canonical(answer.body.doc)]).toEqual([200, canonical(expected)])
      }
    })
    await fc.assert(property, { numRuns: 60, interruptAfterTimeLimit: 15_000 })
  })
})

describe('a merge patch of a record', () => {
  const fields = {
    doc: fc.constantFrom<unknown>({ a: 1 }, { a: null }, [], 'x', null),
    title: anyText,
    note: fc.option(anyText),
    rank: fc.option(fc.maxSafeInteger()),
    score: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }).map(roundedReal)),
    isOpen: fc.option(fc.boolean()),
    dueAt: fc.option(fc.constantFrom('2026-01-01T00:00:00.000Z', '2026-12-31T23:59:59.999Z')),
    kind: fc.option(fc.constantFrom('a', 'b')),
  }

  test('changes what it names and nothing else, and null takes a value away', async () => {
    const record = fc.record(fields)
    const patch = fc.record(fields, { requiredKeys: [] })
    const property = fc.asyncProperty(record, patch, async (original, change) => {
      const [before, patch] = JSON.parse(JSON.stringify([original, change]))
      const path = newPath()
      const made = (await server.call('PUT', path, { body: before })).body
      expect(made).toMatchObject(before)
      const after = await server.call('PATCH', path, { body: patch })
      const doc = 'doc' in patch ? mergePatch(before.doc, patch.doc) : before.doc
      const expected = { ...made, ...patch, doc, version: 2, updatedAt: after.body.updatedAt }
      expect([after.status, after.body]).toEqual([200, expected])
      expect(after.body.updatedAt >= made.updatedAt).toBe(true)
    })
    await fc.assert(property, { numRuns: 300, interruptAfterTimeLimit: 15_000 })
  })

  test('of nothing is a new version of the same', async () => {
    const path = newPath()
    const made = (await server.call('PUT', path, { body: { note: 'x' } })).body
    const after = await server.call('PATCH', path, { body: {} })
    expect([after.status, after.body]).toEqual([200, { ...made, version: 2, updatedAt: after.body.updatedAt }])
  })

  test.each([
    ['takes a value away that must be there', { title: null }, 422, '/title'],
    ['names a field that is not there', { titel: 'x' }, 422, '/titel'],
    ['names a field that Perigee keeps', { version: 7 }, 422, '/version'],
    ['names the tenant', { tenant: 'other' }, 422, '/tenant'],
    ['has a value of another kind', { rank: '1' }, 422, '/rank'],
    ['has a fraction for a whole number', { rank: 1.5 }, 422, '/rank'],
    ['has a day that does not exist', { dueAt: '2026-02-30' }, 422, '/dueAt'],
    ['has a day that does not exist, with a time', { dueAt: '2026-02-30T12:00:00Z' }, 422, '/dueAt'],
    ['has a day that does not exist, elsewhere', { dueAt: '2025-02-29T23:00:00-05:00' }, 422, '/dueAt'],
    ['has an hour that does not exist', { dueAt: '2026-01-01T24:00:00Z' }, 422, '/dueAt'],
    ['has a word that is none of the choices', { kind: 'c' }, 422, '/kind'],
    ['has the name of a prototype', JSON.parse('{"__proto__":{"title":"x"}}'), 422, '/__proto__'],
    ['is no object', ['title'], 422, ''],
  ])('that %s changes nothing', async (_, patch, status, pointer) => {
    const path = newPath()
    const made = await server.call('PUT', path, { body: { note: 'x' } })
    const refused = await server.call('PATCH', path, { body: patch })
    expect([refused.status, refused.body.errors[0].pointer]).toEqual([status, pointer])
    expect((await server.call('GET', path)).text).toBe(made.text)
  })

  test('names every fault of the patch at once', async () => {
    const path = newPath()
    await server.call('PUT', path, { body: {} })
    const refused = await server.call('PATCH', path, { body: { title: 1, rank: 'x', ghost: true, id: 'x' } })
    const pointers = refused.body.errors.map((each: { pointer: string }) => each.pointer)
    expect(pointers.sort()).toEqual(['/ghost', '/id', '/rank', '/title'])
  })
})
