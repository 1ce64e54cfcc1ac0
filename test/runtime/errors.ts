import { expect } from 'bun:test'
import type { Answer } from '../support/server.ts'
import { pageOrigin } from './target.ts'
import { type Ask, type Chapter, refusalOf } from './world.ts'

/** A request that is refused, and how. */
type Refused = readonly [status: number, code: string, method: string, path: string, options?: Parameters<Ask>[2]]

const id = Bun.randomUUIDv7()

/** One request for each problem that a caller can bring about with a key and no luck. */
const refused: readonly Refused[] = [
  [400, 'invalid-id', 'GET', '/users/none'],
  [400, 'invalid-json', 'POST', '/users', { body: '{' }],
  [400, 'invalid-parameter', 'GET', '/users?limit=0'],
  [400, 'invalid-header', 'GET', '/users', { headers: { Consistency: 'perhaps' } }],
  [400, 'invalid-cursor', 'GET', '/users?after=x'],
  [400, 'invalid-idempotency-key', 'POST', '/users', { body: {}, headers: { 'Idempotency-Key': 'a key' } }],
  [400, 'invalid-consistency-token', 'GET', '/users', { headers: { 'Consistency-Token': 'x' } }],
  [400, 'unknown-version', 'GET', '/users', { headers: { 'API-Version': 'v9' } }],
  [401, 'unauthorized', 'GET', '/users', { headers: { Authorization: 'Bearer pgk_wrong' } }],
  [403, 'forbidden', 'GET', '/webhooks'],
  [404, 'not-found', 'GET', `/users/${id}`],
  [404, 'not-found', 'GET', '/nothing'],
  [405, 'method-not-allowed', 'PATCH', '/users', { body: {} }],
  [412, 'precondition-failed', 'PUT', `/tags/${id}`, { body: { name: id }, headers: { 'If-Match': '*' } }],
  [414, 'uri-too-long', 'GET', `/users?handle=${'x'.repeat(9_000)}`],
  [415, 'unsupported-media-type', 'POST', '/users', { body: '{}', headers: { 'Content-Type': 'text/plain' } }],
  [415, 'unsupported-content-encoding', 'POST', '/users', { body: '{}', headers: { 'Content-Encoding': 'gzip' } }],
  [422, 'unknown-parameter', 'GET', `/users/${id}?ghost=1`],
  [422, 'unknown-field', 'GET', '/users?ghost=1'],
  [422, 'invalid-value', 'POST', '/users', { body: {} }],
  [422, 'invalid-command', 'POST', '/batch', { body: { commands: [] } }],
  [422, 'filter-too-complex', 'GET', `/users?${'handle=x&'.repeat(21)}`],
]

/** An answer without what may differ between two askings. */
function essence({ status, headers, text }: Answer, asked: string) {
  const volatile = ['date', 'server-timing', 'x-request-id', 'replica-age', 'consistency-token', 'connection']
  const lasting = [...headers].filter(([name]) => !volatile.includes(name)).toSorted()
  return { status, headers: lasting, text: text.replaceAll(asked, 'ID') }
}

export const errors: Chapter = {
  async 'every problem is problem+json with its type, title, status and detail, and is kept by nobody'({ service }) {
    for (const [status, code, method, path, options] of refused) {
      const answer = await service(method, path, options)
      const { headers, body } = answer
      expect([path.slice(0, 40), ...refusalOf(answer).slice(0, 2)]).toEqual([path.slice(0, 40), status, code])
      expect([headers.get('content-type'), headers.get('cache-control')]).toEqual([
        ...['application/problem+json', 'no-store'],
      ])
      expect(body).toMatchObject({ type: `/problems/${code}`, title: expect.any(String), status })
      if (code !== 'uri-too-long') expect([code, body.instance]).toEqual([code, path.split('?')[0]])
      expect([code, body.detail]).toEqual([code, expect.stringMatching(/^.*[^ ]{2,}.*\.$/)])
      const { body: described } = await service('GET', body.type)
      expect(described).toEqual({ type: body.type, title: body.title, status })
    }
  },

  async 'a path that there is not names those that there are'({ service }) {
    for (const path of ['/nothing', '/v1/nothing', '/users/a/b', '/problems/nothing', '/webhooks/'])
      expect([path, ...refusalOf(await service('GET', path))]).toEqual([path, 404, 'not-found'])
    const { detail } = (await service('GET', '/v1/nothing')).body
    expect(detail).toContain('the resources of 2026-03-01 are /users, /articles,')
  },

  async 'a method that a path does not take is 405 with those that it does'({ service }) {
    const one = 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS'
    for (const [method, path, allow] of [
      ['PUT', '/users', 'GET, HEAD, POST, OPTIONS'],
      ['DELETE', '/v2/posts', 'GET, HEAD, POST, OPTIONS'],
      ['POST', `/users/${id}`, one],
      ['POST', `/users/${id}/history`, 'GET, HEAD, OPTIONS'],
      ['GET', '/batch', 'POST, OPTIONS'],
      ['DELETE', '/changes', 'GET, HEAD, OPTIONS'],
      ['POST', '/livez', 'GET, HEAD, OPTIONS'],
    ] as const) {
      const answer = await service(method, path)
      const told = [...refusalOf(answer), answer.headers.get('allow')]
      expect([method, path, ...told]).toEqual([method, path, 405, 'method-not-allowed', allow])
    }
    const options = await service('OPTIONS', `/users/${id}`)
    expect([options.status, options.headers.get('allow'), options.headers.get('accept-patch')]).toEqual([
      ...[204, one, 'application/merge-patch+json'],
    ])
  },

  async 'a key that is none is 401 and says what is wanted, and so is a write without any'({ outside, key }) {
    const anonymous = outside(null)
    const known = await key()
    const wrong = ['Bearer pgk_wrong', `Bearer ${known}x`, `Bearer ${known.slice(0, -1)}`, `Basic ${known}`, known]
    for (const Authorization of wrong)
      for (const method of ['GET', 'POST']) {
        const answer = await anonymous(method, '/users', { headers: { Authorization } })
        const told = [...refusalOf(answer), answer.headers.get('www-authenticate')]
        expect([Authorization, ...told]).toEqual([Authorization, 401, 'unauthorized', 'Bearer realm="perigee"'])
      }
    for (const [method, path] of [
      ['POST', '/users'],
      ['PUT', `/users/${id}`],
      ['PATCH', `/users/${id}`],
      ['DELETE', `/users/${id}`],
      ['POST', '/batch'],
      ['GET', '/webhooks'],
    ] as const)
      expect([method, ...refusalOf(await anonymous(method, path))]).toEqual([method, 401, 'unauthorized'])
  },

  async 'a key without the scope is 403 and names it'({ as, newTag, unique }) {
    const { id: tag } = await newTag()
    const [reader, writer] = [await as({ scopes: ['read'] }), await as({ scopes: ['write'] })]
    const body = { name: unique() }
    const lacking = async (ask: Ask, method: string, path: string) => {
      const answer = await ask(method, path, { body: method === 'GET' ? undefined : body })
      return [...refusalOf(answer), answer.body.detail]
    }
    const lacks = (scope: string) => [403, 'forbidden', `This key lacks the scope "${scope}".`]
    expect(await lacking(reader, 'POST', '/tags')).toEqual(lacks('write'))
    expect(await lacking(reader, 'PATCH', `/tags/${tag}`)).toEqual(lacks('write'))
    for (const path of ['/tags', `/tags/${tag}`, `/tags/${tag}/history`, '/changes'])
      expect(await lacking(writer, 'GET', path)).toEqual(lacks('read'))
    expect((await writer('POST', '/tags', { body })).status).toBe(201)
  },

  async 'what another tenant owns answers as what does not exist, in all its bytes'({ as, newTag, unique }) {
    const other = await as({ tenant: 'other' })
    const tag = await newTag()
    const asked: [string, string, Parameters<Ask>[2]?][] = [
      ['GET', '/tags/ID'],
      ['HEAD', '/tags/ID'],
      ['GET', '/tags/ID', { headers: { 'If-None-Match': '*' } }],
      ['GET', '/tags/ID/history'],
      ['GET', '/tags/ID?include=posts'],
      ['GET', `/tags?id=ID&count=exact`],
      ['PATCH', '/tags/ID', { body: { name: unique() } }],
      ['DELETE', '/tags/ID'],
      ['PATCH', '/tags/ID', { body: {}, headers: { 'If-Match': '"1-v3"' } }],
    ]
    for (const [method, path, options] of asked) {
      const answers = [tag.id, id].map(async (each) => {
        const answer = await other(method, path.replace('ID', each), options)
        return essence(answer, each)
      })
      const [crossed, missed] = await Promise.all(answers)
      expect([method, path, crossed]).toEqual([method, path, missed])
      expect([method, path, crossed?.status]).toEqual([method, path, path.includes('?id=') ? 200 : 404])
    }
    const commands = [{ do: 'delete', resource: 'tags', id: tag.id }]
    expect((await other('POST', '/batch', { body: { commands } })).status).toBe(404)
    expect((await other('GET', `/tags?name=${tag.name}`)).body.data).toEqual([])
  },

  async 'pages of an allowed origin may call, and those of no other'({ service, newTag }) {
    const { id: tag } = await newTag()
    const preflight = { 'Access-Control-Request-Method': 'PATCH', 'Access-Control-Request-Headers': 'authorization' }
    const told = async (method: string, origin: string) => {
      const { status, headers } = await service(method, `/tags/${tag}`, { headers: { Origin: origin, ...preflight } })
      const methods = method === 'OPTIONS' ? headers.get('access-control-allow-methods') : null
      return { status, origin: headers.get('access-control-allow-origin'), methods }
    }
    const methods = 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS'
    expect(await told('OPTIONS', pageOrigin)).toEqual({ status: 204, origin: pageOrigin, methods })
    expect(await told('GET', pageOrigin)).toEqual({ status: 200, origin: pageOrigin, methods: null })
    expect((await told('OPTIONS', 'https://elsewhere.example')).origin).toBeNull()
    expect((await told('GET', 'https://elsewhere.example')).origin).toBeNull()
    const { headers } = await service('GET', '/nothing', { headers: { Origin: pageOrigin } })
    expect(headers.get('access-control-allow-origin')).toBe(pageOrigin)
    expect(headers.get('access-control-expose-headers')).toContain('Consistency-Token')
  },
}
