import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { limits } from '../../src/schema/limits.ts'
import { readingApp } from '../support/database.ts'
import type { CallerSpec } from '../support/oracle.ts'
import { type Draw, textItems, textResource, withRandomChoices } from '../support/random-model.ts'
import { get, inWorld, type World, type WorldAnswer } from '../support/random-world.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { hostileTexts } from '../support/texts.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const dayMs = 86_400_000

describe('a walk through a list that changes meanwhile', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await testServer()
  })
  afterAll(() => server.stop())

  let made = 0
  const sorts = ['name', '-name', 'postCount', '-postCount', 'id', '-id', '-postCount,name', 'postCount,-name']

  test('shows every record that is there throughout once, in order, forwards and backwards', async () => {
    let walks = 0
    await withRandomChoices(
      async (draw) => {
        const tenant = `walk${walks++}`
        const key = await server.key({ tenant })
        const sort = draw.pick(sorts)
        for (let i = draw.int(5, 15); i > 0; i--) await createTag(key, draw)
        const before = await namesOf(key, sort)
        const limit = draw.int(1, 4)
        const gone = new Set<string>()
        const first = `/tags?sort=${sort}&limit=${limit}`
        const forwards = await walk(key, first, 'next', draw, gone)
        expectWalk(forwards.names, before, gone)
        const later = await namesOf(key, sort)
        gone.clear()
        const backwards = await walk(key, forwards.last, 'prev', draw, gone)
        // The walk back begins after the page that it starts from.
        const ahead = later.slice(0, later.indexOf(backwards.startsBefore))
        if (backwards.startsBefore !== '') expectWalk(backwards.names, ahead, gone)
      },
      { runs: 25 },
    )
  })

  /** Follows links of one relation, changing the list between pages. */
  async function walk(key: string, path: string, rel: 'next' | 'prev', draw: Draw, gone: Set<string>) {
    const names: string[] = []
    let last = path
    let startsBefore = ''
    for (let at: string | undefined = path; at !== undefined; ) {
      const page = await server.call('GET', at, { key })
      expect(page.status).toBe(200)
      const shown: Tag[] = page.body.data
      if (rel === 'next') names.push(...shown.map((tag) => tag.name))
      else if (at === path) startsBefore = shown[0]?.name ?? ''
      else names.unshift(...shown.map((tag) => tag.name))
      last = at
      for (let changes = draw.int(0, 3); changes > 0; changes--) await change(key, draw, gone, shown)
      at = linkOf(page.headers, rel)
    }
    return { names, last, startsBefore }
  }

  /** Creates a record somewhere, or deletes one anywhere, often the very one that the next cursor names. */
  async function change(key: string, draw: Draw, gone: Set<string>, shown: readonly Tag[]) {
    if (draw.chance(50)) return createTag(key, draw)
    const [edge] = draw.chance(50) ? shown.slice(-1) : shown
    const all: Tag[] = (await server.call('GET', '/tags?limit=100&fields=id,name', { key })).body.data
    const victim = draw.chance(50) && edge ? edge : all.length > 0 ? draw.pick(all) : undefined
    if (!victim || gone.has(victim.name)) return
    gone.add(victim.name)
    expect((await server.call('DELETE', `/tags/${victim.id}`, { key })).status).toBe(204)
  }

  async function createTag(key: string, draw: Draw) {
    const name = `${draw.pick(['a', 'B', 'é', '🙂', '%', "'"])}${draw.int(0, 99)} ${made++}`
    expect((await server.call('POST', '/tags', { key, body: { name } })).status).toBe(201)
  }

  async function namesOf(key: string, sort: string): Promise<string[]> {
    const { body } = await server.call('GET', `/tags?limit=100&fields=name&sort=${sort}`, { key })
    return body.data.map((tag: Tag) => tag.name)
  }

  function expectWalk(seen: readonly string[], before: readonly string[], gone: ReadonlySet<string>) {
    expect(new Set(seen).size).toBe(seen.length)
    const throughout = before.filter((name) => !gone.has(name))
    expect(seen.filter((name) => throughout.includes(name))).toEqual(throughout)
  }
})

interface Tag {
  readonly id: string
  readonly name: string
}

function linkOf(headers: Headers, rel: 'next' | 'prev'): string | undefined {
  return new RegExp(`<([^>]*)>; rel="${rel}"`).exec(headers.get('link') ?? '')?.[1]
}

describe('a cursor', () => {
  const anonymous: CallerSpec = { kind: 'anonymous', tenant: 'demo', scopes: [], subject: null }
  const neighbour: CallerSpec = { kind: 'service', tenant: 'other', scopes: [], subject: null }

  /** Two tenants with the same texts under the same ids, and the name of the resource. */
  async function inTexts(visit: (world: World, name: string) => Promise<void>) {
    const { resource } = textResource()
    const own = textItems(hostileTexts)
    const items = new Map([[resource.name, [...own, ...own.map((item) => ({ ...item, tenant: 'other' }))]]])
    await inWorld({ resources: [resource] }, items, [anonymous, neighbour], (world) => visit(world, resource.name))
  }

  const nextOf = async (world: World, path: string): Promise<string> => {
    const page = await world.get(anonymous, path)
    expect([path, page.status, typeof page.body.next]).toEqual([path, 200, 'string'])
    return page.body.next
  }
  const refused = { status: 400, body: expect.objectContaining({ type: '/problems/invalid-cursor' }) }

  test('with any bit turned is refused, and so is any part of one and any two put together', async () => {
    await inTexts(async (world, name) => {
      const searches = [
        'sort=f&limit=1',
        'sort=-f&limit=2',
        'sort=-f,id&limit=60',
        'limit=1',
        'f[ne]=a&sort=f&limit=84',
      ]
      for (const search of searches) {
        const cursor = await nextOf(world, `/${name}?${search}`)
        const attempt = (text: string) => world.get(anonymous, `/${name}?${search}&after=${encodeURIComponent(text)}`)
        expect((await attempt(cursor)).status).toBe(200)
        for (const forged of [...bitFlips(cursor), ...cuts(cursor)])
          expect(await attempt(forged)).toMatchObject(refused)
        const other = await nextOf(world, `/${name}?${search.replace(/limit=\d+/, 'limit=7')}`)
        for (let cut = 1; cut < cursor.length; cut++) {
          const mixed = cursor.slice(0, cut) + other.slice(cut)
          if (mixed !== cursor && mixed !== other) expect(await attempt(mixed)).toMatchObject(refused)
        }
      }
    })
  })

  test.each([
    ['another filter', 'f[gt]=b&sort=f'],
    ['another operator', 'f[gte]=a&sort=f'],
    ['one filter more', 'f[gt]=a&f[ne]=b&sort=f'],
    ['no filter', 'sort=f'],
    ['the other direction', 'f[gt]=a&sort=-f'],
    ['another sort', 'f[gt]=a'],
    ['one key more', 'f[gt]=a&sort=f,-id'],
  ])('is refused with %s', async (_, search) => {
    await inTexts(async (world, name) => {
      const cursor = await nextOf(world, `/${name}?f[gt]=a&sort=f&limit=3`)
      for (const place of ['after', 'before']) {
        expect(await world.get(anonymous, `/${name}?${search}&limit=3&${place}=${cursor}`)).toMatchObject(refused)
      }
    })
  })

  test.each([
    ['another limit', 'limit=9'],
    ['other fields', 'fields=id'],
    ['a count', 'count=exact'],
    ['its parameters in another order', 'sort=f&f[gt]=a'],
    ['the id spelled out in the sort', 'f[gt]=a&sort=f,id'],
    ['another include', 'include=same(limit:2),same.same'],
  ])('still works with %s', async (_, change) => {
    await inTexts(async (world, name) => {
      const query = 'f[gt]=a&sort=f'
      const idsOf = (page: WorldAnswer): string[] => page.body.data.map((item: Tag) => item.id)
      const all = idsOf(await world.get(anonymous, `/${name}?${query}&limit=100`))
      const cursor = await nextOf(world, `/${name}?${query}&limit=3`)
      const search = change.includes('f[gt]') ? change : `${query}&${change}`
      const page = await world.get(anonymous, `/${name}?${search}&after=${cursor}`)
      expect([page.status, idsOf(page)]).toEqual([200, all.slice(3, 3 + page.body.data.length)])
      expect(page.body.data.length).toBeGreaterThan(5)
    })
  })

  test('of one tenant is refused to another, of one resource at another, of a history at a list', async () => {
    await inTexts(async (world, name) => {
      const path = `/${name}?sort=f&limit=3`
      const cursor = await nextOf(world, path)
      expect(await world.get(neighbour, `${path}&after=${cursor}`)).toMatchObject(refused)
      const [item] = (await world.get(anonymous, path)).body.data
      const history = await world.get(anonymous, `/${name}/${item.id}/history?after=${cursor}`)
      expect(history).toMatchObject(refused)
    })
  })

  test('sealed with another secret, or older than its days, is refused', async () => {
    await inTexts(async (world, name) => {
      const path = `/${name}?sort=f&limit=3`
      const cursor = await nextOf(world, path)
      const at = (options: Parameters<typeof readingApp>[2]) =>
        get(readingApp(world.model, world.reader, options), `${path}&after=${cursor}`)
      expect((await at({})).status).toBe(200)
      expect(await at({ secret: 'another secret' })).toMatchObject(refused)
      const age = limits.cursorDaysMax * dayMs
      expect((await at({ now: () => Date.now() + age - 60_000 })).status).toBe(200)
      expect(await at({ now: () => Date.now() + age + 60_000 })).toMatchObject(refused)
    })
  })
})

/** The text with one bit of one character turned, for each of them. */
function bitFlips(text: string): string[] {
  return [...text].flatMap((character, i) =>
    Array.from({ length: 8 }, (_, bit) => {
      const turned = String.fromCharCode(character.charCodeAt(0) ^ (1 << bit))
      return text.slice(0, i) + turned + text.slice(i + 1)
    }),
  )
}

/** Every beginning and every end of the text, and the text with more around it. */
function cuts(text: string): string[] {
  const parts = Array.from({ length: text.length }, (_, i) => [text.slice(0, i), text.slice(i + 1)]).flat()
  return [...parts, `${text}=`, `${text} `, `${text}A`, `A${text}`, text + text, text.toLowerCase(), text.toUpperCase()]
}
