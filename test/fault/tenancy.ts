import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import type { Owner } from '../support/keys.ts'
import { writable } from '../support/resources.ts'
import type { Answer, CallOptions } from '../support/server.ts'

/** A runtime, or a kind of node, in which tenants must be apart. */
export interface TenantsTarget {
  readonly name: string
  /** All that can be done with an id, or what reads alone. */
  readonly operations: 'all' | 'reads'
  /** Starts it over the default model, migrated and empty; `demo` is its public tenant. */
  start(): Promise<TenantsServer>
}

export interface TenantsServer extends Pick<Owner, 'key'> {
  /** As one session: what was written before is seen. */
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  /** The database of its primary. */
  readonly databaseFile: string
  stop(): Promise<void>
}

/** One record of each resource, by the resource's name. */
type World = Record<string, { id: string; body: Record<string, unknown> }>

interface Operation {
  readonly name: string
  /** Does it to one id and leaves nothing behind. */
  readonly run: (id: string, asker: string) => Promise<Answer>
}

/** Tells of a target that no tenant reaches what another owns, by any way there is. */
export function tenantsAreApart(target: TenantsTarget) {
  let server: TenantsServer
  let theirKey: string
  let theirs: World
  const own: Record<string, World> = {}
  const keyByAsker: Record<string, string | null> = {}

  beforeAll(async () => {
    server = await target.start()
    theirKey = await server.key({ tenant: 'other' })
    theirs = await makeWorld(theirKey, 'theirs')
    keyByAsker['a back end of the public tenant'] = await server.key({ tenant: 'demo' })
    keyByAsker['a back end of a third tenant'] = await server.key({ tenant: 'third' })
    own.demo = await makeWorld(keyByAsker['a back end of the public tenant'], 'own')
    own.third = await makeWorld(keyByAsker['a back end of a third tenant'], 'own')
    keyByAsker['a user of the public tenant'] = await server.key({ subject: own.demo.users!.id })
    keyByAsker['an editor of the public tenant'] = await server.key({
      scopes: ['read', 'write', 'editor'],
      subject: own.demo.users!.id,
    })
    keyByAsker['a caller without a key'] = null
  })
  afterAll(() => server.stop())

  const askers = [
    'a back end of the public tenant',
    'a back end of a third tenant',
    'a user of the public tenant',
    'an editor of the public tenant',
    'a caller without a key',
  ]

  async function makeWorld(key: string, name: string): Promise<World> {
    const world: World = {}
    for (const resource of ['users', 'posts', 'comments', 'tags', 'postTags']) {
      const body = bodyOf(resource, name, (to) => world[to]!.id)
      const made = await server.call('POST', `/${resource}`, { key, body })
      expect(made.status).toBe(201)
      world[resource] = { id: made.body.id, body }
    }
    return world
  }

  function bodyOf(resource: string, name: string, idOf: (resource: string) => string): Record<string, unknown> {
    switch (resource) {
      case 'users':
        return { handle: name, name }
      case 'posts':
        return { authorId: idOf('users'), slug: name, title: name, status: 'published' }
      case 'comments':
        return { postId: idOf('posts'), authorId: idOf('users'), body: name }
      case 'tags':
        return { name }
      default:
        return { postId: idOf('posts'), tagId: idOf('tags') }
    }
  }

  const worldOf = (asker: string) => (asker === 'a back end of a third tenant' ? own.third! : own.demo!)

  /** Everything that can be done with an id of a resource, made from the model. */
  function operationsOn(resource: string): Operation[] {
    const declared = model.resources.get(resource)!
    const operations: Operation[] = []
    const add = (name: string, run: Operation['run']) => operations.push({ name, run })
    const ask = (method: string, path: (id: string) => string, options: { headers?: Record<string, string> } = {}) =>
      add(`${method} ${path('ID')} ${JSON.stringify(options.headers ?? {})}`, (id, asker) =>
        server.call(method, path(id), { key: keyByAsker[asker] ?? null, ...options }),
      )
    const one = (id: string) => `/${resource}/${id}`

    for (const path of [one, (id: string) => `/v3${one(id)}`, (id: string) => `${one(id)}/history`]) {
      ask('GET', path)
      ask('HEAD', path)
      ask('GET', path, { headers: { 'If-None-Match': '"1-v3"' } })
      ask('GET', path, { headers: { 'If-None-Match': '*' } })
    }
    ask('GET', (id) => `${one(id)}?fields=id`)
    ask('GET', (id) => `${one(id)}/history?limit=1`)
    for (const relation of declared.relations.keys()) ask('GET', (id) => `${one(id)}?include=${relation}`)
    ask('GET', (id) => `/${resource}?id=${id}&count=exact`)
    ask('GET', (id) => `/${resource}?id[in]=${id}&sort=-id`)
    for (const { from, column } of declared.referencedBy) {
      ask('GET', (id) => `/${from}?${column}=${id}&count=exact`)
      ask('GET', (id) => `/${from}?${column}[in]=${id}`)
      for (const relation of model.resources.get(from)!.relations.keys())
        ask('GET', (id) => `/${from}?${column}=${id}&include=${relation}`)
    }
    if (target.operations === 'reads') return operations
    for (const headers of [{}, { 'If-Match': '"1"' }, { 'If-Match': '*' }]) {
      ask('DELETE', one, { headers })
      addWrite('PATCH', headers)
      addWrite('PUT', headers)
    }
    addWrite('PUT', { 'If-None-Match': '*' })
    for (const [kind, ifVersion] of [
      ['replace', undefined],
      ['replace', 1],
      ['replace', 0],
      ['patch', undefined],
      ['patch', 1],
      ['delete', undefined],
      ['delete', 1],
    ] as const)
      addBatch(kind, ifVersion)
    for (const { from, column } of declared.referencedBy) addReference(from, column)
    return operations

    function addWrite(method: string, headers: Record<string, string>) {
      add(`${method} ${one('ID')} ${JSON.stringify(headers)}`, async (id, asker) => {
        const key = keyByAsker[asker] ?? null
        const body = method === 'PUT' ? fresh(asker) : patchOf(resource, asker)
        const answer = await server.call(method, one(id), { key, body, headers })
        await forget(id, answer.status === 201, key)
        return answer
      })
    }

    function addBatch(kind: string, ifVersion: number | undefined) {
      add(`POST /batch ${kind} ${one('ID')} ${ifVersion}`, async (id, asker) => {
        const key = keyByAsker[asker] ?? null
        const body = kind === 'replace' ? fresh(asker) : kind === 'patch' ? patchOf(resource, asker) : undefined
        const command = { do: kind, resource, id, ...(body && { body }), ...(ifVersion !== undefined && { ifVersion }) }
        const answer = await server.call('POST', '/batch', { key, body: { commands: [command] } })
        await forget(id, answer.status === 200, key)
        return answer
      })
    }

    /** A record of the asker's that refers to the id, made and patched. */
    function addReference(from: string, column: string) {
      const referring = (asker: string, id: string) => ({
        ...bodyOf(from, 'referring', (to) => worldOf(asker)[to]!.id),
        [column]: id,
      })
      const write = (name: string, path: (asker: string) => string, method: string, body: Body) =>
        add(`${name} ${from}.${column} = ID`, (id, asker) =>
          server.call(method, path(asker), { key: keyByAsker[asker] ?? null, body: body(asker, id) }),
        )
      type Body = (asker: string, id: string) => unknown
      const command = (kind: string, id: string | undefined, body: unknown) => ({
        commands: [{ do: kind, resource: from, ...(id && { id }), body }],
      })
      const ownOf = (asker: string) => worldOf(asker)[from]!.id
      write('POST', () => `/${from}`, 'POST', referring)
      write(
        'PATCH',
        (asker) => `/${from}/${ownOf(asker)}`,
        'PATCH',
        (_, id) => ({ [column]: id }),
      )
      write('PUT', (asker) => `/${from}/${ownOf(asker)}`, 'PUT', referring)
      write(
        'batch create',
        () => '/batch',
        'POST',
        (asker, id) => command('create', undefined, referring(asker, id)),
      )
      write(
        'batch patch',
        () => '/batch',
        'POST',
        (asker, id) => command('patch', ownOf(asker), { [column]: id }),
      )
    }

    /** A body that makes a record of the asker's own, under whatever id. */
    function fresh(asker: string) {
      const world = worldOf(asker)
      // A pair of a post and a tag is there already: the fresh one needs another tag, which stays.
      const other = resource === 'postTags' ? { ...world, tags: { id: spareTags.get(world) ?? '' } } : world
      return bodyOf(resource, 'fresh', (to) => other[to as keyof typeof other]!.id)
    }
    async function forget(id: string, wasMade: boolean, key: string | null) {
      if (wasMade) expect((await server.call('DELETE', one(id), { key })).status).toBe(204)
    }
  }

  let victims = 0

  /** A record of the other tenant that nobody has reached for yet. */
  async function victimOf(resource: string): Promise<string> {
    const tag = resource === 'postTags' ? await victimOf('tags') : ''
    const body = bodyOf(resource, `theirs-${++victims}`, (to) => (to === 'tags' ? tag : theirs[to]!.id))
    const made = await server.call('POST', `/${resource}`, { key: theirKey, body })
    expect(made.status).toBe(201)
    return made.body.id
  }

  const spareTags = new Map<World, string>()

  /** A patch that would be right if the id were the asker's own. */
  function patchOf(resource: string, asker: string): Record<string, unknown> {
    if (resource === 'postTags') return { postId: worldOf(asker).posts!.id }
    return { [{ users: 'name', posts: 'title', comments: 'body', tags: 'name' }[resource] ?? '']: 'changed' }
  }

  /** An answer without what may differ between two askings: the id, times, and the position where something was written. */
  function essence(answer: Answer, id: string): unknown {
    const volatile = ['date', 'server-timing', 'x-request-id', 'consistency-token', 'cache-status', 'replica-age']
    const strip = (text: string) => text.replaceAll(id, 'ID').replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    const headers = [...answer.headers].filter(([name]) => !volatile.includes(name))
    return {
      status: answer.status,
      headers: headers.map(([name, value]) => [name, strip(value)]),
      text: strip(answer.text),
    }
  }

  const contentsOf = (tenant: string): string => {
    using database = new Database(server.databaseFile, { readonly: true })
    const tables = [...model.resources.keys(), 'changes', 'heads', 'idempotency']
    const key = (table: string) => (table === 'changes' ? 'seq' : table === 'heads' ? 'resource' : '1')
    return JSON.stringify(
      tables.map((table) =>
        database.query(`select * from "${table}" where tenant = ? order by ${key(table)}, 2`).all(tenant),
      ),
    )
  }

  describe(`row 24: at ${target.name}, what another tenant owns answers as what does not exist`, () => {
    const cases = askers.flatMap((asker) => writable.map((resource) => [asker, resource] as const))

    test.each(cases)('for %s, over every way to reach %s', async (asker, resource) => {
      for (const world of Object.values(own)) {
        if (spareTags.has(world)) continue
        const key = world === own.third ? keyByAsker['a back end of a third tenant'] : undefined
        const tag = await server.call('POST', '/tags', { ...(key && { key }), body: { name: 'spare' } })
        spareTags.set(world, tag.body.id)
      }
      const operations = operationsOn(resource)
      const foreigners: string[] = []
      for (const _ of operations)
        foreigners.push(target.operations === 'reads' ? theirs[resource]!.id : await victimOf(resource))
      const before = contentsOf('other')
      const seen = new Set<number>()
      expect(operations.length).toBeGreaterThan(target.operations === 'reads' ? 15 : 30)
      for (const [i, { name, run }] of operations.entries()) {
        const foreign = foreigners[i]!
        const missing = Bun.randomUUIDv7()
        const [crossed, missed] = [await run(foreign, asker), await run(missing, asker)]
        expect({ name, ...(essence(crossed, foreign) as object) }).toEqual({
          name,
          ...(essence(missed, missing) as object),
        })
        seen.add(crossed.status)
        expect(crossed.text).not.toContain('theirs')
      }
      expect(contentsOf('other')).toBe(before)
      expect([...seen].filter((status) => status >= 500 || status === 400)).toEqual([])
      const wanted = target.operations === 'reads' ? [200, 404] : [200, 201, 404, 412]
      if (asker.startsWith('a back end')) expect([...seen]).toEqual(expect.arrayContaining(wanted))
    })

    test.each(askers)('for %s, lists and counts hold own records only, in every order', async (asker) => {
      for (const name of writable) {
        const sortable = model.resources.get(name)?.sortable ?? []
        for (const field of [...sortable].flatMap((each) => [each, `-${each}`])) {
          const list = await server.call('GET', `/${name}?sort=${field}&limit=100&count=exact`, {
            key: keyByAsker[asker] ?? null,
          })
          expect([list.status, list.text.includes('theirs'), list.text.includes(theirs[name]!.id)]).toEqual([
            200,
            false,
            false,
          ])
          expect(list.body.count).toBe(list.body.data.length)
        }
      }
    })

    test('a cursor of another tenant is refused with the bytes of a cursor that nobody gave', async () => {
      for (const path of ['/users?limit=1', `/users/${theirs.users!.id}/history?limit=1`]) {
        await server.call('POST', '/users', { key: theirKey, body: { handle: `second-${path.length}`, name: 'S' } })
        await server.call('PATCH', `/users/${theirs.users!.id}`, {
          key: theirKey,
          body: { name: `theirs ${path.length}` },
        })
        const given = await server.call('GET', path, { key: theirKey })
        expect(given.body.next).toBeString()
        const invented = `${given.body.next.slice(0, -1)}${given.body.next.endsWith('A') ? 'B' : 'A'}`
        for (const asker of askers) {
          const ask = (cursor: string) =>
            server.call('GET', `${path}&after=${cursor}`, { key: keyByAsker[asker] ?? null })
          const [crossed, made] = [await ask(given.body.next), await ask(invented)]
          expect(essence(crossed, given.body.next)).toEqual(essence(made, invented))
          expect([crossed.status, crossed.body.type]).toEqual([400, '/problems/invalid-cursor'])
        }
      }
    })

    test('two tenants with the same ids see and count their own records, and derived columns do not mix', async () => {
      const key = keyByAsker['a back end of a third tenant'] ?? null
      const [user, post, comment, tag, pair] = ['users', 'posts', 'comments', 'tags', 'postTags'].map(
        (each) => theirs[each]!.id,
      )
      const put = async (path: string, body: unknown) =>
        expect((await server.call('PUT', path, { key, body })).status).toBe(201)
      const contents = async () =>
        (await server.call('GET', `/posts/${post}?include=comments,author,tags`, { key: theirKey })).body
      const before = await contents()
      await put(`/users/${user}`, { handle: 'twin', name: 'Twin' })
      await put(`/posts/${post}`, { authorId: user, slug: 'twin', title: 'Twin', words: 7, status: 'published' })
      for (const id of [comment, Bun.randomUUIDv7()])
        await put(`/comments/${id}`, { postId: post, authorId: user, body: 'twin' })
      await put(`/tags/${tag}`, { name: 'twin' })
      await put(`/postTags/${pair}`, { postId: post, tagId: tag })
      const seen = await server.call('GET', `/posts/${post}?include=author.posts,comments.author,tags.posts`, { key })
      expect(seen.text).not.toContain('theirs')
      expect([seen.body.commentCount, seen.body.comments.length, seen.body.tags.length]).toEqual([2, 2, 1])
      expect([seen.body.author.name, seen.body.author.posts.length, seen.body.author.wordCount]).toEqual(['Twin', 1, 7])
      expect(await contents()).toEqual(before)
      expect((await server.call('DELETE', `/comments/${comment}`, { key })).status).toBe(204)
      expect((await server.call('GET', `/comments/${comment}`, { key: theirKey })).status).toBe(200)
    })
  })
}
