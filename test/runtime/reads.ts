import { expect } from 'bun:test'
import { type Chapter, refusalOf, tagOf, tokenOf } from './world.ts'

export const reads: Chapter = {
  async 'a record is read as its write answered it, with its ETag, its version of the API and a position'({
    service,
    unique,
  }) {
    const made = await service('POST', '/users', { body: { handle: unique(), name: 'Ada' } })
    const read = await service('GET', `/users/${made.body.id}`)
    expect([read.status, read.text, tagOf(read)]).toEqual([200, made.text, '"1-v3"'])
    expect(read.body).toMatchObject({ version: 1, name: 'Ada', homepage: null, postCount: 0, wordCount: 0 })
    const named = ['content-type', 'api-version', 'cache-control', 'x-content-type-options']
    expect(named.map((name) => read.headers.get(name))).toEqual([
      ...['application/json', '2026-11-01', 'private, no-cache', 'nosniff'],
    ])
    expect(read.headers.get('vary')).toBe('Authorization, API-Version, Origin')
    expect(tokenOf(read)).toMatch(/^[a-z0-9]+\.\d+\.[\w-]{12}$/)
  },

  async 'a record that its reader has is answered 304 and no body, by its tag alone, among others, weak, or by *'({
    service,
    newUser,
  }) {
    const { id } = await newUser()
    for (const tags of ['"1-v3"', '"x", "1-v3"', 'W/"1-v3"', '*']) {
      const answer = await service('GET', `/users/${id}`, { headers: { 'If-None-Match': tags } })
      expect([tags, answer.status, answer.text, tagOf(answer)]).toEqual([tags, 304, '', '"1-v3"'])
      expect(answer.headers.has('consistency-token')).toBe(true)
    }
    await service('PATCH', `/users/${id}`, { body: { name: 'Ada L.' } })
    const changed = await service('GET', `/users/${id}`, { headers: { 'If-None-Match': '"1-v3"' } })
    expect([changed.status, tagOf(changed), changed.body.name]).toEqual([200, '"2-v3"', 'Ada L.'])
  },

  async 'HEAD answers as GET does, without the body'({ service, newUser, newTag }) {
    const { id } = await newUser()
    await newTag()
    const lasting = ['etag', 'content-type', 'consistency-token', 'api-version', 'cache-control', 'vary', 'link']
    for (const path of [`/users/${id}`, '/tags?limit=1', `/users/${id}/history`, '/users/none', '/nothing']) {
      let [get, head] = [await service('GET', path), await service('HEAD', path)]
      // Between the two the log may have come further, with what read models write.
      for (; tokenOf(get) !== tokenOf(head); head = await service('HEAD', path)) get = await service('GET', path)
      expect([path, head.status, head.text]).toEqual([path, get.status, ''])
      expect([path, ...lasting.map((name) => head.headers.get(name))]).toEqual([
        ...[path, ...lasting.map((name) => get.headers.get(name))],
      ])
    }
  },

  async 'fields leaves out all others, in records and in lists'({ service, newPost }) {
    const { id, slug } = await newPost({ words: 7 })
    expect((await service('GET', `/posts/${id}?fields=words,slug`)).body).toEqual({ slug, words: 7 })
    expect((await service('GET', `/posts?slug=${slug}&fields=id`)).body.data).toEqual([{ id }])
  },

  async 'includes come nested, each with its own limit, order and fields'({ service, newPost, newUser, newTag }) {
    const post = await newPost()
    const [reader, tag] = [await newUser({ name: 'Reader' }), await newTag()]
    for (const body of ['first', 'second', 'third'])
      await service('POST', '/comments', { body: { postId: post.id, authorId: reader.id, body } })
    await service('POST', '/postTags', { body: { postId: post.id, tagId: tag.id } })
    const include =
      'author(fields:name),comments(limit:2,sort:-id,fields:body).author(fields:name),tags(fields:name).posts(fields:id)'
    const expected = {
      slug: post.slug,
      author: { name: 'Ada Lovelace' },
      comments: ['third', 'second'].map((body) => ({ body, author: { name: 'Reader' } })),
      tags: [{ name: tag.name, posts: [{ id: post.id }] }],
    }
    const one = await service('GET', `/posts/${post.id}?fields=slug&include=${include}`)
    expect(one.body).toEqual(expected)
    expect(tagOf(one)).toMatch(/^"\d+\.\d+-v3"$/)
    const list = await service('GET', `/posts?slug=${post.slug}&fields=slug&include=${include}`)
    expect(list.body.data).toEqual([expected])
  },

  async 'what is not there is 404, and an id that is none is 400'({ service }) {
    const id = Bun.randomUUIDv7()
    for (const path of [`/users/${id}`, `/users/${id}/history`, `/posts/${id}?include=author`])
      expect(refusalOf(await service('GET', path))).toEqual([404, 'not-found'])
    for (const text of ['1', 'none', id.toUpperCase(), crypto.randomUUID(), `${id}%00`])
      expect([text, refusalOf(await service('GET', `/users/${text}`))[1]]).toEqual([text, 'invalid-id'])
  },

  async 'a history has every change of a record, the newest first, page by page, and outlives the record'({
    service,
    newTag,
    unique,
  }) {
    const { id, name } = await newTag()
    const path = `/tags/${id}`
    const patched = await service('PATCH', path, { body: { name: unique() }, headers: { 'X-Request-Id': 'rename' } })
    expect((await service('DELETE', path)).status).toBe(204)
    const first = await service('GET', `${path}/history?limit=2`)
    const rest = await service('GET', `${path}/history?limit=2&after=${first.body.next}`)
    const changes = [...first.body.data, ...rest.body.data]
    const told = changes.map(({ operation, version, changed }) => [operation, version, changed])
    expect(told).toEqual([
      ['delete', 3, null],
      ['update', 2, ['name']],
      ['create', 1, null],
    ])
    expect([changes[1].record, changes[1].request, rest.body.next]).toEqual([patched.body, 'rename', null])
    expect([changes[2].record.name, changes[2].actor.startsWith('key:')]).toEqual([name, true])
  },

  async 'records and lists are read as they were, at a position and at a time'({ service, newTag, unique }) {
    const tag = await newTag()
    const path = `/tags/${tag.id}`
    const then = await service('GET', path)
    let [last, next] = [tag, tag]
    while (next.updatedAt === tag.updatedAt) {
      last = next
      next = (await service('PATCH', path, { body: { name: unique() } })).body
    }
    const past = await service('GET', `${path}?as-of=${tokenOf(then)}`)
    expect([past.status, past.text, tagOf(past), tokenOf(past)]).toEqual([200, then.text, '"1-v3"', tokenOf(then)])
    expect((await service('GET', `${path}?as-of=${tag.updatedAt}`)).body).toEqual(last)
    const list = await service('GET', `/tags?name=${tag.name}&as-of=${tokenOf(then)}`)
    expect(list.body.data).toEqual([then.body])
    expect((await service('GET', `/tags?name=${tag.name}`)).body.data).toEqual([])
    expect((await service('GET', `${path}?as-of=2020-01-01`)).status).toBe(404)
  },

  async 'a read model is read as a resource is, once it has followed, and takes no write'({ service, newPost }) {
    const position = tokenOf(await service('GET', '/authorActivity?limit=1', { headers: { Consistency: 'strong' } }))
    const { authorId } = await newPost({ words: 7 })
    const path = '/changes?resource=authorActivity&wait=25&after='
    let page = await service('GET', path + position)
    const isOf = ({ record }: { record: { authorId: string } }) => record.authorId === authorId
    while (page.body.data.length > 0 && !page.body.data.some(isOf)) page = await service('GET', path + page.body.next)
    const headers = { 'Consistency-Token': tokenOf(page) }
    const list = await service('GET', `/authorActivity?authorId=${authorId}&include=author(fields:name)`, { headers })
    const [row] = list.body.data
    expect(row).toMatchObject({ posts: 1, words: 7, comments: 0, author: { name: 'Ada Lovelace' } })
    expect((await service('GET', `/authorActivity/${row.id}`, { headers })).status).toBe(200)
    for (const [method, at] of [
      ['POST', '/authorActivity'],
      ['PUT', `/authorActivity/${row.id}`],
      ['PATCH', `/authorActivity/${row.id}`],
      ['DELETE', `/authorActivity/${row.id}`],
    ] as const) {
      const refused = await service(method, at, { body: {} })
      expect([method, refused.status, refused.headers.get('allow')]).toEqual([method, 405, 'GET, HEAD, OPTIONS'])
    }
  },

  async 'public records need no key, and a draft is seen by its author, by editors and by nobody else'({
    as,
    anonymous,
    newUser,
    newPost,
  }) {
    const [author, other] = [await newUser(), await newUser()]
    const draft = await newPost({ authorId: author.id, status: 'draft' })
    const post = await newPost({ authorId: author.id })
    const scopes = ['read', 'write', 'editor']
    const callers = {
      anonymous,
      author: await as({ subject: author.id }),
      other: await as({ subject: other.id }),
      editor: await as({ subject: other.id, scopes }),
    }
    for (const [name, ask] of Object.entries(callers)) {
      const seesAll = name === 'author' || name === 'editor'
      const statuses = [draft, post].map(async ({ id }) => (await ask('GET', `/posts/${id}`)).status)
      const list = await ask('GET', `/posts?authorId=${author.id}&sort=createdAt&count=exact`)
      expect([name, ...(await Promise.all(statuses)), list.body.count]).toEqual([
        ...[name, seesAll ? 200 : 404, 200, seesAll ? 2 : 1],
      ])
      expect(list.body.data.map(({ id }: { id: string }) => id)).toEqual(seesAll ? [draft.id, post.id] : [post.id])
      const included = await ask('GET', `/users/${author.id}?include=posts(fields:id)`)
      expect([name, included.body.posts.length]).toEqual([name, seesAll ? 2 : 1])
    }
    expect((await anonymous('GET', `/posts/${post.id}`)).headers.get('cache-control')).toBe('public, no-cache')
  },

  async 'a URL that is asked for again and again is answered to each caller and version as to nobody else'({
    as,
    key,
    outside,
    anonymous,
    newPost,
  }) {
    const { authorId } = await newPost()
    await newPost({ authorId, status: 'draft' })
    const path = `/posts?authorId=${authorId}&count=exact`
    const old = { headers: { 'API-Version': '2026-07-01' } }
    const [editor, pinned] = [await as({ scopes: ['read', 'editor'] }), await as({ version: '2026-07-01' })]
    const other = await as({ tenant: 'other' })
    const featured = false
    for (let n = 0; n < 5; n++) {
      const answers = [
        [await editor('GET', path), 2, undefined],
        [await pinned('GET', path), 2, featured],
        [await editor('GET', path, old), 2, featured],
        [await anonymous('GET', path), 1, undefined],
        [await anonymous('GET', path, old), 1, featured],
        [await other('GET', path), 0, undefined],
      ] as const
      for (const [i, [{ body }, count, shown]] of answers.entries())
        expect([n, i, body.count, body.data.length, body.data[0]?.featured]).toEqual([n, i, count, count, shown])
    }
    const wrong = await outside(`${await key()}x`)('GET', path)
    expect(wrong.status).toBe(401)
  },
}
