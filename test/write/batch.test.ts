import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { limits } from '../../src/schema/limits.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(async () => {
  expect(complaintsAbout(server.databaseFile, model)).toEqual([])
  await server.stop()
})

const nobody = '0190ffff-0000-7000-8000-000000000000'
const batch = (commands: unknown, options: Parameters<TestServer['call']>[2] = {}): Promise<Answer> =>
  server.call('POST', '/batch', { ...options, body: { commands } })
const position = async (): Promise<number> => (await server.call('GET', '/readyz')).body.position
const pointers = (answer: Answer): string[] => answer.body.errors.map((each: { pointer: string }) => each.pointer)

let made = 0
const newTag = (): { do: string; resource: string; body: { name: string } } => ({
  do: 'create',
  resource: 'tags',
  body: { name: `tag ${made++}` },
})
const newUser = (as?: string) => ({
  do: 'create',
  resource: 'users',
  ...(as && { as }),
  body: { handle: `user${made++}`, name: 'Ada' },
})
const newPost = (authorId: unknown, as?: string) => ({
  do: 'create',
  resource: 'posts',
  ...(as && { as }),
  body: { authorId, slug: `slug-${made++}`, title: 'A post' },
})

describe('a batch', () => {
  test('is answered with the result of each command, in order, as one step of the log after the other', async () => {
    const id = Bun.randomUUIDv7()
    const before = await position()
    const answer = await batch([
      newUser(),
      { do: 'replace', resource: 'tags', id, body: { name: `replaced ${made++}` } },
      { do: 'replace', resource: 'tags', id, body: { name: `replaced ${made++}` } },
      { do: 'patch', resource: 'tags', id, body: { name: `patched ${made++}` } },
      { do: 'delete', resource: 'tags', id },
    ])
    expect(answer.status).toBe(200)
    const { results } = answer.body
    expect(results.map((each: { status: number }) => each.status)).toEqual([201, 201, 200, 200, 204])
    expect(results.map((each: { version: number }) => each.version)).toEqual([1, 1, 2, 3, null])
    expect(results[4]).toEqual({ status: 204, resource: 'tags', id, version: null, record: null })
    expect(results[0].record).toEqual((await server.call('GET', `/users/${results[0].id}`)).body)
    expect(await position()).toBe(before + 5)
    const history = (await server.call('GET', `/tags/${id}/history`)).body.data
    expect(history.map((each: { seq: number }) => each.seq)).toEqual([before + 5, before + 4, before + 3, before + 2])
  })

  test('refers to ids that earlier commands made, across resources, wherever an id may stand', async () => {
    const answer = await batch([
      newUser('ada'),
      newPost({ $ref: 'ada' }, 'post'),
      {
        do: 'create',
        resource: 'comments',
        body: { postId: { $ref: 'post' }, authorId: { $ref: 'ada' }, body: 'Mine.' },
      },
      { ...newTag(), as: 'tag' },
      { do: 'create', resource: 'postTags', body: { postId: { $ref: 'post' }, tagId: { $ref: 'tag' } } },
      { do: 'patch', resource: 'posts', id: { $ref: 'post' }, body: { meta: { kept: { $ref: 'ada' } } }, as: 'again' },
      { do: 'delete', resource: 'tags', id: { $ref: 'tag' } },
      { do: 'patch', resource: 'posts', id: { $ref: 'again' }, body: { title: 'Named twice' } },
    ])
    expect([answer.status, answer.body.detail]).toEqual([200, undefined])
    const [user, post, comment, , pair] = answer.body.results
    const { body } = await server.call('GET', `/posts/${post.id}?include=author,comments,tags`)
    expect([body.authorId, body.author.id, body.comments[0].id]).toEqual([user.id, user.id, comment.id])
    // A reference stands where an id may; inside a document it is a document.
    expect([body.title, body.meta, body.tags]).toEqual(['Named twice', { kept: { $ref: 'ada' } }, []])
    expect((await server.call('GET', `/postTags/${pair.id}`)).status).toBe(404)
  })

  test('takes as many commands as the limit and not one more', async () => {
    const many = Array.from({ length: limits.batchCommandsMax }, newTag)
    const answer = await batch(many)
    expect([answer.status, answer.body.results.length]).toEqual([200, limits.batchCommandsMax])
    const before = await position()
    const refused = await batch([...Array.from({ length: limits.batchCommandsMax }, newTag), newTag()])
    expect([refused.status, refused.body.type]).toEqual([422, '/problems/invalid-command'])
    expect(await position()).toBe(before)
  })

  test('with a key is done once, and answered again to the byte', async () => {
    const commands = [newUser('ada'), newPost({ $ref: 'ada' }), newTag()]
    const headers = { 'Idempotency-Key': `batch-${made++}` }
    const before = await position()
    const answers = await Promise.all(Array.from({ length: 10 }, () => batch(commands, { headers })))
    answers.push(await batch(commands, { headers }))
    expect(answers.map((each) => each.status)).toEqual(Array(11).fill(200))
    expect(new Set(answers.map((each) => each.text)).size).toBe(1)
    expect(answers.filter((each) => each.headers.get('idempotency-replayed') === null).length).toBe(1)
    // The post also counted its author's posts.
    expect(await position()).toBe(before + 4)
    const other = await batch([...commands, newTag()], { headers })
    expect([other.status, other.body.type]).toEqual([422, '/problems/idempotency-key-reused'])
  })

  test('with a key that was refused may be asked for again when it can be granted', async () => {
    const id = Bun.randomUUIDv7()
    const headers = { 'Idempotency-Key': `batch-${made++}` }
    const commands = [newTag(), newPost(id)]
    expect((await batch(commands, { headers })).status).toBe(422)
    await server.call('PUT', `/users/${id}`, { body: { handle: `user${made++}`, name: 'Late' } })
    const granted = await batch(commands, { headers })
    expect([granted.status, granted.headers.get('idempotency-replayed')]).toEqual([200, null])
  })
})

describe('a batch of which one command is refused', () => {
  let user: string
  let post: string
  let tag: string
  let taken: string
  let guest: string
  beforeEach(async () => {
    const answer = await batch([newUser('ada'), newPost({ $ref: 'ada' }), newTag(), newUser('guest')])
    const [ada, first, second, other] = answer.body.results
    ;[user, post, tag, taken] = [ada.id, first.id, second.id, first.record.slug]
    guest = await server.key({ subject: other.id })
  })

  const cases: [string, () => unknown, number, string, string][] = [
    [
      'a unique value twice',
      () => ({ ...newPost(user), body: { ...newPost(user).body, slug: taken } }),
      409,
      'already-exists',
      '/body/slug',
    ],
    ['a reference to nothing', () => newPost(nobody), 422, 'invalid-value', '/body/authorId'],
    [
      'a record that is not there',
      () => ({ do: 'patch', resource: 'tags', id: nobody, body: { name: 'x' } }),
      404,
      'not-found',
      '',
    ],
    ['a deletion of what is not there', () => ({ do: 'delete', resource: 'tags', id: nobody }), 404, 'not-found', ''],
    [
      'a version that is past',
      () => ({ do: 'patch', resource: 'tags', id: tag, ifVersion: 7, body: {} }),
      412,
      'precondition-failed',
      '',
    ],
    [
      'a record that must not be there',
      () => ({ do: 'replace', resource: 'tags', id: tag, ifVersion: 0, body: { name: 'x' } }),
      412,
      'precondition-failed',
      '',
    ],
    [
      'a record that must be there',
      () => ({ do: 'replace', resource: 'tags', id: nobody, ifVersion: 1, body: { name: 'x' } }),
      412,
      'precondition-failed',
      '',
    ],
    [
      'a record that others refer to',
      () => ({ do: 'delete', resource: 'users', id: user }),
      409,
      'still-referenced',
      '',
    ],
    [
      'a field that is missing',
      () => ({ do: 'create', resource: 'posts', body: { slug: 'x', title: 'x' } }),
      422,
      'invalid-value',
      '/body/authorId',
    ],
    [
      'a field that is unknown',
      () => ({ ...newTag(), body: { name: 'x', ghost: 1 } }),
      422,
      'unknown-field',
      '/body/ghost',
    ],
    ['a value of another kind', () => ({ ...newTag(), body: { name: 7 } }), 422, 'invalid-value', '/body/name'],
    ['a body that is no object', () => ({ ...newTag(), body: 'x' }), 422, 'invalid-value', '/body'],
    ['no body', () => ({ do: 'create', resource: 'tags' }), 422, 'invalid-value', '/body'],
    ['a resource that is none', () => ({ ...newTag(), resource: 'ghosts' }), 422, 'invalid-command', '/resource'],
    [
      'the name of a prototype as a resource',
      () => ({ ...newTag(), resource: '__proto__' }),
      422,
      'invalid-command',
      '/resource',
    ],
    ['a verb that is none', () => ({ ...newTag(), do: 'upsert' }), 422, 'invalid-command', '/do'],
    ['a member that is none', () => ({ ...newTag(), when: 'now' }), 422, 'invalid-command', '/when'],
    ['an id that is none', () => ({ do: 'delete', resource: 'tags', id: 'x' }), 422, 'invalid-command', '/id'],
    ['no id', () => ({ do: 'delete', resource: 'tags' }), 422, 'invalid-command', '/id'],
    ['an id for a create', () => ({ ...newTag(), id: nobody }), 422, 'invalid-command', '/id'],
    [
      'a version that is none',
      () => ({ do: 'delete', resource: 'tags', id: tag, ifVersion: '1' }),
      422,
      'invalid-command',
      '/ifVersion',
    ],
    [
      'a version of less than nothing',
      () => ({ do: 'delete', resource: 'tags', id: tag, ifVersion: -1 }),
      422,
      'invalid-command',
      '/ifVersion',
    ],
    ['a version for a create', () => ({ ...newTag(), ifVersion: 1 }), 422, 'invalid-command', '/ifVersion'],
    [
      'a patch of what must not be there',
      () => ({ do: 'patch', resource: 'tags', id: tag, ifVersion: 0, body: {} }),
      422,
      'invalid-command',
      '/ifVersion',
    ],
    [
      'a deletion of what must not be there',
      () => ({ do: 'delete', resource: 'tags', id: tag, ifVersion: 0 }),
      422,
      'invalid-command',
      '/ifVersion',
    ],
    ['a name that is none', () => ({ ...newTag(), as: 'a b' }), 422, 'invalid-command', '/as'],
    ['a reference to no command', () => newPost({ $ref: 'ghost' }), 422, 'invalid-command', ''],
    ['a reference to a later command', () => newPost({ $ref: 'last' }), 422, 'invalid-command', ''],
    ['a reference to itself', () => newPost({ $ref: 'self' }, 'self'), 422, 'invalid-command', ''],
    [
      'a reference where no id stands',
      () => ({ ...newTag(), body: { name: { $ref: 'first' } } }),
      422,
      'invalid-value',
      '/body/name',
    ],
    ['no command at all', () => null, 422, 'invalid-command', '/do'],
  ]

  test.each(cases)('for %s does nothing and points at the command', async (_, command, status, problem, pointer) => {
    const before = await position()
    const commands = [{ ...newTag(), as: 'first' }, newUser(), command(), { ...newTag(), as: 'last' }]
    const answer = await batch(commands)
    expect([answer.status, answer.body.type]).toEqual([status, `/problems/${problem}`])
    expect(pointers(answer)).toContain(`/commands/2${pointer}`)
    expect(pointers(answer).every((each) => each.startsWith('/commands/2'))).toBe(true)
    for (const { code, message } of answer.body.errors)
      expect([code, message]).toEqual([expect.any(String), expect.stringMatching(/\S \S/)])
    expect(await position()).toBe(before)
  })

  test('for what the caller may not do does nothing and points at the command', async () => {
    const before = await position()
    const answer = await batch([newTag()], { key: guest })
    expect([answer.status, answer.body.type, pointers(answer)]).toEqual([403, '/problems/forbidden', ['/commands/0']])
    await server.call('PATCH', `/posts/${post}`, { body: { status: 'published' } })
    const visible = await batch([{ do: 'delete', resource: 'posts', id: post }], { key: guest })
    expect([visible.status, pointers(visible)]).toEqual([403, ['/commands/0']])
    expect(await position()).toBe(before + 1)
  })

  test('for what another tenant owns is answered as for what is not there', async () => {
    const key = await server.key({ tenant: 'other' })
    const theirs = await batch([{ do: 'patch', resource: 'tags', id: tag, body: { name: 'x' } }], { key })
    const none = await batch([{ do: 'patch', resource: 'tags', id: nobody, body: { name: 'x' } }], { key })
    expect([theirs.status, theirs.text]).toEqual([404, none.text])
    const referring = await batch([newPost(user)], { key })
    expect([referring.status, pointers(referring)]).toEqual([422, ['/commands/0/body/authorId']])
  })

  test('names the faults of all its commands at once', async () => {
    const answer = await batch([
      { ...newTag(), body: { name: 7, ghost: 1 } },
      { do: 'fly', resource: 'tags' },
      newTag(),
      { ...newUser(), body: { handle: 'Not A Handle' } },
    ])
    expect(answer.status).toBe(422)
    expect(pointers(answer).sort()).toEqual([
      '/commands/0/body/ghost',
      '/commands/0/body/name',
      '/commands/1/do',
      '/commands/3/body/handle',
      '/commands/3/body/name',
    ])
  })
})

test.each([
  ['no object', []],
  ['null', null],
  ['no commands', {}],
  ['commands that are no list', { commands: { 0: newTag() } }],
  ['an empty list', { commands: [] }],
  ['more than commands', { commands: [newTag()], atomic: true }],
])('a body that is %s is no batch', async (_, body) => {
  const answer = await server.call('POST', '/batch', { body: JSON.stringify(body) })
  expect([answer.status, answer.body.type]).toEqual([422, '/problems/invalid-command'])
})
