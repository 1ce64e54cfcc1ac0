import { expect } from 'bun:test'
import { type Chapter, refusalOf, type Shown, tagOf, tokenOf } from './world.ts'

export const writes: Chapter = {
  async 'a create is 201 with the record, where it is, its ETag and its position'({ service, unique }) {
    const handle = unique()
    const made = await service('POST', '/users', { body: { handle, name: 'Ada', homepage: ' https://a.example/ ' } })
    const { id, createdAt, updatedAt, ...record } = made.body
    expect([made.status, made.headers.get('location'), tagOf(made)]).toEqual([201, `/users/${id}`, '"1-v3"'])
    const derived = { postCount: 0, wordCount: 0 }
    expect(record).toEqual({ version: 1, handle, name: 'Ada', homepage: 'https://a.example/', ...derived })
    expect([createdAt, Number.isNaN(Date.parse(createdAt))]).toEqual([updatedAt, false])
    expect([tokenOf(made) !== '', made.headers.get('cache-control')]).toEqual([true, 'no-store'])
  },

  async 'a PUT creates where nothing may be, replaces what is at the version that it names, and leaves nothing over'({
    service,
    unique,
  }) {
    const path = `/users/${Bun.randomUUIDv7()}`
    const body = { handle: unique(), name: 'Ada', homepage: 'https://a.example/' }
    const absent = { 'If-None-Match': '*' }
    const made = await service('PUT', path, { body, headers: absent })
    expect([made.status, made.headers.get('location'), tagOf(made)]).toEqual([201, path, '"1-v3"'])
    const again = await service('PUT', path, { body, headers: absent })
    expect([...refusalOf(again), tagOf(again)]).toEqual([412, 'precondition-failed', '"1-v3"'])
    const { homepage: _, ...short } = body
    const replaced = await service('PUT', path, { body: short, headers: { 'If-Match': tagOf(made) } })
    expect([replaced.status, replaced.body.homepage, tagOf(replaced)]).toEqual([200, null, '"2-v3"'])
    expect((await service('PUT', path, { body })).status).toBe(200)
    expect((await service('GET', path)).body).toMatchObject({ ...body, version: 3 })
  },

  async 'a merge patch changes what it names: null takes a value away, documents are merged, all else stays'({
    service,
    newPost,
  }) {
    const { id, slug } = await newPost({ words: 7, meta: { language: 'en', note: { by: 'G', year: 1843 } } })
    const body = { title: 'Changed', meta: { language: null, note: { year: 1844 } } }
    const patched = await service('PATCH', `/posts/${id}`, { body })
    const expected = { slug, words: 7, title: 'Changed', meta: { note: { by: 'G', year: 1844 } }, version: 2 }
    expect([patched.status, patched.body]).toEqual([200, expect.objectContaining(expected)])
    expect((await service('PATCH', `/posts/${id}`, { body: { meta: null } })).body.meta).toBeNull()
  },

  async 'a stale condition is 412 with the ETag that there is, for every kind of write, and changes nothing'({
    service,
    newUser,
  }) {
    const user = await newUser()
    const path = `/users/${user.id}`
    const { body } = await service('PATCH', path, { body: { name: 'Second' }, headers: { 'If-Match': '"1-v3"' } })
    const whole = { handle: user.handle, name: 'No' }
    for (const [method, given] of [
      ['PATCH', { name: 'No' }],
      ['PUT', whole],
      ['DELETE', undefined],
    ] as const) {
      for (const tag of ['"1"', '"1-v3"', 'W/"2-v3"', '"of-another"']) {
        const stale = await service(method, path, { body: given, headers: { 'If-Match': tag } })
        expect([method, tag, ...refusalOf(stale), tagOf(stale)]).toEqual([
          ...[method, tag, 412, 'precondition-failed', '"2-v3"'],
        ])
      }
    }
    expect((await service('GET', path)).body).toEqual(body)
    for (const tag of ['"1-v3", "2-v3"', '*'])
      expect((await service('PATCH', path, { body: {}, headers: { 'If-Match': tag } })).status).toBe(200)
    const missing = `/users/${Bun.randomUUIDv7()}`
    const wanted = await service('PUT', missing, { body: whole, headers: { 'If-Match': '*' } })
    expect(refusalOf(wanted)).toEqual([412, 'precondition-failed'])
  },

  async 'a condition that means nothing where it stands is 400'({ service, newUser, unique }) {
    const { id } = await newUser()
    const body = { handle: unique(), name: 'Ada' }
    const cases: [string, string, Record<string, string>, string][] = [
      ['POST', '/users', { 'If-Match': '"1"' }, 'If-Match'],
      ['POST', '/users', { 'If-None-Match': '*' }, 'If-None-Match'],
      ['PUT', `/users/${id}`, { 'If-None-Match': '"1"' }, 'If-None-Match'],
      ['PUT', `/users/${id}`, { 'If-Match': '"1"', 'If-None-Match': '*' }, 'If-None-Match'],
      ['PUT', `/users/${id}`, { 'If-Match': '1' }, 'If-Match'],
      ['PUT', `/users/${id}`, { 'If-Match': '"a space"' }, 'If-Match'],
    ]
    for (const [method, path, headers, where] of cases)
      expect(refusalOf(await service(method, path, { body, headers }))).toEqual([400, 'invalid-header', where])
    expect((await service('GET', `/users?handle=${body.handle}`)).body.data).toEqual([])
  },

  async 'a deletion is 204, then there is nothing; under the same id a record goes on at the next version'({
    service,
    newTag,
    unique,
  }) {
    const path = `/tags/${(await newTag()).id}`
    const gone = await service('DELETE', path, { headers: { 'If-Match': '"1-v3"' } })
    expect([gone.status, gone.text, tokenOf(gone) !== '']).toEqual([204, '', true])
    expect((await service('GET', path)).status).toBe(404)
    expect((await service('DELETE', path)).status).toBe(404)
    const back = await service('PUT', path, { body: { name: unique() } })
    expect([back.status, back.body.version]).toEqual([201, 3])
  },

  async 'a batch commits whole, its records naming one another'({ service, unique }) {
    const [handle, slug, name] = [unique(), unique(), unique()]
    const post = { authorId: { $ref: 'author' }, slug, title: 'Of a batch', status: 'published' }
    const commands = [
      { do: 'create', resource: 'users', as: 'author', body: { handle, name: 'Ada' } },
      { do: 'create', resource: 'posts', as: 'post', body: post },
      { do: 'create', resource: 'tags', as: 'tag', body: { name } },
      { do: 'create', resource: 'postTags', body: { postId: { $ref: 'post' }, tagId: { $ref: 'tag' } } },
      { do: 'patch', resource: 'posts', id: { $ref: 'post' }, ifVersion: 1, body: { title: 'Renamed' } },
    ]
    const { status, body } = await service('POST', '/batch', { body: { commands } })
    expect([status, body.results?.map((each: { status: number }) => each.status)]).toEqual([
      ...[200, [201, 201, 201, 201, 200]],
    ])
    const { id, record } = body.results[4]
    expect((await service('GET', `/posts/${id}`)).body).toEqual(record)
    const shown = await service('GET', `/posts/${id}?fields=title&include=author(fields:handle),tags(fields:name)`)
    expect(shown.body).toEqual({ title: 'Renamed', author: { handle }, tags: [{ name }] })
  },

  async 'a batch of which one command is refused leaves nothing, and says which it was'({ service, unique }) {
    const handle = unique()
    const create = { do: 'create', resource: 'users', body: { handle, name: 'Ada' } }
    const missing = Bun.randomUUIDv7()
    const cases: [object, ...ReturnType<typeof refusalOf>][] = [
      [create, 409, 'already-exists', '/commands/1/body/handle'],
      [{ do: 'delete', resource: 'tags', id: missing }, 404, 'not-found', '/commands/1'],
      [{ ...create, body: { handle: unique() } }, 422, 'invalid-value', '/commands/1/body/name'],
      [{ ...create, resource: 'ghosts' }, 422, 'invalid-command', '/commands/1/resource'],
      [
        { do: 'replace', resource: 'tags', id: missing, ifVersion: 1, body: { name: 'x' } },
        412,
        'precondition-failed',
        '/commands/1',
      ],
    ]
    for (const [command, ...refusal] of cases) {
      const answer = await service('POST', '/batch', { body: { commands: [create, command] } })
      expect(refusalOf(answer)).toEqual(refusal)
    }
    const strong = { headers: { Consistency: 'strong' } }
    expect((await service('GET', `/users?handle=${handle}`, strong)).body.data).toEqual([])
  },

  async 'derived columns follow in the same write, and are not to be written'({ service, newUser, newPost }) {
    const author = await newUser()
    const post = await newPost({ authorId: author.id, words: 7 })
    const shown = async (path: string): Promise<Shown> => (await service('GET', path)).body
    expect([post.authorName, post.commentCount, post.lastCommentAt]).toEqual(['Ada Lovelace', 0, null])
    const body = { postId: post.id, authorId: author.id, body: 'Yes.' }
    const comment = (await service('POST', '/comments', { body })).body
    expect(await shown(`/posts/${post.id}`)).toMatchObject({ commentCount: 1, lastCommentAt: comment.createdAt })
    expect(await shown(`/users/${author.id}`)).toMatchObject({ postCount: 1, wordCount: 7, version: 2 })
    await service('PATCH', `/users/${author.id}`, { body: { name: 'Augusta' } })
    for (const path of [`/posts/${post.id}`, `/comments/${comment.id}`])
      expect((await shown(path)).authorName).toBe('Augusta')
    await service('DELETE', `/comments/${comment.id}`)
    expect(await shown(`/posts/${post.id}`)).toMatchObject({ commentCount: 0, lastCommentAt: null })
    const forged = await service('PATCH', `/posts/${post.id}`, { body: { commentCount: 99 } })
    expect([forged.status, forged.body.errors[0].pointer]).toEqual([422, '/commentCount'])
  },

  async 'every fault of a body is named by its pointer, all at once'({ service, newUser, unique }) {
    const { id: authorId } = await newUser()
    const post = { authorId, slug: unique(), title: 'T' }
    const cases: [string, unknown, ...ReturnType<typeof refusalOf>][] = [
      [
        '/posts',
        { ...post, title: '', words: -1, status: 'live' },
        422,
        'invalid-value',
        '/status',
        '/title',
        '/words',
      ],
      ['/posts', { authorId }, 422, 'invalid-value', '/slug', '/title'],
      ['/posts', { ...post, titel: 'T' }, 422, 'unknown-field', '/titel'],
      ['/posts', { ...post, title: '🙂'.repeat(301) }, 422, 'invalid-value', '/title'],
      ['/posts', { ...post, authorId: 'x' }, 422, 'invalid-value', '/authorId'],
      ['/posts', { ...post, words: 1.5, meta: [] }, 422, 'invalid-value', '/meta', '/words'],
      ['/users', { handle: 'No', name: 5, homepage: 'ftp://x' }, 422, 'invalid-value', '/handle', '/homepage', '/name'],
      ['/users', [], 422, 'invalid-value', ''],
    ]
    for (const [path, body, ...refusal] of cases)
      expect(refusalOf(await service('POST', path, { body }))).toEqual(refusal)
    expect((await service('GET', `/posts?slug=${post.slug}`)).body.data).toEqual([])
  },

  async 'a value that is taken, a reference to nothing and the end of what others refer to are refused by name'({
    service,
    newUser,
    newPost,
    unique,
  }) {
    const [user, post] = [await newUser(), await newPost()]
    const taken = { handle: user.handle, name: 'Other' }
    expect(refusalOf(await service('POST', '/users', { body: taken }))).toEqual([409, 'already-exists', '/handle'])
    const other = { body: { handle: user.handle } }
    const patched = await service('PATCH', `/users/${post.authorId}`, other)
    expect(refusalOf(patched)).toEqual([409, 'already-exists', '/handle'])
    const body = { authorId: Bun.randomUUIDv7(), slug: unique(), title: 'T' }
    expect(refusalOf(await service('POST', '/posts', { body }))).toEqual([422, 'invalid-value', '/authorId'])
    expect(refusalOf(await service('DELETE', `/users/${post.authorId}`))).toEqual([409, 'still-referenced'])
  },

  async 'who acts for a user writes what is theirs, and nothing of others'({ as, newUser, newPost, unique }) {
    const [author, other] = [await newUser(), await newUser()]
    const own = await newPost({ authorId: author.id })
    const foreign = await newPost({ authorId: other.id })
    const ask = await as({ subject: author.id })
    const title = { body: { title: 'Mine' } }
    expect((await ask('PATCH', `/posts/${own.id}`, title)).status).toBe(200)
    expect(refusalOf(await ask('PATCH', `/posts/${foreign.id}`, title))).toEqual([403, 'forbidden'])
    expect(refusalOf(await ask('DELETE', `/posts/${foreign.id}`))).toEqual([403, 'forbidden'])
    const body = { authorId: other.id, slug: unique(), title: 'Theirs' }
    expect(refusalOf(await ask('POST', '/posts', { body }))[0]).toBe(403)
    expect(refusalOf(await ask('POST', '/tags', { body: { name: unique() } }))[0]).toBe(403)
  },
}
