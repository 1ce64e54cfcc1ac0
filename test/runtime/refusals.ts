import { expect } from 'bun:test'
import { type Chapter, refusalOf, type Shown } from './world.ts'

const mebibyte = 1_048_576

export const refusals: Chapter = {
  async 'a body that is no JSON of this API is 400 and says why, and nothing of it is done'({ service, unique }) {
    const handle = unique()
    const user = (more: string) => `{"handle":"${handle}","name":"Ada"${more}`
    const cases: [code: string, body: string | Uint8Array][] = [
      ['syntax', user('')],
      ['syntax', user('},')],
      ['syntax', ''],
      ['syntax', `\ufeff${user('}')}`],
      ['duplicate-key', user(',"name":"Bob"}')],
      ['duplicate-key', user(',"n\\u0061me":"Bob"}')],
      ['depth', `${'['.repeat(33)}${']'.repeat(33)}`],
      ['depth', '{"a":'.repeat(50_000)],
      ['number', user(',"words":1e999}')],
      ['nul', user(',"homepage":"a\\u0000b"}')],
      ['surrogate', user(',"homepage":"\\ud800"}')],
      ['utf-8', new Uint8Array([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d])],
    ]
    for (const [code, body] of cases) {
      const answer = await service('POST', '/users', { body, headers: { 'Content-Type': 'application/json' } })
      expect([code, answer.status, answer.body.type, answer.body.errors?.[0]?.code]).toEqual([
        ...[code, 400, '/problems/invalid-json', code],
      ])
    }
    expect((await service('GET', `/users?handle=${handle}`)).body.data).toEqual([])
  },

  async 'a body of another type or encoding is 415 with what is taken'({ service, newTag }) {
    const { id } = await newTag()
    for (const [method, path, type, header, taken] of [
      ['POST', '/tags', 'text/plain', 'accept-post', 'application/json'],
      ['PUT', `/tags/${id}`, 'application/merge-patch+json', 'accept-post', 'application/json'],
      ['PATCH', `/tags/${id}`, 'application/json', 'accept-patch', 'application/merge-patch+json'],
      ['POST', '/batch', 'multipart/form-data; boundary=x', 'accept-post', 'application/json'],
    ] as const) {
      const answer = await service(method, path, { body: '{}', headers: { 'Content-Type': type } })
      expect([type, ...refusalOf(answer), answer.headers.get(header)]).toEqual([
        ...[type, 415, 'unsupported-media-type', taken],
      ])
    }
    const body = Bun.gzipSync(new TextEncoder().encode('{"name":"zipped"}'))
    const headers = { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }
    const zipped = await service('POST', '/tags', { body, headers })
    expect(refusalOf(zipped)).toEqual([415, 'unsupported-content-encoding'])
    const named = { 'Content-Type': 'Application/JSON; charset=utf-8' }
    expect((await service('POST', '/tags', { body: '{}', headers: named })).status).toBe(422)
  },

  async 'a body of a mebibyte is read, and one byte more is 413'({ service, unique }) {
    const bodyOf = (bytes: number) => {
      const start = `{"handle":"${unique()}","name":"Ada"`
      return `${start}${' '.repeat(bytes - start.length - 1)}}`
    }
    expect((await service('POST', '/users', { body: bodyOf(mebibyte) })).status).toBe(201)
    // What is not read of it leaves the connection of no further use, which some servers do not say.
    const headers = { Connection: 'close' }
    const refused = await service('POST', '/users', { body: bodyOf(mebibyte + 1), headers })
    expect(refusalOf(refused)).toEqual([413, 'content-too-large'])
  },

  async 'a parameter that is unknown, given twice or malformed is refused by its name'({ service, newTag }) {
    const { id } = await newTag()
    for (const [path, ...refusal] of [
      ['/posts?ghost=1', 422, 'unknown-field', 'ghost'],
      ['/posts?titel[eq]=x', 422, 'unknown-field', 'titel[eq]'],
      ['/posts?title=x', 422, 'unknown-field', 'title'],
      ['/posts?status=live', 422, 'invalid-value', 'status'],
      ['/posts?status[like]=x', 400, 'invalid-parameter', 'status[like]'],
      ['/posts?createdAt[gt]=yesterday', 422, 'invalid-value', 'createdAt[gt]'],
      ['/posts?sort=title', 422, 'unknown-field', 'sort'],
      ['/posts?fields=id,titel', 422, 'unknown-field', 'fields'],
      ['/posts?include=writer', 422, 'unknown-field', 'include'],
      ['/posts?include=author.posts.author.posts', 422, 'filter-too-complex', 'include'],
      ['/posts?limit=101', 400, 'invalid-parameter', 'limit'],
      ['/posts?limit=1&limit=2', 400, 'invalid-parameter', 'limit'],
      ['/posts?count=all', 400, 'invalid-parameter', 'count'],
      ['/posts?after=x&before=y', 400, 'invalid-parameter', 'before'],
      ['/posts?as-of=yesterday', 400, 'invalid-parameter', 'as-of'],
      ['/posts?include=author&as-of=2026-01-01', 400, 'invalid-parameter', 'include'],
      ['/posts?limit=0&sort=ghost', 400, 'invalid-parameter', 'limit', 'sort'],
      ['/posts?slug=%ff', 400, 'invalid-parameter'],
      ['/posts?slug=%00', 400, 'invalid-parameter'],
      [`/tags/${id}?limit=1`, 422, 'unknown-parameter', 'limit'],
      [`/tags/${id}/history?before=x`, 422, 'unknown-parameter', 'before'],
    ] as const)
      expect([path, ...refusalOf(await service('GET', path))]).toEqual([path, ...refusal])
    const write = await service('POST', '/tags?limit=1', { body: { name: 'x' } })
    expect(refusalOf(write)).toEqual([422, 'unknown-parameter'])
    const { body } = await service('GET', '/posts?titel=x')
    expect(body.errors[0].message).toContain('There is no "titel"')
  },

  async 'names that every object has are names like any other, and are unknown'({ service, newUser, unique }) {
    const { id: authorId } = await newUser()
    for (const name of ['__proto__', 'constructor', 'toString', 'then', 'length']) {
      for (const query of [`${name}=1`, `id[${name}]=1`, `sort=${name}`, `fields=${name}`, `include=${name}`]) {
        const { status } = await service('GET', `/posts?${query}`)
        expect([query, status === 422 || status === 400]).toEqual([query, true])
      }
      expect([name, (await service('GET', `/${name}`)).status]).toEqual([name, 404])
      const answer = await service('POST', '/users', { body: `{"handle":"x","name":"x","${name}":{"polluted":1}}` })
      expect(refusalOf(answer)).toEqual([422, 'unknown-field', `/${name}`])
    }
    const meta = '{"constructor":{"prototype":{"polluted":1}},"toString":"x","then":{"length":0}}'
    const post = (document: string) => `{"authorId":"${authorId}","slug":"${unique()}","title":"T","meta":${document}}`
    const made = await service('POST', '/posts', { body: post(meta) })
    expect((await service('GET', `/posts/${made.body.id}?fields=meta`)).text).toBe(`{"meta":${meta}}`)
    const lost = await service('POST', '/posts', { body: post('{"__proto__":{"polluted":1}}') })
    expect(refusalOf(lost)).toEqual([422, 'invalid-value', '/meta'])
    expect(({} as Shown).polluted).toBeUndefined()
  },

  async 'a cursor is taken as it was given, for its own query, by its own tenant, and not otherwise'({
    service,
    as,
    newTag,
    unique,
  }) {
    const { id, name } = await newTag()
    await newTag()
    const other = await as({ tenant: 'other' })
    for (const each of ['a', 'b']) await other('POST', '/tags', { body: { name: unique() + each } })
    const path = '/tags?sort=name&limit=1'
    const { next } = (await service('GET', path)).body
    const flipped = [0, 5, next.length - 30, next.length - 1].map((at) => {
      const char = next[at] === 'A' ? 'B' : 'A'
      return next.slice(0, at) + char + next.slice(at + 1)
    })
    for (const cursor of [...flipped, next.slice(1), next.slice(0, -1), `${next}A`, next + next, 'x', 'null', '%7B%7D'])
      for (const way of ['after', 'before'])
        expect([cursor, ...refusalOf(await service('GET', `${path}&${way}=${cursor}`))]).toEqual([
          ...[cursor, 400, 'invalid-cursor'],
        ])
    for (const query of ['/tags?sort=-name', '/tags?limit=1', `/tags?sort=name&name=${name}`, '/users?limit=1'])
      expect(refusalOf(await service('GET', `${query}&after=${next}`))).toEqual([400, 'invalid-cursor'])
    expect(refusalOf(await other('GET', `${path}&after=${next}`))).toEqual([400, 'invalid-cursor'])
    const history = await service('GET', `/tags/${id}/history?after=${next}`)
    expect(refusalOf(history)).toEqual([400, 'invalid-cursor'])
    expect((await service('GET', `/tags?sort=name&limit=2&fields=id&after=${next}`)).status).toBe(200)
  },
}
