import { expect } from 'bun:test'
import type { Answer } from '../support/server.ts'
import { type Ask, type Chapter, linkOf, refusalOf, tagOf } from './world.ts'

const [v1, v2, v3] = ['2026-03-01', '2026-07-01', '2026-11-01'] as const
const dates = { v1, v2, v3 }
const versionOf = ({ headers }: Answer) => headers.get('api-version')
const at = (version: string) => ({ headers: { 'API-Version': version } })

/** What the model declares of its oldest version: deprecated from 2026-11-01 on, at its end on 2030-03-01. */
const life = { deprecation: '@1793491200', sunset: 'Fri, 01 Mar 2030 00:00:00 GMT' }
const lifeOf = ({ headers }: Answer) => ({ deprecation: headers.get('deprecation'), sunset: headers.get('sunset') })

export const versions: Chapter = {
  async 'a request is served the version of its path or its header, else the default'({ service }) {
    for (const [path, options, date] of [
      ['/v1/articles', {}, v1],
      ['/articles', at(v1), v1],
      ['/articles', at('v1'), v1],
      ['/v2/posts', at(v2), v2],
      ['/posts', at('v2'), v2],
      ['/posts', {}, v3],
    ] as const) {
      const answer = await service('GET', `${path}?limit=1`, options)
      expect([path, options, answer.status, versionOf(answer)]).toEqual([path, options, 200, date])
    }
  },

  async 'a pinned key is served its version, unless a request names another'({ as, newUser }) {
    const { handle } = await newUser({ name: 'Ada King Lovelace' })
    const pinned = await as({ version: v1 })
    const [shown] = (await pinned('GET', `/users?handle=${handle}`)).body.data
    expect([shown.givenName, shown.familyName, shown.name]).toEqual(['Ada', 'King Lovelace', undefined])
    expect((await pinned('GET', '/articles?limit=1')).status).toBe(200)
    expect((await pinned('GET', '/posts?limit=1')).status).toBe(404)
    expect(versionOf(await pinned('GET', '/v3/users?limit=1'))).toBe(v3)
    expect(versionOf(await pinned('GET', '/users?limit=1', at(v2)))).toBe(v2)
  },

  async 'a version that there is not, or another than the path names, is 400 with those that there are'({ service }) {
    for (const [path, version] of [
      ['/posts', '2026-07-02'],
      ['/posts', 'latest'],
      ['/v2/posts', v3],
      ['/v2/posts', 'v9'],
    ] as const)
      for (const method of ['GET', 'POST'])
        expect(refusalOf(await service(method, path, at(version))).slice(0, 2)).toEqual([400, 'unknown-version'])
    const refused = await service('GET', '/posts', at('v9'))
    expect([refused.body.detail, refused.body.errors[0].header]).toEqual([
      ...[`There is no such API version; there are ${v1}, ${v2}, ${v3}.`, 'API-Version'],
    ])
  },

  async 'a resource of another version is not found'({ service }) {
    const paths: [string, object][] = [
      ['/v2/articles', {}],
      ['/v1/posts', {}],
      ['/articles', {}],
      ['/posts', at('v1')],
      ['/v4/posts', {}],
    ]
    for (const [path, options] of paths)
      expect([path, (await service('GET', path, options)).status]).toEqual([path, 404])
  },

  async 'what an old version writes the new one reads, and the other way round, each in its own words'({
    service,
    unique,
  }) {
    const old = {
      handle: unique(),
      givenName: 'Ada',
      familyName: 'Lovelace',
      profile: { homepage: 'https://a.example' },
    }
    const user = await service('POST', '/v1/users', { body: old })
    expect([user.status, user.body.familyName]).toEqual([201, 'Lovelace'])
    const read = await service('GET', `/users/${user.body.id}`)
    expect(read.body).toMatchObject({ handle: old.handle, name: 'Ada Lovelace', homepage: 'https://a.example' })
    const authorId = user.body.id
    const article = { authorId, slug: unique(), title: 'T', content: 'Notes.', status: 'live', language: 'en' }
    const { body: made, headers } = await service('POST', '/v1/articles', { body: article })
    expect(headers.get('location')).toBe(`/v1/articles/${made.id}`)
    const post = { body: 'Notes.', status: 'published', meta: { language: 'en' }, authorName: 'Ada Lovelace' }
    expect((await service('GET', `/posts/${made.id}`)).body).toMatchObject(post)
    await service('PATCH', `/posts/${made.id}`, { body: { status: 'archived', words: 9, title: 'y'.repeat(200) } })
    const shown = (await service('GET', `/v1/articles/${made.id}`)).body
    expect(shown).toMatchObject({ status: 'archived', content: 'Notes.', title: 'y'.repeat(120), language: 'en' })
    await service('PATCH', `/v1/articles/${made.id}`, { body: { content: 'More.' } })
    const after = (await service('GET', `/posts/${made.id}`)).body
    expect(after).toMatchObject({ body: 'More.', words: 9, title: 'y'.repeat(200) })
  },

  async 'filters and faults are in the words of the version'({ service, newPost }) {
    const { slug } = await newPost()
    const list = await service('GET', `/v1/articles?slug=${slug}&status=live&fields=status`)
    expect(list.body.data).toEqual([{ status: 'live' }])
    expect(refusalOf(await service('GET', '/v1/articles?status=published'))).toEqual([422, 'invalid-value', 'status'])
    const body = { slug: 5, content: 'x', status: 'published' }
    expect(refusalOf(await service('POST', '/v1/articles', { body })).slice(2)).toEqual([
      ...['/authorId', '/slug', '/status', '/title'],
    ])
    const taken = { body: { articleId: Bun.randomUUIDv7(), text: 'x', authorId: Bun.randomUUIDv7() } }
    expect(refusalOf(await service('POST', '/v1/comments', taken)).slice(2)).toEqual(['/articleId', '/authorId'])
  },

  async 'an ETag names its version: readers are answered by their own alone, writers by any'({ service, newPost }) {
    const { id } = await newPost()
    const paths = [`/v1/articles/${id}`, `/v2/posts/${id}`, `/v3/posts/${id}`]
    const tags = await Promise.all(paths.map(async (path) => tagOf(await service('GET', path))))
    expect(tags).toEqual(['"1-v1"', '"1-v2"', '"1-v3"'])
    for (const path of paths) {
      const ask = async (tag: string) => (await service('GET', path, { headers: { 'If-None-Match': tag } })).status
      expect([path, await Promise.all(tags.map(ask))]).toEqual([path, paths.map((each) => (each === path ? 304 : 200))])
    }
    const patch = (path: string, tag: string) =>
      service('PATCH', path, { body: { title: 'Once' }, headers: { 'If-Match': tag } })
    expect(tagOf(await patch(`/posts/${id}`, '"1-v1"'))).toBe('"2-v3"')
    const stale = await patch(`/v1/articles/${id}`, '"1-v3"')
    expect([stale.status, tagOf(stale)]).toEqual([412, '"2-v1"'])
  },

  async 'a cursor and an idempotency key are of one version'({ service, newTag, unique }) {
    await Promise.all([newTag(), newTag()])
    const { body } = await service('GET', '/v3/tags?limit=1')
    expect(refusalOf(await service('GET', `/v2/tags?limit=1&after=${body.next}`))).toEqual([400, 'invalid-cursor'])
    const options = { body: { name: unique() }, headers: { 'Idempotency-Key': unique() } }
    const create = (version: string) =>
      service('POST', '/tags', { ...options, headers: { ...options.headers, 'API-Version': version } })
    const [once, again] = [await create(v1), await create(v1)]
    expect([again.status, again.text]).toEqual([201, once.text])
    expect(refusalOf(await create(v2))[1]).toBe('idempotency-key-reused')
  },

  async 'a version that has an end says so in every answer, and leads to the next'({ service, as, newPost }) {
    const { id } = await newPost()
    const missing = Bun.randomUUIDv7()
    const pinned = await as({ version: v1 })
    const path = `/v1/articles/${id}`
    const asked: [Ask, string, string, number, string, Parameters<Ask>[2]?][] = [
      [service, 'GET', path, 200, `/v2/posts/${id}`],
      [service, 'HEAD', path, 200, `/v2/posts/${id}`],
      [service, 'GET', path, 304, `/v2/posts/${id}`, { headers: { 'If-None-Match': '*' } }],
      [pinned, 'GET', `/articles/${id}/history`, 200, `/v2/posts/${id}/history`],
      [service, 'GET', '/v1/articles?limit=1', 200, '/v2/posts'],
      [service, 'PATCH', path, 200, `/v2/posts/${id}`, { body: { title: 'B' } }],
      [pinned, 'PATCH', `/articles/${id}`, 412, `/v2/posts/${id}`, { body: {}, headers: { 'If-Match': '"99"' } }],
      [service, 'GET', `/v1/articles/${missing}`, 404, `/v2/posts/${missing}`],
      [service, 'PUT', '/v1/articles', 405, '/v2/posts'],
      [service, 'GET', '/v1/changes', 200, '/v2/changes'],
      [service, 'GET', '/v1/openapi.json', 200, '/v2/openapi.json'],
    ]
    for (const [ask, method, where, status, successor, options] of asked) {
      const answer = await ask(method, where, options)
      expect([method, where, answer.status, versionOf(answer)]).toEqual([method, where, status, v1])
      expect([method, where, lifeOf(answer)]).toEqual([method, where, life])
      const links = ['deprecation', 'sunset', 'successor-version'].map((each) => linkOf(answer, each))
      expect([method, where, links]).toEqual([method, where, ['/changelog#v1', '/changelog#v1', successor]])
    }
    for (const other of ['/v2/posts', '/posts', '/posts/x', '/versions', '/nothing'])
      expect([other, lifeOf(await service('GET', other))]).toEqual([other, { deprecation: null, sunset: null }])
  },

  async '/versions and /changelog tell of every version, to programs and to people'({ anonymous }) {
    const { status, body } = await anonymous('GET', '/versions')
    const told = body.data.map((each: Record<string, unknown>) => [each.date, each.alias, each.default, each.sunset])
    expect([status, told]).toEqual([
      200,
      [
        [v3, 'v3', true, null],
        [v2, 'v2', false, null],
        [v1, 'v1', false, '2030-03-01'],
      ],
    ])
    const changelog = await anonymous('GET', '/changelog.json')
    expect(
      changelog.body.data.map(({ alias, changes }: { alias: string; changes: [] }) => [alias, changes.length > 0]),
    ).toEqual([
      ['v3', true],
      ['v2', true],
      ['v1', false],
    ])
    const page = await anonymous('GET', '/changelog')
    expect(page.headers.get('content-type')).toStartWith('text/html')
    expect(page.text).toContain('<section id="v1">')
  },

  async 'each version has a document, which names its paths and no others'({ anonymous }) {
    for (const [alias, date] of Object.entries(dates)) {
      for (const [path, options] of [
        [`/${alias}/openapi.json`, {}],
        ['/openapi.json', at(date)],
      ] as const) {
        const { status, headers, body } = await anonymous('GET', path, options)
        expect([path, status, headers.get('content-type')]).toEqual([path, 200, 'application/json'])
        expect([body.openapi, body.info.version]).toEqual(['3.1.0', date])
        const [own, other] = alias === 'v1' ? ['articles', 'posts'] : ['posts', 'articles']
        const paths = Object.keys(body.paths)
        for (const each of [`/${own}`, `/${own}/{id}`, `/${own}/{id}/history`, '/batch', '/changes'])
          expect([path, paths]).toEqual([path, expect.arrayContaining([each])])
        expect(paths.filter((each) => each.startsWith(`/${other}`))).toEqual([])
      }
    }
    expect((await anonymous('GET', '/openapi.json')).body.info.version).toBe(v3)
    expect((await anonymous('GET', '/docs')).text).toContain('/openapi.json')
  },
}
