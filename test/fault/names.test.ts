import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { model } from '../../src/model/index.ts'
import { type TestApp, testApp } from '../support/app.ts'
import { writable } from '../support/resources.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { exchange, head } from '../support/socket.ts'

setDefaultTimeout(60_000)

let server: TestServer
let key: string
let user: string
let post: string
beforeAll(async () => {
  server = await testServer()
  key = await server.key()
  user = (await server.call('POST', '/users', { body: { handle: 'ada', name: 'Ada' } })).body.id
  await server.call('POST', '/users', { body: { handle: 'bob', name: 'Bob' } })
  const body = { authorId: user, slug: 's', title: 'T', status: 'published' }
  post = (await server.call('POST', '/posts', { body })).body.id
})
afterAll(() => server.stop())

const resources = [...model.resources.keys()]
/** Names that every object has, or that make one what it is. */
const inherited = [
  '__proto__',
  'constructor',
  'prototype',
  'constructor.prototype',
  'toString',
  'valueOf',
  'hasOwnProperty',
  '__defineGetter__',
  'then',
  'length',
]

describe('row 28: names that every object has are unknown names', () => {
  afterEach(() => {
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  const refused = [400, 422]
  const expectRefused = async (method: string, path: string, body?: unknown) => {
    const answer = await server.call(method, path, { body })
    expect({ method, path, status: answer.status, refused: refused.includes(answer.status) }).toMatchObject({
      refused: true,
    })
    return answer
  }

  test.each(inherited)('%s as a filter, operator, sort, include, field and parameter', async (name) => {
    const encoded = encodeURIComponent(name)
    for (const resource of resources) {
      for (const query of [
        `${encoded}=1`,
        `${encoded}[polluted]=1`,
        `${encoded}[eq]=1`,
        `id[${encoded}]=1`,
        `sort=${encoded}`,
        `sort=-${encoded}`,
        `include=${encoded}`,
        `include=${encoded}.${encoded}`,
        `fields=${encoded}`,
        `fields=id,${encoded}`,
        `count=${encoded}`,
        `limit=${encoded}`,
        `after=${encoded}`,
      ])
        await expectRefused('GET', `/${resource}?${query}`)
      for (const relation of model.resources.get(resource)!.relations.keys()) {
        await expectRefused('GET', `/${resource}?include=${relation}(${encoded}:1)`)
        await expectRefused('GET', `/${resource}?include=${relation}(fields:${encoded})`)
        await expectRefused('GET', `/${resource}?include=${relation}.${encoded}`)
      }
      await expectRefused('GET', `/${resource}/${encoded}`)
      if (writable.includes(resource)) await expectRefused('DELETE', `/${resource}/${encoded}`)
    }
    expect((await server.call('GET', `/${encoded}`)).status).toBe(404)
    expect((await server.call('GET', `/problems/${encoded}`)).status).toBe(404)
  })

  test.each(inherited)('%s as a member of a body, a command and a reference', async (name) => {
    const member = `${JSON.stringify(name)}:{"polluted":1}`
    for (const resource of writable) {
      expect((await expectRefused('POST', `/${resource}`, `{${member}}`)).body.type).toBe('/problems/unknown-field')
      await expectRefused('PATCH', `/${resource}/${post}`, `{${member}}`)
      await expectRefused('PUT', `/${resource}/${post}`, `{${member}}`)
    }
    const command = `"do":"create","resource":"users","body":{"handle":"h","name":"n"}`
    for (const commands of [
      `{${command},${member}}`,
      `{"do":"create","resource":"users","body":{"handle":"h","name":"n",${member}}}`,
      `{"do":${JSON.stringify(name)},"resource":"users"}`,
      `{"do":"delete","resource":${JSON.stringify(name)}}`,
      `{"do":"delete","resource":"users","id":{"$ref":${JSON.stringify(name)}}}`,
      `{"do":"delete","resource":"users","id":{"$ref":{${member}}}}`,
      `{"do":"delete","resource":"users","id":{${member}}}`,
      `{"do":"delete","resource":"users","id":{"missing":null}}`,
      `{${command},"as":{${member}}}`,
      `{${command},"ifVersion":{${member}}}`,
    ])
      await expectRefused('POST', '/batch', `{"commands":[${commands}]}`)
    await expectRefused('POST', '/batch', `{"commands":[{${command}}],${member}}`)
    expect((await server.call('GET', '/users?handle=h')).body.data).toEqual([])
  })

  test('a document keeps such members as data, and nothing else takes them up', async () => {
    const meta = '{"constructor":{"prototype":{"polluted":1}},"toString":"x","hasOwnProperty":null,"then":{"length":0}}'
    const body = `{"authorId":"${user}","slug":"kept","title":"T","status":"published","meta":${meta}}`
    const made = await server.call('POST', '/posts', { body })
    expect(made.status).toBe(201)
    const read = await server.call('GET', `/posts/${made.body.id}?fields=meta`)
    expect(read.text).toBe(`{"meta":${meta}}`)
    const patch = '{"meta":{"toString":{"more":2},"constructor":null,"then":null}}'
    expect((await server.call('PATCH', `/posts/${made.body.id}`, { body: patch })).status).toBe(200)
    const merged = await server.call('GET', `/posts/${made.body.id}?fields=meta`)
    expect(merged.text).toBe('{"meta":{"toString":{"more":2},"hasOwnProperty":null}}')
  })

  test('__proto__ in a document is kept, or refused by name where its schema would drop it', async () => {
    const bodyWith = (slug: string, meta: string) =>
      `{"authorId":"${user}","slug":"${slug}","title":"T","meta":${meta}}`
    const deep = '{"a":[{"__proto__":{"polluted":1}}]}'
    const kept = await server.call('POST', '/posts', { body: bodyWith('deep', deep) })
    expect((await server.call('GET', `/posts/${kept.body.id}?fields=meta`)).text).toBe(`{"meta":${deep}}`)
    const lost = bodyWith('lost', '{"__proto__":{"polluted":1}}')
    const refused = await server.call('POST', '/posts', { body: lost })
    const fault = { pointer: '/meta', code: 'reserved-name' }
    expect([refused.status, refused.body.errors]).toEqual([422, [expect.objectContaining(fault)]])
    const commands = `{"commands":[{"do":"create","resource":"posts","body":${lost}}]}`
    expect((await server.call('POST', '/batch', { body: commands })).status).toBe(422)
  })

  test('10,000 random requests made of such names pollute nothing and are never answered 500', async () => {
    const app: TestApp = await testApp()
    const authorization = `Bearer ${await app.key()}`
    const name = fc.constantFrom(
      ...inherited,
      'polluted',
      'id',
      'handle',
      'commands',
      'do',
      'body',
      '$ref',
      'missing',
      '',
    )
    const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        name,
        fc.constantFrom(null, true, 1, 'users', 'create', user),
        tie('members'),
        fc.array(tie('value'), { maxLength: 3 }),
      ),
      members: fc.array(fc.tuple(name, tie('value')), { maxLength: 4 }),
    })).value
    const text = (each: unknown): string =>
      Array.isArray(each) &&
      each.every((pair) => Array.isArray(pair) && pair.length === 2 && typeof pair[0] === 'string')
        ? `{${[...new Map(each as [string, unknown][])].map(([member, inner]) => `${JSON.stringify(member)}:${text(inner)}`).join()}}`
        : Array.isArray(each)
          ? `[${each.map(text).join()}]`
          : JSON.stringify(each)
    const commands = fc.array(
      fc.record({
        do: fc.constantFrom('create', 'replace', 'patch', 'delete'),
        resource: fc.constantFrom('users', 'posts', 'comments'),
        id: fc.option(value.map(text), { nil: undefined }),
        body: value.map(text),
      }),
      { minLength: 1, maxLength: 3 },
    )
    const batch = commands.map(
      (list) =>
        `{"commands":[${list.map((each) => `{"do":"${each.do}","resource":"${each.resource}"${each.id === undefined ? '' : `,"id":${each.id}`},"body":${each.body}}`).join()}]}`,
    )
    const query = fc
      .array(fc.tuple(name, name, name), { maxLength: 3 })
      .map((list) => list.map(([a, b, c]) => `${a}[${b}]=${c}`).join('&'))
    const request = fc.oneof(
      fc.tuple(fc.constant('POST'), fc.constant('/batch'), batch),
      fc.tuple(
        fc.constantFrom('POST', 'PUT', 'PATCH'),
        fc.constantFrom('/users', `/users/${user}`, '/posts', '/batch'),
        value.map(text),
      ),
      fc.tuple(
        fc.constant('GET'),
        query.map((each) => `/posts?${each}`),
        fc.constant(undefined),
      ),
      fc.tuple(
        fc.constant('GET'),
        name.map((each) => `/posts?sort=${each}&include=${each}&fields=${each}`),
        fc.constant(undefined),
      ),
    )
    await fc.assert(
      fc.asyncProperty(request, async ([method, path, body]) => {
        const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
        const init = {
          method,
          headers: { Host: 'localhost', Authorization: authorization, 'Content-Type': type },
          ...(body && { body }),
        }
        const response = await app.app.fetch(new Request(`http://localhost${path}`, init))
        expect(response.status).toBeLessThan(500)
      }),
      { numRuns: 10_000 },
    )
    expect(app.faults).toEqual([])
    await app.stop()
  })
})

describe('row 29: an id that is none finds nothing', () => {
  const nasty: [name: string, id: string][] = [
    ['NUL at the end', 'ID%00'],
    ['NUL and more after it', 'ID%00x'],
    ['NUL inside', 'HALF%00HALF'],
    ['the right-to-left override', '%E2%80%AE' + 'ID'],
    ['a zero-width space', 'ID%E2%80%8B'],
    ['decomposed letters', 'e%CC%81' + 'ID'],
    ['full-width digits', '%EF%BC%90ID'],
    ['upper case', 'UPPER'],
    ['two dots', '..'],
    ['two dots, encoded', '%2e%2e'],
    ['two dots, encoded twice', '%252e%252e'],
    ['a path upwards', '..%2f..%2fusers'],
    ['an encoded slash', 'ID%2fhistory'],
    ['an encoded slash before', '%2fID'],
    ['a backslash', '%5cID'],
    ['a raw backslash', '\\ID'],
    ['a semicolon and a parameter', 'ID;x=1'],
    ['a space', 'ID%20'],
    ['a plus', '+ID'],
    ['a line feed', 'ID%0a'],
    ['a quote', "ID'"],
    ['an asterisk', '*'],
    ['a percent sign', '%'],
    ['bytes that are not UTF-8', '%ff%fe'],
    ['an overlong slash', '%c0%af'],
    ['braces', '%7BID%7D'],
    ['a list', 'ID,ID'],
    ['a UUID of version 4', 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'],
    ['a number', '1'],
    ['null', 'null'],
    ['10 KB', 'a'.repeat(10_000)],
    ['4 KB', 'a'.repeat(4_000)],
  ]
  const made = (id: string) =>
    id.replaceAll('ID', post).replaceAll('HALF', post.slice(0, 18)).replaceAll('UPPER', post.toUpperCase())

  /** The routes that take an id, over the path of a list. */
  const routes = resources.flatMap((resource) =>
    ['', '/v3'].flatMap((alias) => [
      ...['GET', 'HEAD', ...(writable.includes(resource) ? ['PUT', 'PATCH', 'DELETE'] : [])].map(
        (method) => [method, `${alias}/${resource}/`, ''] as const,
      ),
      ['GET', `${alias}/${resource}/`, '/history'] as const,
    ]),
  )

  test.each(nasty)('%s, on every route', async (_, template) => {
    const id = made(template)
    const body = '{}'
    for (const [method, before, after] of routes) {
      const answer = await exchange(
        server.url,
        `${head(
          `${method} ${before}${id}${after}`,
          `Authorization: Bearer ${key}`,
          `Content-Type: application/${method === 'PATCH' ? 'merge-patch+json' : 'json'}`,
          'Content-Length: 2',
        )}${body}`,
        { method },
      )
      // Two dots go up to the list before anything is routed, as in every URL; a list is not a record.
      const climbs = /^(\.|%2e){2}$/i.test(id)
      const fine = climbs ? [200, 302, 404, 405] : [400, 404, 414]
      expect({
        method,
        path: `${before}${id}${after}`.slice(0, 200),
        ok: fine.includes(answer?.status ?? 0),
        status: answer?.status,
      }).toMatchObject({ ok: true })
      if (!climbs) expect(answer?.body).not.toContain('"title":"T"')
    }
  })

  test.each(nasty)('%s, in a filter, a body and a batch', async (_, template) => {
    const id = made(template).slice(0, 4_000)
    const text = decodeURIComponentOrSame(id)
    const encoded = encodeURIComponent(text).replaceAll('%25', '%')
    // Two ids between commas are what "in" takes.
    const list = template.includes(',') ? 'id[ne]' : 'id[in]'
    for (const query of [`id=${encoded}`, `${list}=${encoded}`, `authorId=${encoded}`, `id[gt]=${encoded}`]) {
      const answer = await server.call('GET', `/posts?${query}`)
      expect([400, 414, 422]).toContain(answer.status)
    }
    const fails = async (path: string, body: unknown) =>
      expect([400, 422]).toContain((await server.call('POST', path, { body })).status)
    await fails('/posts', { authorId: text, slug: 'x', title: 'x' })
    for (const kind of ['replace', 'patch', 'delete'])
      await fails('/batch', { commands: [{ do: kind, resource: 'users', id: text, body: { name: 'x' } }] })
  })

  test('the one record is as it was', async () => {
    const all = await server.call('GET', '/posts')
    expect([all.body.data.length >= 1, (await server.call('GET', `/posts/${post}`)).body.version]).toEqual([true, 1])
  })
})

function decodeURIComponentOrSame(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

describe('row 30: what a caller sends never becomes a header or a line of its own', () => {
  const evil = [
    '%0d%0aX-Evil:%201',
    '%0aX-Evil:%201',
    '%0dX-Evil:%201',
    '%E5%98%8A%E5%98%8DX-Evil:%201',
    '%00',
    '%c4%8d%c4%8aX-Evil',
    '%3E;%20rel=%22evil%22,%20%3Chttp://evil',
    '">,<http://evil>;rel="next"',
    '%22',
    '\u20ac',
    'é',
  ]
  const linesOf = (answer: Awaited<ReturnType<typeof exchange>>) => [...(answer?.headers.keys() ?? [])]
  const known =
    /^(access-control-|accept-|x-request-id$|x-content-type-options$|content-|api-version$|consistency-token$|cache-control$|cache-groups$|cache-status$|server-timing$|vary$|etag$|link$|location$|date$|connection$|allow$|www-authenticate$|idempotency-replayed$|retry-after$)/

  test.each(evil)('%s in a query, a path and a cursor', async (text) => {
    for (const path of [
      `/users?limit=1&handle[ne]=${text}`,
      `/users?limit=1&handle[ne]=x&after=${text}`,
      `/users?${text}=1`,
      `/users?sort=${text}`,
      `/users?fields=${text}`,
      `/users?include=${text}`,
      `/users/${text}`,
      `/users/${user}/history?limit=1&after=${text}`,
      `/users/${user}${text}`,
      `/${text}`,
      `/docs${text}`,
      `/problems/${text}`,
      `/v3${text}/users`,
    ]) {
      const answer = await exchange(server.url, Buffer.from(head(`GET ${path}`)))
      expect({ path, ok: (answer?.status ?? 500) < 500 }).toEqual({ path, ok: true })
      expect(linesOf(answer).filter((name) => !known.test(name))).toEqual([])
    }
  })

  test('a Link holds the query in one pair of brackets, and following it works', async () => {
    for (const value of ['a%3Eb', '%22%3C%3E%5C%5E%60%7B%7C%7D', 'x%20y', '%E2%82%AC', 'a,b;c']) {
      const first = await server.call('GET', `/users?handle[ne]=${value}&limit=1`)
      const link = first.headers.get('link') ?? ''
      expect(link).toMatch(/^<\/users\?[!#-;=?-[\]_a-z~]+>; rel="next"$/)
      const next = await server.call('GET', link.slice(1, link.indexOf('>')))
      expect([next.status, next.body.data[0].handle]).toEqual([200, 'bob'])
    }
  })

  test.each([
    ['a line break', 'a%0d%0ab', false],
    ['spaces', 'a b', false],
    ['a letter outside ASCII', 'caf\u00e9', false],
    ['markup', '<script>', false],
    ['129 characters', 'r'.repeat(129), false],
    ['128 characters', 'r'.repeat(128), true],
    ['a trace id', '4bf92f35-77b3.4da6:a3ce_929d', true],
  ])('an X-Request-Id with %s is taken over only where it is harmless', async (name, id, isTaken) => {
    const body = JSON.stringify({ handle: `request-${name.replaceAll(/[^a-z0-9]/g, '-')}`, name: 'N' })
    const lines = [`Authorization: Bearer ${key}`, 'Content-Type: application/json', `Content-Length: ${body.length}`]
    const answer = await exchange(
      server.url,
      Buffer.from(head('POST /users', ...lines, `X-Request-Id: ${id}`) + body, 'latin1'),
    )
    expect(answer?.status).toBe(201)
    expect(answer?.headers.get('x-request-id') === id).toBe(isTaken)
  })

  test.each(['2026-11-01\u00a0', '<x>', '%0d%0a', 'v1; q=1', '', '2026-11-01, 2026-11-01'])(
    'an API-Version of "%s" is refused, and what is answered names a real one',
    async (version) => {
      const answer = await exchange(server.url, Buffer.from(head('GET /users', `API-Version: ${version}`), 'latin1'))
      expect([answer?.status, answer?.headers.get('api-version')]).toEqual([400, '2026-11-01'])
    },
  )

  test('the Location of a created record is its own path, whatever the Host and the forwarding headers say', async () => {
    const body = JSON.stringify({ handle: 'located', name: 'N' })
    const lines = [
      `Authorization: Bearer ${key}`,
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      'X-Forwarded-Host: evil',
      'X-Forwarded-Prefix: /evil',
      'X-Original-URL: /evil',
      'Forwarded: host=evil',
    ]
    const answer = await exchange(server.url, head('POST /users', ...lines) + body)
    expect(answer?.headers.get('location')).toBe(`/users/${JSON.parse(answer?.body ?? '').id}`)
    expect(`${[...(answer?.headers ?? [])]}`).not.toContain('evil')
  })
})
