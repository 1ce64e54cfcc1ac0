import { expect } from 'bun:test'
import { follow } from '../support/stream.ts'
import { type Ask, type Chapter, linkOf, refusalOf, type Shown, tokenOf, type World } from './world.ts'

/** The position of everything written so far. */
async function now({ service }: World): Promise<string> {
  return tokenOf(await service('GET', '/tags?limit=1', { headers: { Consistency: 'strong' } }))
}

/** The first changes after a position, page by page, as one who follows reads them. */
async function changes(ask: Ask, after: string, query: string, count: number): Promise<Shown[]> {
  const found: Shown[] = []
  for (let position = after; found.length < count; ) {
    const { body } = await ask('GET', `/changes?after=${position}&wait=25&${query}`)
    if (body.data.length === 0) throw new Error(`${found.length} of ${count} changes came, and for 25 s no more`)
    found.push(...body.data)
    position = body.next
  }
  return found
}

export const feed: Chapter = {
  async 'who follows from the position of an answer misses nothing and gets nothing twice, in order'(world) {
    const { service, unique, newTag } = world
    const start = await now(world)
    const tag = await newTag()
    const written = [tag]
    for (let n = 0; n < 18; n++) {
      const [method, path] = n % 3 === 0 ? ['POST', '/tags'] : ['PATCH', `/tags/${tag.id}`]
      written.push((await service(method ?? '', path ?? '', { body: { name: unique() } })).body)
    }
    await service('DELETE', `/tags/${tag.id}`)
    const told = await changes(service, start, 'resource=tags', 20)
    expect(told.map(({ record }) => record)).toEqual([...written, null])
    expect(told.map(({ seq }) => seq)).toEqual(told.map(({ seq }) => seq).toSorted((a, b) => a - b))
    expect(new Set(told.map(({ position }) => position)).size).toBe(20)
    const [created, second] = told
    expect(created).toMatchObject({ resource: 'tags', id: tag.id, operation: 'create', version: 1, changed: null })
    expect([created.actor.startsWith('key:'), created.time]).toEqual([true, tag.createdAt])
    expect(told.at(-1)).toMatchObject({ operation: 'delete', record: null, changed: null })
    const rest = await changes(service, second.position, 'resource=tags', 18)
    expect(rest).toEqual(told.slice(2))
  },

  async 'pages of any length are the same log, and their links lead on'(world) {
    const { service, newTag } = world
    const start = await now(world)
    for (let n = 0; n < 5; n++) await newTag()
    const whole = await changes(service, start, 'resource=tags', 5)
    for (const limit of [1, 2, 5]) {
      const seen: Shown[] = []
      let path: string = `/changes?after=${start}&resource=tags&limit=${limit}&wait=25`
      while (seen.length < 5) {
        const page = await service('GET', path)
        expect(page.body.data.length).toBeLessThanOrEqual(limit)
        expect([page.status, tokenOf(page), page.body.data.length > 0]).toEqual([200, page.body.next, true])
        seen.push(...page.body.data)
        path = linkOf(page, 'next') ?? ''
      }
      expect(seen).toEqual(whole)
    }
  },

  async 'is of one resource, one record and some fields, where they are named'(world) {
    const { service, newTag, newUser } = world
    const start = await now(world)
    const [tag, user, other] = [await newTag(), await newUser(), await newTag()]
    const records = async (query: string, count: number) =>
      (await changes(service, start, query, count)).map(({ record }) => record)
    expect(await records('resource=tags', 2)).toEqual([tag, other])
    expect(await records(`resource=users&id=${user.id}&fields=name`, 1)).toEqual([{ name: user.name }])
    const none = await service('GET', `/changes?after=${start}&resource=users&id=${tag.id}`)
    expect([none.status, none.body.data]).toEqual([200, []])
  },

  async 'is in the version of its reader'(world) {
    const { service, newPost } = world
    const start = await now(world)
    const { id } = await newPost({ body: 'Text', meta: { language: 'en' } })
    await service('PATCH', `/posts/${id}`, { body: { body: 'More' } })
    const old: Ask = (method, path) => service(method, `/v1${path}`)
    const [created, changed] = await changes(old, start, `resource=articles&id=${id}`, 2)
    expect(created.record).toMatchObject({ content: 'Text', status: 'live', language: 'en' })
    expect([changed.resource, changed.changed]).toEqual(['articles', ['content']])
    expect(changed.record).toEqual((await service('GET', `/v1/articles/${id}`)).body)
  },

  async 'tells each reader what it may read: what leaves its sight as deleted, what never was in it not at all'(world) {
    const { service, anonymous, as, newPost, newTag } = world
    const start = await now(world)
    const draft = await newPost({ status: 'draft' })
    for (const status of ['published', 'archived', 'published'])
      await service('PATCH', `/posts/${draft.id}`, { body: { status } })
    const told = async (ask: Ask, count: number) => {
      const events = await changes(ask, start, `resource=posts&id=${draft.id}`, count)
      return events.map(({ operation, record }) => [operation, record?.status ?? null])
    }
    expect(await told(await as({ scopes: ['read', 'editor'] }), 4)).toEqual([
      ['create', 'draft'],
      ['update', 'published'],
      ['update', 'archived'],
      ['update', 'published'],
    ])
    expect(await told(anonymous, 3)).toEqual([
      ['update', 'published'],
      ['delete', null],
      ['update', 'published'],
    ])
    const other = await as({ tenant: 'other' })
    const { body } = await other('POST', '/tags', { body: { name: world.unique() } })
    await newTag()
    expect((await changes(other, start, 'resource=tags', 1)).map(({ id }) => id)).toEqual([body.id])
    expect((await other('GET', `/changes?after=${start}&resource=posts`)).body.data).toEqual([])
  },

  async 'waits for the first change where it is asked to, and for no other'(world) {
    const { service, newTag, newUser } = world
    const start = await now(world)
    const waiting = service('GET', `/changes?after=${start}&resource=tags&wait=25`)
    await newUser()
    const tag = await newTag()
    const page = await waiting
    expect([page.status, page.body.data.map(({ id }: { id: string }) => id)]).toEqual([200, [tag.id]])
    const last = await service('GET', `/changes?after=${page.body.next}&resource=tags&wait=0`)
    expect(last.body.data).toEqual([])
  },

  async 'streams each change once, and goes on where it was cut off'(world) {
    const { service, url, key, newTag, unique } = world
    const authorization = { Authorization: `Bearer ${await key()}` }
    const start = await now(world)
    const before = await newTag()
    const stream = await follow(`${url}/changes?after=${start}&resource=tags`, authorization)
    expect((await stream.next()).data.record).toEqual(before)
    const live = await newTag()
    const event = await stream.next()
    expect([event.event, event.id, event.data.record]).toEqual(['change', event.data.position, live])
    stream.close()
    const missed = await newTag()
    const headers = { ...authorization, 'Last-Event-ID': event.id }
    const again = await follow(`${url}/changes?resource=tags`, headers)
    expect((await again.next()).data.record).toEqual(missed)
    const renamed = await service('PATCH', `/tags/${missed.id}`, { body: { name: unique() } })
    const last = await again.next()
    expect([last.data.operation, last.data.changed, last.data.record]).toEqual(['update', ['name'], renamed.body])
    again.close()
  },

  async 'streams to whoever has no position what happens from now on, and begins anew where one is none'(world) {
    const { service, url, newTag } = world
    const start = await now(world)
    await newTag()
    await changes(service, start, 'resource=tags', 1) // What the target has told before is before now.
    const stream = await follow(`${url}/changes?resource=tags`)
    await stream.opened
    const tag = await newTag()
    expect((await stream.next()).data.record).toEqual(tag)
    stream.close()
    const lost = await follow(`${url}/changes`, { 'Last-Event-ID': await world.tokenFromBefore() })
    const event = await lost.next()
    expect([event.event, event.data.type]).toEqual(['reset', '/problems/token-from-another-epoch'])
    await lost.ended
  },

  async 'is of CloudEvents where it is asked for, as a batch and as a stream'(world) {
    const { service, url, newTag } = world
    const start = await now(world)
    const tag = await newTag()
    await changes(service, start, 'resource=tags', 1)
    const path = `/changes?after=${start}&resource=tags&format=cloudevents`
    const page = await service('GET', path)
    expect(page.headers.get('content-type')).toBe('application/cloudevents-batch+json')
    const [event] = page.body
    expect(event).toMatchObject({
      ...{ specversion: '1.0', type: 'perigee.tags.create', source: '/changes', subject: `tags/${tag.id}` },
      ...{ id: expect.any(String), time: tag.createdAt, datacontenttype: 'application/json' },
      data: { record: tag, version: 1, changed: null },
    })
    const stream = await follow(url + path)
    expect((await stream.next()).data).toEqual({ ...event, data: { ...event.data, position: expect.any(String) } })
    stream.close()
  },

  async 'a position that is none, and a wish that is malformed, are refused by name'({ service }) {
    for (const [query, ...refusal] of [
      ['after=1', 400, 'invalid-consistency-token', 'after'],
      ['resource=tag', 400, 'invalid-parameter', 'resource'],
      [`id=${Bun.randomUUIDv7()}`, 400, 'invalid-parameter', 'id'],
      ['resource=tags&id=1', 422, 'invalid-value', 'id'],
      ['fields=name', 400, 'invalid-parameter', 'fields'],
      ['resource=tags&fields=nam', 422, 'unknown-field', 'fields'],
      ['limit=501', 400, 'invalid-parameter', 'limit'],
      ['wait=26', 400, 'invalid-parameter', 'wait'],
      ['format=xml', 400, 'invalid-parameter', 'format'],
      ['since=1', 422, 'unknown-parameter', 'since'],
      ['limit=1&limit=2', 400, 'invalid-parameter', 'limit'],
    ] as const)
      expect([query, ...refusalOf(await service('GET', `/changes?${query}`))]).toEqual([query, ...refusal])
  },
}
