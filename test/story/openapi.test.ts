import { afterAll, beforeAll, describe, expect, setDefaultTimeout, spyOn, test } from 'bun:test'
import { dirname, join } from 'node:path'
import { SmartRouter } from 'hono/router/smart-router'
import { openApiDocument } from '../../src/http/openapi.ts'
import type { Epoch, Seq } from '../../src/log/position.ts'
import { model } from '../../src/model/index.ts'
import { problemCodes } from '../../src/problem.ts'
import { limits } from '../../src/schema/limits.ts'
import { buildViews } from '../../src/version/view.ts'
import { Contract, type Json } from '../support/contract.ts'
import { exceptionsFor, owaspExceptions, redocly, spectral } from '../support/lint.ts'
import { type Answer, type CallOptions, call, type TestServer, testServer } from '../support/server.ts'

/** The linters walk through the whole document several times. */
setDefaultTimeout(60_000)

const root = join(import.meta.dir, '../..')
const resources = [...model.resources.keys()]
const newest = model.versions.at(-1)
const origin = 'https://app.example.com'
/** An origin of webhooks where nobody listens. */
const hooks = 'http://127.0.0.1:9'

let server: TestServer
let contract: Contract
/** Every method and path that the app gave its router. */
let routed: (readonly [method: string, path: string])[]

beforeAll(async () => {
  const added = spyOn(SmartRouter.prototype, 'add')
  server = await testServer({ allowedOrigins: [origin], webhookOrigins: [hooks] })
  routed = added.mock.calls.map(([method, path]) => [method, path] as const)
  added.mockRestore()
  contract = new Contract((await server.call('GET', '/openapi.json')).body)
})
afterAll(() => server.stop())

/** A request whose answer must be as the document says; and the answer. */
async function ask(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const answer = await server.call(method, path, options)
  expect(contract.breaches(method, path, answer)).toEqual([])
  return answer
}

describe('the document', () => {
  test('is the newest version of the model, made once, and open to all', async () => {
    const [first, second] = await Promise.all([
      ask('GET', '/openapi.json', { key: null }),
      ask('GET', '/openapi.json', { headers: { Origin: origin } }),
    ])
    expect(first.text).toBe(second.text)
    expect(first.body.openapi).toBe('3.1.0')
    expect([first.body.info.title, first.body.info.version]).toEqual([model.title, newest?.date ?? ''])
    expect(first.body.tags.map((tag: Json) => tag.name)).toEqual([...resources, 'batch', 'changes', 'webhooks', 'node'])
  })

  test('keeps the OWASP rules but for the listed exceptions, each of which is needed', async () => {
    const found = await spectral(contract.document)
    expect(found.filter((each) => exceptionsFor(each).length === 0)).toEqual([])
    const needed = new Set(found.flatMap(exceptionsFor))
    expect(owaspExceptions.filter((each) => !needed.has(each))).toEqual([])
  })

  test('would be found wrong by both linters, were it so', async () => {
    const worse = structuredClone(contract.document)
    delete worse.paths['/livez'].get.summary
    delete worse.paths['/livez'].get.security
    worse.components.schemas.UsersInput.properties.name = { type: 'string' }
    expect((await redocly(worse)).map((problem) => problem.rule).sort()).toEqual([
      'operation-summary',
      'security-defined',
    ])
    expect((await spectral(worse)).map((problem) => problem.rule)).toContain('owasp:api4:2023-string-limit')
  })
})

describe('the routes', () => {
  /** Pages for people, which are no part of the API. */
  const pages = ['GET /', 'GET /docs', 'GET /docs/scalar.js', 'GET /changelog']

  test('of the app are those of the document, under every alias of a version', async () => {
    const paths = [...new Set(routed.map(([, path]) => path))]
    expect(paths.length).toBeGreaterThan(2 * 3 * resources.length)
    const answered = new Set<string>()
    for (const [method, path] of routed) {
      if (method === 'OPTIONS' || method === 'ALL') continue
      const url = path.replace(':id', exampleId(0)).replace(':code', 'not-found')
      const { status } = await call(server.url, method, url, { key: null })
      if (status !== 405) answered.add(`${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`)
    }
    const documented = contract.operations.map(({ method, path }) => `${method} ${path}`)
    // A path without an alias may be of any version; which, the header says.
    const ofVersions = model.versions.flatMap(({ alias }) => {
      const view = buildViews(model).get(alias)!
      const { operations } = new Contract(JSON.parse(openApiDocument(model, view)))
      return operations
        .filter(
          ({ path }) =>
            view.resources.has(path.split('/')[1]!) ||
            ['/batch', '/changes', '/openapi.json'].includes(path) ||
            path.startsWith('/webhooks'),
        )
        .flatMap(({ method, path }) => [`${method} ${path}`, `${method} /${alias}${path}`])
    })
    expect([...answered].sort()).toEqual([...new Set([...documented, ...ofVersions, ...pages])].sort())
  })

  test('are described each under its own operationId, with a summary and a tag', () => {
    const ids = contract.operations.map(({ value }) => value.operationId)
    expect(new Set(ids).size).toBe(contract.operations.length)
    expect(contract.operations.filter(({ value }) => !value.summary || value.tags?.length !== 1)).toEqual([])
  })
})

function exampleId(place: number): string {
  return contract.document.paths[`/${resources[place]}/{id}`].get.parameters.find((each: Json) => each.name === 'id')
    .example
}

test('an answer that breaks the document is seen to', async () => {
  const answer = await server.call('GET', '/livez')
  expect(contract.breaches('GET', '/livez', answer)).toEqual([])
  const untyped = [...answer.headers].filter(([name]) => name !== 'content-type')
  const changes: readonly Partial<Answer>[] = [
    { status: 418 },
    { body: { status: 'dead' } },
    { headers: new Headers([...answer.headers, ['X-Other', '1']]) },
    { headers: new Headers([...answer.headers, ['Cache-Control', 'no-store; now']]) },
    { headers: new Headers([...untyped, ['Content-Type', 'text/csv']]) },
  ]
  const seen = changes.map((change) => contract.breaches('GET', '/livez', { ...answer, ...change }).length)
  expect(seen).toEqual([1, 1, 1, 1, 1])
  expect(contract.breaches('GET', '/nowhere', answer)).toHaveLength(1)
})

test.each([
  ...['/livez', '/readyz', '/metrics', '/openapi.json', '/versions', '/changelog.json', '/problems/not-found'],
])('%s answers without a key, as documented', async (path) => {
  expect((await ask('GET', path, { key: null })).status).toBe(200)
})

/** Problems that only a fault of the machine, a server that stops, an edge, or the years can bring about. */
const unreached = [
  'version-sunset',
  ...['internal-error', 'not-ready', 'outcome-unknown', 'overloaded', 'storage-error', 'storage-full'],
  ...['primary-unreachable', 'loop-detected', 'rate-limited'],
]
/** Problems of requests for which there is no operation. */
const ofNoOperation = ['method-not-allowed']

function bodyExamples(method: string, path: string): Json[] {
  const content = contract.said(method, path).requestBody.content
  return Object.values<Json>(content).flatMap((type: Json) =>
    Object.values(type.examples).map((each: Json) => each.value),
  )
}

test('a webhook is made, read, changed, asked to deliver and deleted, and every answer is as documented', async () => {
  const key = await server.key({ scopes: ['read', 'write', 'webhooks'] })
  const [example] = bodyExamples('POST', '/webhooks')
  const body = { ...example, url: hooks }
  const { status, body: made } = await ask('POST', '/webhooks', { key, body })
  expect([status, made.resources]).toEqual([201, body.resources])
  const path = `/webhooks/${made.id}`
  for (const url of ['/webhooks', path]) expect((await ask('GET', url, { key })).status).toBe(200)
  for (const change of bodyExamples('PATCH', path))
    expect((await ask('PATCH', path, { key, body: change })).status).toBe(200)
  expect((await ask('POST', `${path}/rotate`, { key })).body.previousSecretUntil).toBeString()
  const [one, all] = bodyExamples('POST', `${path}/redeliver`)
  expect((await ask('POST', `${path}/redeliver`, { key, body: one })).status).toBe(404)
  expect((await ask('POST', `${path}/redeliver`, { key, body: all })).status).toBe(202)
  await ask('POST', '/users', { body: bodyExamples('POST', '/users')[0] })
  const deliveries = await ask('GET', `${path}/deliveries?limit=1`, { key })
  expect(deliveries.status).toBe(200)
  expect((await ask('GET', `${path}/deliveries?after=${'a'.repeat(40)}`, { key })).body.type).toContain('cursor')
  expect((await ask('DELETE', path, { key })).status).toBe(204)
})

describe('a refused request', () => {
  const reached = new Set<string>()
  const unknown = '019a3f00-0000-7000-8000-00000000dead'
  const token = (epoch: string, seq: number) => server.node.sealer.seal({ epoch: epoch as Epoch, seq: seq as Seq })
  const patch = { 'Content-Type': 'application/merge-patch+json' }
  let user: Json
  let readOnly: string
  let ofUser: string

  beforeAll(async () => {
    user = (await server.call('POST', '/users', { body: { handle: 'holder', name: 'Holder' } })).body
    await server.call('POST', '/posts', {
      body: { authorId: user.id, slug: 'held', title: 'Held', status: 'published' },
    })
    readOnly = await server.key({ scopes: ['read'] })
    ofUser = await server.key({ subject: unknown })
    const compacted = "insert into meta(name, value) values ('horizon', '1')"
    await server.node.primary.commit({ steps: [{ sql: compacted, args: [] }] })
  })

  type Refusal = readonly [code: string, status: number, method: string, path: string, options: () => CallOptions]
  const taken = { handle: 'holder', name: 'Other' }
  const refusals: readonly Refusal[] = [
    ['unauthorized', 401, 'GET', '/users', () => ({ key: 'pgk_wrong' })],
    ['unauthorized', 401, 'POST', '/users', () => ({ key: null, body: taken })],
    ['unauthorized', 401, 'GET', '/users/{user}/history', () => ({ key: 'pgk_wrong' })],
    ['unauthorized', 401, 'POST', '/batch', () => ({ key: null, body: { commands: [] } })],
    ['forbidden', 403, 'POST', '/users', () => ({ key: readOnly, body: taken })],
    ['forbidden', 403, 'PATCH', '/users/{user}', () => ({ key: ofUser, body: { name: 'Mine' } })],
    ['forbidden', 403, 'DELETE', '/users/{user}', () => ({ key: ofUser })],
    ['invalid-host', 400, 'GET', '/users', () => ({ headers: { Host: 'a b' } })],
    ['uri-too-long', 414, 'GET', '/users?fields={many}', () => ({})],
    ['unknown-version', 400, 'GET', '/users', () => ({ headers: { 'API-Version': '2001-01-01' } })],
    ['unknown-version', 400, 'DELETE', '/users/{user}', () => ({ headers: { 'API-Version': 'next' } })],
    ['invalid-header', 400, 'GET', '/users/{user}', () => ({ headers: { Consistency: 'perhaps' } })],
    ['invalid-header', 400, 'POST', '/users', () => ({ body: taken, headers: { 'If-None-Match': '"1"' } })],
    ['invalid-header', 400, 'PUT', '/users/{user}', () => ({ body: taken, headers: { 'If-Match': 'seven' } })],
    ['invalid-header', 400, 'DELETE', '/users/{user}', () => ({ headers: { 'If-Match': 'seven' } })],
    ['invalid-consistency-token', 400, 'GET', '/users', () => ({ headers: { 'Consistency-Token': 'a.1.b' } })],
    ['token-from-another-epoch', 409, 'GET', '/users', () => ({ headers: { 'Consistency-Token': token('old', 1) } })],
    [
      'position-not-reached',
      503,
      'GET',
      '/users/{user}',
      () => ({ headers: { 'Consistency-Token': token(server.node.epoch, 1e12) } }),
    ],
    ['invalid-parameter', 400, 'GET', '/posts?limit=0', () => ({})],
    ['invalid-parameter', 400, 'GET', '/users/{user}?include=posts(limit)', () => ({})],
    ['invalid-parameter', 400, 'GET', '/users/{user}/history?limit=many', () => ({})],
    ['invalid-cursor', 400, 'GET', `/posts?after=${'a'.repeat(40)}`, () => ({})],
    ['invalid-cursor', 400, 'GET', `/users/{user}/history?after=${'a'.repeat(40)}`, () => ({})],
    ['invalid-id', 400, 'GET', '/users/1', () => ({})],
    ['invalid-id', 400, 'GET', '/users/1/history', () => ({})],
    ['invalid-id', 400, 'PUT', '/users/1', () => ({ body: taken })],
    ['invalid-id', 400, 'PATCH', '/users/1', () => ({ body: {} })],
    ['invalid-id', 400, 'DELETE', '/users/1', () => ({})],
    ['unknown-field', 422, 'GET', '/posts?colour=red', () => ({})],
    ['unknown-field', 422, 'GET', '/users/{user}?fields=colour', () => ({})],
    ['unknown-field', 422, 'POST', '/users', () => ({ body: { ...taken, colour: 'red' } })],
    ['unknown-field', 422, 'PATCH', '/users/{user}', () => ({ body: { version: 9 } })],
    ['unknown-parameter', 422, 'GET', '/posts?include=comments(colour:red)', () => ({})],
    ['unknown-parameter', 422, 'GET', '/users/{user}?colour=red', () => ({})],
    ['unknown-parameter', 422, 'GET', '/users/{user}/history?colour=red', () => ({})],
    ['unknown-parameter', 422, 'POST', '/users?colour=red', () => ({ body: taken })],
    ['unknown-parameter', 422, 'DELETE', '/users/{user}?colour=red', () => ({})],
    ['invalid-value', 422, 'GET', '/posts?createdAt=yesterday', () => ({})],
    ['invalid-value', 422, 'POST', '/posts', () => ({ body: { authorId: unknown, slug: 's', title: 'T' } })],
    ['invalid-value', 422, 'PUT', '/users/{user}', () => ({ body: {} })],
    ['invalid-value', 422, 'PATCH', '/users/{user}', () => ({ body: { name: null } })],
    ['filter-too-complex', 422, 'GET', '/posts?include=author.posts.author.posts', () => ({})],
    ['filter-too-complex', 422, 'GET', '/users/{user}?include=posts.author.posts.author', () => ({})],
    ['past-not-kept', 410, 'GET', '/users?as-of=2000-01-01', () => ({})],
    ['past-not-kept', 410, 'GET', '/users/{user}?as-of=2000-01-01', () => ({})],
    ['must-refetch', 410, 'GET', '/changes?after=start', () => ({})],
    ['not-found', 404, 'GET', `/users/${unknown}`, () => ({})],
    ['not-found', 404, 'GET', `/users/${unknown}/history`, () => ({})],
    ['not-found', 404, 'PATCH', `/users/${unknown}`, () => ({ body: { name: 'N' } })],
    ['not-found', 404, 'DELETE', `/users/${unknown}`, () => ({})],
    ['not-found', 404, 'GET', '/problems/ghost', () => ({})],
    ['already-exists', 409, 'POST', '/users', () => ({ body: taken })],
    ['already-exists', 409, 'PUT', `/users/${unknown}`, () => ({ body: taken })],
    ['still-referenced', 409, 'DELETE', '/users/{user}', () => ({})],
    ['precondition-failed', 412, 'PUT', '/users/{user}', () => ({ body: taken, headers: { 'If-None-Match': '*' } })],
    ['precondition-failed', 412, 'PATCH', '/users/{user}', () => ({ body: {}, headers: { 'If-Match': '"9"' } })],
    ['precondition-failed', 412, 'DELETE', '/users/{user}', () => ({ headers: { 'If-Match': '"9"' } })],
    ['invalid-json', 400, 'POST', '/users', () => ({ body: '{' })],
    ['invalid-json', 400, 'PATCH', '/users/{user}', () => ({ body: '{"name":"a","name":"b"}' })],
    ['content-too-large', 413, 'POST', '/users', () => ({ body: 'x'.repeat(limits.bodyBytesMax + 1) })],
    ['content-too-large', 413, 'POST', '/batch', () => ({ body: 'x'.repeat(limits.bodyBytesMax + 1) })],
    ['unsupported-media-type', 415, 'POST', '/users', () => ({ body: taken, headers: { 'Content-Type': 'text/csv' } })],
    ['unsupported-media-type', 415, 'PUT', '/users/{user}', () => ({ body: taken, headers: patch })],
    [
      'unsupported-media-type',
      415,
      'PATCH',
      '/users/{user}',
      () => ({ body: {}, headers: { 'Content-Type': 'application/json' } }),
    ],
    [
      'unsupported-content-encoding',
      415,
      'POST',
      '/users',
      () => ({ body: Bun.gzipSync('{}'), headers: { 'Content-Encoding': 'gzip' } }),
    ],
    ['invalid-idempotency-key', 400, 'POST', '/users', () => ({ body: taken, headers: { 'Idempotency-Key': '""' } })],
    ['invalid-idempotency-key', 400, 'DELETE', '/users/{user}', () => ({ headers: { 'Idempotency-Key': 'a b' } })],
    ['invalid-command', 422, 'POST', '/batch', () => ({ body: { commands: [{ do: 'sing' }] } })],
    ['unknown-field', 422, 'POST', '/batch', () => batch({ do: 'create', body: { ...taken, colour: 'red' } })],
    ['invalid-value', 422, 'POST', '/batch', () => batch({ do: 'create', body: {} })],
    ['already-exists', 409, 'POST', '/batch', () => batch({ do: 'create', body: taken })],
    ['still-referenced', 409, 'POST', '/batch', () => batch({ do: 'delete', id: user.id })],
    ['not-found', 404, 'POST', '/batch', () => batch({ do: 'delete', id: unknown })],
    ['precondition-failed', 412, 'POST', '/batch', () => batch({ do: 'delete', id: user.id, ifVersion: 9 })],
    ['invalid-json', 400, 'POST', '/batch', () => ({ body: '[' })],
    ['forbidden', 403, 'POST', '/batch', () => ({ ...batch({ do: 'delete', id: user.id }), key: ofUser })],
  ]
  const batch = (command: Json): CallOptions => ({ body: { commands: [{ resource: 'users', ...command }] } })

  test.each(refusals)('is answered %s with %i by %s %s, as documented', async (code, status, method, path, options) => {
    const url = path.replace('{user}', user.id).replace('{many}', 'id,'.repeat(limits.urlCharsMax / 3))
    const answer = await server.call(method, url, options())
    expect([answer.status, answer.body.type]).toEqual([status, `/problems/${code}`])
    expect(contract.problemTypes(method, url, status)).toContain(`/problems/${code}`)
    expect(contract.breaches(method, url, answer)).toEqual([])
    reached.add(code)
  })

  test('for a key that was used with another request is answered as documented', async () => {
    const headers = { 'Idempotency-Key': 'used' }
    await ask('POST', '/users', { body: { handle: 'first', name: 'First' }, headers })
    for (const [method, path] of [
      ['POST', '/users'],
      ['DELETE', `/users/${user.id}`],
    ] as const) {
      const answer = await ask(method, path, { headers, ...(method === 'POST' && { body: taken }) })
      expect(answer.body.type).toBe('/problems/idempotency-key-reused')
      expect(contract.problemTypes(method, path, 422)).toContain(answer.body.type)
    }
    reached.add('idempotency-key-reused')
  })

  test('for a webhook more than there may be is answered as documented', async () => {
    const key = await server.key({ scopes: ['read', 'write', 'webhooks'] })
    const make = () => ask('POST', '/webhooks', { key, body: { url: hooks } })
    let answer = await make()
    while (answer.status === 201) answer = await make()
    expect(answer.body.type).toBe('/problems/too-many-webhooks')
    expect((await ask('GET', '/webhooks', { key })).body.data).toHaveLength(limits.webhooksPerTenantMax)
    const refused = await ask('POST', '/webhooks', { key, body: { url: 'https://127.0.0.1/' } })
    expect(refused.body.type).toBe('/problems/webhook-url-refused')
    reached.add('too-many-webhooks').add('webhook-url-refused')
  })

  test('is answered with a problem that the document has an example of, each of which was met here', () => {
    const { examples } = contract.document.components
    expect(Object.keys(examples).sort()).toEqual(problemCodes.filter((code) => !ofNoOperation.includes(code)).sort())
    expect([...reached, ...unreached].sort()).toEqual(Object.keys(examples).sort())
    for (const [code, { value }] of Object.entries<Json>(examples)) {
      expect(value.type).toBe(`/problems/${code}`)
      expect(contract.mistakes({ $ref: '#/components/schemas/Problem' }, value)).toEqual([])
    }
  })
})

test('a server begins without the code that writes the document', async () => {
  const typescript = new Bun.Transpiler({ loader: 'ts' })
  const seen = new Set<string>()
  const open = ['entry/commands.ts', 'entry/bun.ts'].map((path) => Bun.resolveSync(`./src/${path}`, root))
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    for (const { kind, path } of typescript.scanImports(await Bun.file(file).text())) {
      if (kind !== 'import-statement') continue
      if (path.startsWith('.')) open.push(Bun.resolveSync(path, dirname(file)))
      else seen.add(path)
    }
  }
  expect([...seen]).toContain(join(root, 'src/http/app.ts'))
  expect([...seen].filter((each) => each.includes('openapi'))).toEqual([])
})
