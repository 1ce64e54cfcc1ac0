import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type Answer, type CallOptions, type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

let api: TestServer
beforeAll(async () => {
  api = await testServer()
})
afterAll(() => api.stop())

/** A client of one version: it knows no names but those of its own world, and chooses it by path, by header or not at all. */
interface Client {
  readonly alias: 'v1' | 'v2' | 'v3'
  readonly date: string
  readonly posts: string
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
}

const clients: readonly Client[] = [
  {
    ...{ alias: 'v1', date: '2026-03-01', posts: 'articles' },
    call: (method, path, options) => api.call(method, `/v1${path}`, options),
  },
  {
    ...{ alias: 'v2', date: '2026-07-01', posts: 'posts' },
    call: (method, path, { headers, ...options } = {}) =>
      api.call(method, path, { ...options, headers: { 'API-Version': '2026-07-01', ...headers } }),
  },
  {
    ...{ alias: 'v3', date: '2026-11-01', posts: 'posts' },
    call: (method, path, options) => api.call(method, path, options),
  },
]
const [first, second, third] = clients as [Client, Client, Client]

/** A user and a post of it as each version sends them. */
const userOf = {
  v1: (handle: string) => ({
    handle,
    givenName: 'Ada',
    familyName: 'King Lovelace',
    profile: { homepage: 'https://ada.example' },
  }),
  v2: (handle: string) => ({ handle, givenName: 'Ada', familyName: 'King Lovelace', homepage: 'https://ada.example' }),
  v3: (handle: string) => ({ handle, name: 'Ada King Lovelace', homepage: 'https://ada.example' }),
}
const postOf = {
  v1: (authorId: string, slug: string) => ({
    authorId,
    slug,
    title: 'On engines',
    content: 'Notes.',
    status: 'live',
    language: 'en',
    meta: { note: 'G' },
    featured: true,
  }),
  v2: (authorId: string, slug: string) => ({
    authorId,
    slug,
    title: 'On engines',
    body: 'Notes.',
    status: 'published',
    words: 0,
    meta: { note: 'G', language: 'en' },
    featured: true,
  }),
  v3: (authorId: string, slug: string) => ({
    authorId,
    slug,
    title: 'On engines',
    body: 'Notes.',
    status: 'published',
    words: 0,
    meta: { note: 'G', language: 'en' },
  }),
}
/** What there is of a post in each version beside what was sent. */
const kept = { authorName: 'Ada King Lovelace', commentCount: 0, lastCommentAt: null }
const shownOf = {
  v1: (authorId: string, slug: string) => ({ ...postOf.v1(authorId, slug), featured: false, ...kept }),
  v2: (authorId: string, slug: string) => ({ ...postOf.v2(authorId, slug), featured: false, ...kept }),
  v3: (authorId: string, slug: string) => ({ ...postOf.v3(authorId, slug), ...kept }),
}

let made = 0
const unique = () => `n-${made++}`

async function newUser(client: Client = third): Promise<Answer> {
  const answer = await client.call('POST', '/users', { body: userOf[client.alias](unique()) })
  expect(answer.status).toBe(201)
  return answer
}

async function newPost(client: Client, authorId: string, more: object = {}): Promise<Answer> {
  const body = { ...postOf[client.alias](authorId, unique()), ...more }
  const answer = await client.call('POST', `/${client.posts}`, { body })
  expect([answer.body, answer.status]).toEqual([answer.body, 201])
  return answer
}

const tagOf = (answer: Answer) => answer.headers.get('etag') ?? ''
const ids = (answer: Answer) => answer.body.data.map(({ id }: { id: string }) => id)
const slugs = (answer: Answer) => answer.body.data.map(({ slug }: { slug: string }) => slug)

describe('clients of three versions, all at once on one database', () => {
  test.each(clients)('what $alias creates is read by each in its own words', async (writer) => {
    const user = (await newUser(writer)).body
    const post = await newPost(writer, user.id)
    expect(post.headers.get('api-version')).toBe(writer.date)
    expect(post.headers.get('location')).toEndWith(`/${writer.posts}/${post.body.id}`)
    const { id, version, createdAt, updatedAt, slug } = post.body
    const identity = { id, version, createdAt, updatedAt }
    await Promise.all(
      clients.map(async (reader) => {
        const [answer, person] = await Promise.all([
          reader.call('GET', `/${reader.posts}/${id}`),
          reader.call('GET', `/users/${user.id}`),
        ])
        expect(answer.body).toEqual({ ...identity, ...shownOf[reader.alias](user.id, slug) })
        expect(answer.headers.get('api-version')).toBe(reader.date)
        expect(tagOf(answer)).toBe(`"${version}-${reader.alias}"`)
        expect(person.body).toMatchObject(userOf[reader.alias](user.handle))
      }),
    )
  })

  test('each replaces the record in turn, and what it does not know of stays', async () => {
    const author = (await newUser()).body.id
    const title = 'A title of more than a hundred and twenty characters, '.repeat(3)
    const { id, slug } = (
      await newPost(third, author, { title, words: 77, meta: { language: ['en', 'fr'], note: 'G' } })
    ).body
    const read = (await first.call('GET', `/articles/${id}`)).body
    expect(read).toMatchObject({ title: title.slice(0, 120), language: null, meta: { note: 'G' }, status: 'live' })
    expect(Object.keys(read)).not.toContain('words')
    // As it was read, with one thing changed: what the first version cuts short, cannot say or does not have is kept.
    const body = {
      authorId: author,
      slug,
      title: read.title,
      content: 'Changed.',
      status: 'live',
      language: null,
      meta: read.meta,
      featured: false,
    }
    expect((await first.call('PUT', `/articles/${id}`, { body })).status).toBe(200)
    const after = (await third.call('GET', `/posts/${id}`)).body
    expect(after).toMatchObject({ title, words: 77, body: 'Changed.', meta: { language: ['en', 'fr'], note: 'G' } })
    // A default of the second version is what it was there; the words that it leaves out are none.
    const { words: _, ...short } = postOf.v2(author, slug)
    expect((await second.call('PUT', `/posts/${id}`, { body: short })).body).toMatchObject({
      words: 0,
      title: 'On engines',
    })
    expect((await third.call('PUT', `/posts/${id}`, { body: { authorId: author, slug, title } })).body).toMatchObject({
      title,
      status: 'draft',
      meta: null,
    })
  })

  test('a merge patch of each touches what it names', async () => {
    const author = (await newUser()).body.id
    const { id } = (await newPost(third, author)).body
    await first.call('PATCH', `/articles/${id}`, { body: { language: 'fr' } })
    await second.call('PATCH', `/posts/${id}`, { body: { meta: { year: 1843 } } })
    await first.call('PATCH', `/articles/${id}`, { body: { status: 'draft', meta: { note: null }, featured: true } })
    await first.call('PATCH', `/users/${author}`, { body: { familyName: 'Byron' } })
    await first.call('PATCH', `/users/${author}`, { body: { profile: { homepage: null } } })
    expect((await third.call('GET', `/posts/${id}`)).body).toMatchObject({
      ...{ title: 'On engines', body: 'Notes.', status: 'draft', meta: { language: 'fr', year: 1843 } },
      authorName: 'Ada Byron',
    })
    expect((await second.call('PATCH', `/users/${author}`, { body: { familyName: null } })).body).toMatchObject({
      ...{ givenName: 'Ada', familyName: null, homepage: null },
    })
    expect((await third.call('GET', `/users/${author}`)).body.name).toBe('Ada')
  })

  test('each has its own defaults', async () => {
    const authorId = (await newUser()).body.id
    const statuses = await Promise.all(
      clients.map(async ({ call, posts }) => {
        const { body } = await call('POST', `/${posts}`, { body: { authorId, slug: unique(), title: 'Short' } })
        return (await third.call('GET', `/posts/${body.id}`)).body.status
      }),
    )
    expect(statuses).toEqual(['published', 'draft', 'draft'])
  })

  test('each filters, sorts and pages in its own names, and no cursor is good at another version', async () => {
    const author = (await newUser()).body.id
    const written: string[] = []
    for (const status of ['live', 'draft', 'live', 'archived', 'live'])
      written.push((await newPost(first, author, { status })).body.slug)
    const live = written.filter((_, i) => i % 2 === 0)
    const cursors: string[] = []
    for (const client of clients) {
      const shown = client.alias === 'v1' ? 'live' : 'published'
      const path = `/${client.posts}?authorId=${author}&status=${shown}&sort=createdAt&limit=2`
      const page = await client.call('GET', path)
      expect([slugs(page), page.body.data[0].status]).toEqual([live.slice(0, 2), shown])
      const rest = await client.call('GET', `${path}&after=${page.body.next}`)
      expect([slugs(rest), rest.body.next]).toEqual([live.slice(2), null])
      const link = /<([^>]+)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1] ?? ''
      const followed = await api.call('GET', link, { headers: { 'API-Version': client.date } })
      expect(slugs(followed)).toEqual(live.slice(2))
      for (const other of cursors) {
        const refused = await client.call('GET', `${path}&after=${other}`)
        expect([refused.status, refused.body.type]).toEqual([400, '/problems/invalid-cursor'])
      }
      cursors.push(page.body.next)
      const some = await client.call('GET', `/${client.posts}?authorId=${author}&status[in]=draft,archived&count=exact`)
      expect(some.body.count).toBe(2)
    }
  })

  test.each([
    ['v1', '/articles?status=published', 'status', 'expected one of draft, live, archived'],
    ['v1', '/articles?status[gt]=draft', 'status[gt]', '"status" takes eq, ne, in, null only'],
    ['v1', '/articles?words=1', 'words', 'There is no "words"'],
    ['v1', '/articles?sort=title', 'sort', '"title" cannot be sorted by'],
    ['v1', '/articles?language=en', 'language', '"language" cannot be filtered by'],
    ['v1', '/articles?include=author(fields:name)', 'include', 'There is no "name"'],
    ['v1', '/users?profile=x', 'profile', '"profile" cannot be filtered by'],
    ['v2', '/users?fields=name', 'fields', 'There is no "name"'],
    ['v3', '/posts?fields=featured', 'fields', 'There is no "featured"'],
  ])('a query of %s is judged by its names: %s', async (alias, path, parameter, message) => {
    const { status, body } = await api.call('GET', `/${alias}${path}`)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(body.errors).toHaveLength(1)
    expect(body.errors[0]).toMatchObject({ parameter, message: expect.stringContaining(message) })
  })

  test('includes are named and shaped by the version, through every relation', async () => {
    const author = (await newUser()).body.id
    const { id } = (await newPost(second, author)).body
    const tag = (await first.call('POST', '/tags', { body: { name: unique() } })).body
    expect(tag.articleCount).toBe(0)
    const pair = await first.call('POST', '/articleTags', { body: { articleId: id, tagId: tag.id } })
    expect(pair.body).toMatchObject({ articleId: id, tagId: tag.id })
    const comment = await second.call('POST', '/comments', {
      body: { postId: id, authorId: author, text: 'Hear, hear.' },
    })
    expect(comment.body.text).toBe('Hear, hear.')
    const old = await first.call(
      'GET',
      `/articles/${id}?fields=title&include=author(fields:givenName|profile),comments(fields:text|articleId),tags.articles(fields:content)`,
    )
    expect(old.body).toEqual({
      title: 'On engines',
      author: { givenName: 'Ada', profile: { homepage: 'https://ada.example' } },
      comments: [{ text: 'Hear, hear.', articleId: id }],
      tags: [{ ...tag, articleCount: 1, version: 2, updatedAt: expect.any(String), articles: [{ content: 'Notes.' }] }],
    })
    const young = await third.call(
      'GET',
      `/posts/${id}?fields=title&include=author(fields:name),comments(fields:body|postId),tags(fields:postCount)`,
    )
    expect(young.body).toEqual({
      ...{ title: 'On engines', author: { name: 'Ada King Lovelace' } },
      ...{ comments: [{ body: 'Hear, hear.', postId: id }], tags: [{ postCount: 1 }] },
    })
  })

  test.each(clients)(
    'a batch of $alias names what it makes with $ref, all or nothing',
    async ({ alias, call, posts }) => {
      const handle = unique()
      const slug = unique()
      const post = { ...postOf[alias]('', slug), authorId: { $ref: 'author' } }
      const commands = [
        { do: 'create', resource: 'users', as: 'author', body: userOf[alias](handle) },
        { do: 'create', resource: posts, as: 'post', body: post },
        { do: 'patch', resource: posts, id: { $ref: 'post' }, body: { title: 'Renamed' } },
      ]
      const { status, body } = await call('POST', '/batch', { body: { commands } })
      expect([body, status]).toEqual([body, 200])
      const [author, , patched] = body.results
      expect(body.results.map((each: { resource: string }) => each.resource)).toEqual(['users', posts, posts])
      expect(patched.record).toEqual({
        ...(await call('GET', `/${posts}/${patched.id}`)).body,
        ...shownOf[alias](author.id, slug),
        title: 'Renamed',
      })
      const undone = await call('POST', '/batch', {
        body: { commands: [{ ...commands[0], body: userOf[alias](`${handle}-2`) }, commands[0]] },
      })
      expect([undone.status, undone.body.errors[0].pointer]).toEqual([409, '/commands/1/body/handle'])
      expect((await call('GET', `/users?handle=${handle}-2`)).body.data).toEqual([])
    },
  )

  test('errors name what the caller sent', async () => {
    const author = (await newUser()).body
    const post = { authorId: author.id, slug: unique(), title: 'Short' }
    const long = 'y'.repeat(199)
    const cases: [Client, string, string, unknown, string[]][] = [
      [first, 'POST', '/articles', { ...post, content: 5, status: 'published' }, ['/content', '/status']],
      [first, 'POST', '/articles', { ...post, body: 'New word.' }, ['/body']],
      [first, 'POST', '/articles', { authorId: author.id, slug: 's' }, ['/title']],
      [first, 'POST', '/articles', { ...post, title: '🙂'.repeat(121) }, ['/title']],
      [first, 'POST', '/articles', { ...post, language: 5, meta: { language: 'en' } }, ['/meta', '/language']],
      [first, 'POST', '/articles', { ...post, featured: 'yes' }, ['/featured']],
      [
        first,
        'POST',
        '/users',
        { handle: 'h', givenName: 'A b', profile: { homepage: 'x' } },
        ['/givenName', '/profile/homepage'],
      ],
      [first, 'POST', '/users', { handle: 'h', givenName: '', profile: { web: 'x' } }, ['/givenName', '/profile/web']],
      [second, 'POST', '/users', { handle: unique(), givenName: '' }, ['/givenName']],
      [second, 'POST', '/users', { handle: unique(), givenName: 'A', familyName: 'y'.repeat(200) }, ['/givenName']],
      [second, 'PATCH', `/users/${author.id}`, { familyName: long }, ['/familyName']],
      [first, 'POST', '/users', { handle: author.handle, givenName: 'A' }, ['/handle']],
      [first, 'POST', '/comments', { articleId: Bun.randomUUIDv7(), authorId: author.id, text: 'x' }, ['/articleId']],
      [second, 'POST', '/comments', { postId: Bun.randomUUIDv7(), authorId: author.id, text: '' }, ['/text']],
    ]
    for (const [client, method, path, body, pointers] of cases) {
      const answer = await client.call(method, path, { body })
      const told = answer.body.errors?.map(({ pointer }: { pointer: string }) => pointer).toSorted()
      expect([path, body, answer.status >= 400 && answer.status < 500, told]).toEqual([
        path,
        body,
        true,
        pointers.toSorted(),
      ])
    }
    expect((await third.call('GET', `/users/${author.id}`)).body.name).toBe('Ada King Lovelace')
  })
})

describe('what a version is known by', () => {
  test('If-Match takes the tag of any version for the version of the record', async () => {
    const author = (await newUser()).body.id
    const post = await newPost(third, author)
    const { id } = post.body
    const read = await first.call('GET', `/articles/${id}`)
    const patch = (client: Client, tag: string) =>
      client.call('PATCH', `/${client.posts}/${id}`, { body: { title: 'Once' }, headers: { 'If-Match': tag } })
    const done = await patch(third, tagOf(read))
    expect([done.status, tagOf(done)]).toEqual([200, '"2-v3"'])
    const stale = await patch(first, tagOf(post))
    expect([stale.status, stale.body.type, tagOf(stale)]).toEqual([412, '/problems/precondition-failed', '"2-v1"'])
  })

  test('If-None-Match takes no tag of another version, of a record, of a list, or of a history', async () => {
    const author = (await newUser()).body.id
    const { id } = (await newPost(third, author)).body
    for (const path of [
      '/{posts}/{id}',
      '/{posts}/{id}?include=author',
      '/{posts}?sort=-createdAt',
      '/{posts}/{id}/history',
    ]) {
      const tags = await Promise.all(
        clients.map(async ({ call, posts }) =>
          tagOf(await call('GET', path.replace('{posts}', posts).replace('{id}', id))),
        ),
      )
      expect(new Set(tags).size).toBe(3)
      for (const [i, { call, posts }] of clients.entries()) {
        const place = path.replace('{posts}', posts).replace('{id}', id)
        const statuses = await Promise.all(
          tags.map(async (tag) => (await call('GET', place, { headers: { 'If-None-Match': tag } })).status),
        )
        expect([place, statuses]).toEqual([place, tags.map((_, j) => (i === j ? 304 : 200))])
      }
    }
  })

  test('a key replays at its own version, byte for byte, and at another it is another request', async () => {
    const body = { name: unique() }
    const headers = { 'Idempotency-Key': unique() }
    const once = await first.call('POST', '/tags', { body, headers })
    const again = await first.call('POST', '/tags', { body, headers })
    expect([again.status, again.text, again.headers.get('idempotency-replayed')]).toEqual([201, once.text, 'true'])
    expect(again.headers.get('etag')).toBe(tagOf(once))
    for (const other of [second, third]) {
      const refused = await other.call('POST', '/tags', { body, headers })
      expect([refused.status, refused.body.type]).toEqual([422, '/problems/idempotency-key-reused'])
    }
    expect((await third.call('GET', `/tags?name=${body.name}`)).body.data).toHaveLength(1)
  })

  test('a history tells each client of what it knows', async () => {
    const author = (await newUser()).body.id
    const { id } = (await newPost(first, author)).body
    await third.call('PATCH', `/posts/${id}`, { body: { words: 9 } })
    await third.call('PATCH', `/posts/${id}`, { body: { body: 'More.', status: 'archived' } })
    const old = (await first.call('GET', `/articles/${id}/history`)).body.data
    expect(old.map((each: { changed: string[] }) => each.changed?.toSorted() ?? null)).toEqual([
      ['content', 'status'],
      [],
      null,
    ])
    expect(
      old.map(({ record }: { record: { content: string; status: string } }) => [record.content, record.status]),
    ).toEqual([
      ['More.', 'archived'],
      ['Notes.', 'live'],
      ['Notes.', 'live'],
    ])
    const young = (await third.call('GET', `/posts/${id}/history?limit=2`)).body
    expect(young.data.map(({ record }: { record: { words: number } }) => record.words)).toEqual([9, 9])
    const page = `?limit=2&after=${young.next}`
    expect((await third.call('GET', `/posts/${id}/history${page}`)).body.data).toHaveLength(1)
    expect((await second.call('GET', `/posts/${id}/history${page}`)).body.type).toBe('/problems/invalid-cursor')
  })
})

describe('the version of a request', () => {
  const get = (path: string, headers: Record<string, string> = {}) => api.call('GET', path, { headers })

  test.each([
    ['the alias in the path', '/v1/articles', {}, '2026-03-01'],
    ['the date in the header', '/articles', { 'API-Version': '2026-03-01' }, '2026-03-01'],
    ['the alias in the header', '/articles', { 'API-Version': 'v1' }, '2026-03-01'],
    ['both, where they agree', '/v2/posts', { 'API-Version': '2026-07-01' }, '2026-07-01'],
    ['the default of the model', '/posts', {}, '2026-11-01'],
  ])('is that of %s', async (_, path, headers, date) => {
    const answer = await get(path, headers)
    expect([answer.status, answer.headers.get('api-version')]).toEqual([200, date])
    expect(answer.headers.get('vary')).toContain('API-Version')
  })

  test.each([
    ['that is unknown', '/posts', { 'API-Version': '2026-07-02' }],
    ['that is no version', '/posts', { 'API-Version': 'latest' }],
    ['in the path and another in the header', '/v2/posts', { 'API-Version': '2026-11-01' }],
    ['in the path and an unknown one in the header', '/v2/posts', { 'API-Version': 'v9' }],
  ])('%s is refused', async (_, path, headers) => {
    for (const method of ['GET', 'POST']) {
      const answer = await api.call(method, path, { headers, ...(method === 'POST' ? { body: {} } : {}) })
      expect([answer.status, answer.body.type]).toEqual([400, '/problems/unknown-version'])
    }
  })

  test('that is unknown is answered with those that there are', async () => {
    const { body } = await get('/posts', { 'API-Version': 'v9' })
    expect(body.detail).toBe('There is no such API version; there are 2026-03-01, 2026-07-01, 2026-11-01.')
    expect(body.errors[0].header).toBe('API-Version')
  })

  test('decides which names there are: a resource of another version is not found', async () => {
    for (const [path, headers] of [
      ['/v2/articles', {}],
      ['/v1/posts', {}],
      ['/articles', {}],
      ['/posts', { 'API-Version': 'v1' }],
      ['/v1/postTags', {}],
    ] as const)
      expect([path, (await get(path, headers)).status]).toEqual([path, 404])
  })

  test('is told apart by what is kept in memory', async () => {
    const { id } = (await newPost(third, (await newUser()).body.id)).body
    for (let i = 0; i < 3; i++) {
      const answers = await Promise.all(clients.map(({ call, posts }) => call('GET', `/${posts}/${id}`)))
      expect(answers.map(({ body }) => [body.status, body.content, body.featured])).toEqual([
        ['live', 'Notes.', false],
        ['published', undefined, false],
        ['published', undefined, undefined],
      ])
      const lists = await Promise.all(clients.map(({ call, posts }) => call('GET', `/${posts}?id=${id}`)))
      expect(lists.map(ids)).toEqual([[id], [id], [id]])
    }
  })
})
