import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { model } from '../../src/model/index.ts'
import { problemCodes } from '../../src/problem.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { type TestApp, testApp } from '../support/app.ts'

setDefaultTimeout(60_000)

let app: TestApp
let keys: (string | null)[]
const ids = Array.from({ length: 5 }, () => Bun.randomUUIDv7())
beforeAll(async () => {
  app = await testApp()
  const full = await app.key()
  const editor = await app.key({ scopes: ['read', 'write', 'editor'], subject: ids[1]! })
  keys = [
    full,
    full,
    full,
    await app.key({ subject: ids[0]! }),
    editor,
    await app.key({ scopes: ['read'] }),
    'pgk_none',
    null,
  ]
})
afterAll(() => app.stop())

const names = [
  ...new Set([...model.resources.values()].flatMap((each) => [...each.fields.keys()])),
  'tenant',
  'nothing',
]
const relations = ['author', 'comments', 'tags', 'posts', 'post', 'tag', 'uses', 'nothing']
const operators = ['', 'eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'contains', 'prefix', 'null', 'nothing']
const id = fc.constantFrom(...ids)
const name = fc.constantFrom(...names)

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.constantFrom('', ',', 'true', 'null', '0', '-1', '1.5', '1e5', '9'.repeat(30), '2026-01-01', '2026-02-30T00:00Z'),
  fc.constantFrom('9999-12-31T23:59:59-23:59', 'published', 'a,b', "'", '"', '%', '\\', '\u{1f600}', '*', '"1"'),
  id,
)
const include = fc
  .tuple(
    fc.array(fc.constantFrom(...relations), { minLength: 1, maxLength: 4 }),
    fc.constantFrom(
      '',
      '(limit:1)',
      '(limit:3,sort:-id)',
      '(fields:id|name)',
      '(',
      '()',
      '(limit:)',
      '(x:1)',
      '(sort:-createdAt)',
    ),
  )
  .map(([path, options]) => path.join('.') + options)
const parameter = fc.oneof(
  fc
    .tuple(name, fc.constantFrom(...operators), text)
    .map(([field, operator, value]) => `${field}${operator && `[${operator}]`}=${encodeURIComponent(value)}`),
  fc
    .tuple(fc.constantFrom('sort=', 'sort=-', 'fields='), fc.array(name, { maxLength: 4 }))
    .map(([kind, list]) => kind + list.join()),
  fc.array(include, { maxLength: 3 }).map((list) => `include=${list.join()}`),
  fc
    .tuple(fc.constantFrom('limit', 'count', 'after', 'before', 'fields', 'sort', 'include'), text)
    .map(([kind, value]) => `${kind}=${encodeURIComponent(value)}`),
  fc.constantFrom('limit=1', 'count=exact'),
)
const query = fc.array(parameter, { maxLength: 3 }).map((list) => (list.length === 0 ? '' : `?${list.join('&')}`))

const few = fc.nat(40)
const bodies: Record<string, fc.Arbitrary<Record<string, unknown>>> = {
  users: fc.record({ handle: few.map((i) => `h${i}`), name: few.map((i) => `N${i}`) }),
  posts: fc.record({
    authorId: id,
    slug: few.map((i) => `s${i}`),
    title: text,
    words: fc.constantFrom(0, 7, Number.MAX_SAFE_INTEGER, -1, 1.5),
    meta: fc.constantFrom(null, {}, { a: { b: [1] } }, { a: null }, []),
  }),
  comments: fc.record({ postId: id, authorId: id, body: text }),
  tags: fc.record({ name: text }),
  postTags: fc.record({ postId: id, tagId: id }),
}
const resource = fc.constantFrom(...Object.keys(bodies))
const written = resource.chain((to) =>
  fc.tuple(fc.constant(to), fc.oneof({ weight: 8, arbitrary: bodies[to]! }, fc.dictionary(name, fc.jsonValue()))),
)
const command = fc
  .tuple(
    fc.constantFrom('create', 'replace', 'patch', 'delete', 'nothing'),
    written,
    fc.oneof(id, fc.constant({ $ref: 'a' }), fc.jsonValue()),
    fc.constantFrom(undefined, 0, 1, '1'),
    fc.constantFrom(undefined, 'a', ''),
  )
  .map(([kind, [to, body], target, ifVersion, as]) => ({
    do: kind,
    resource: to,
    ifVersion,
    as,
    body: kind === 'delete' ? undefined : body,
    ...(kind === 'create' ? {} : { id: target }),
  }))
const place = fc.constantFrom('', '/v3')
const request = fc.oneof(
  fc.tuple(
    fc.constantFrom('GET', 'HEAD'),
    fc.tuple(place, resource, query).map(([at, to, asked]) => `${at}/${to}${asked}`),
    fc.constant(''),
  ),
  fc.tuple(
    fc.constantFrom('GET', 'HEAD'),
    fc
      .tuple(place, resource, id, fc.constantFrom('', '/history'), query)
      .map(([at, to, one, tail, asked]) => `${at}/${to}/${one}${tail}${asked}`),
    fc.constant(''),
  ),
  written.map(([to, body]) => ['POST', `/${to}`, JSON.stringify(body)] as const),
  fc
    .tuple(fc.constantFrom('PUT', 'PATCH', 'DELETE'), written, id)
    .map(([method, [to, body], one]) => [method, `/${to}/${one}`, JSON.stringify(body)] as const),
  fc.array(command, { maxLength: 4 }).map((commands) => ['POST', '/batch', JSON.stringify({ commands })] as const),
  fc.tuple(
    fc.constantFrom('POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'GET'),
    fc.oneof(
      text.map((each) => `/${encodeURIComponent(each)}`),
      fc.constantFrom('/', '/docs', '/metrics', '/livez', '/problems/x', '/batch'),
    ),
    fc.oneof(fc.json(), fc.string()),
  ),
)
const headers = fc.dictionary(
  fc.constantFrom(
    'If-Match',
    'If-None-Match',
    'Consistency',
    'Consistency-Token',
    'Idempotency-Key',
    'API-Version',
    'Origin',
    'X-Request-Id',
    'Content-Encoding',
  ),
  fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(
      '*',
      '"1"',
      'W/"2"',
      '"1","2"',
      'strong',
      'eventual',
      'bounded;max-staleness=5',
      '2026-11-01',
      'key',
    ),
  ),
  { maxKeys: 1 },
)

test('whatever is asked: never 500, every refusal a problem of the catalogue, and a database without complaint', async () => {
  const seen = new Set<number>()
  const property = fc.asyncProperty(request, headers, fc.nat(100), async ([method, path, body], extra, who) => {
    const key = keys[who % keys.length]
    const hasBody = method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS'
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
    const asked = new Request(`http://localhost${path}`, {
      method,
      headers: { Host: 'localhost', 'Content-Type': type, ...(key && { Authorization: `Bearer ${key}` }), ...extra },
      ...(hasBody && { body }),
    })
    const answer = await app.app.fetch(asked)
    const answered = await answer.text()
    seen.add(answer.status)
    expect(answer.status).toBeLessThan(500)
    if (answer.status === 204 || answer.status === 304) return expect(answered).toBe('')
    if (answer.status < 400) return
    expect([answer.headers.get('content-type'), answer.headers.get('cache-control')]).toEqual([
      'application/problem+json',
      'no-store',
    ])
    const problem = JSON.parse(answered)
    expect(problemCodes).toContain(problem.type.slice('/problems/'.length))
    expect(problem.status).toBe(answer.status)
    expect(answered.length).toBeLessThan(60_000)
  })
  await fc.assert(property, { numRuns: 6_000 })
  expect(app.faults).toEqual([])
  expect([...seen]).toEqual(expect.arrayContaining([200, 201, 204, 400, 401, 403, 404, 405, 409, 412, 422]))
  expect(complaintsAbout(app.databaseFile, model)).toEqual([])
})
