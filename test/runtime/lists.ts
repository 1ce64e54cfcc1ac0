import { expect } from 'bun:test'
import { type Chapter, linkOf, type Shown, tagOf, type World } from './world.ts'

const namesOf = ({ body }: { body: Shown }): string[] => body.data.map(({ title }: { title: string }) => title)

/** Posts of one author, titled A to E in the order of their making. */
interface Five {
  /** The list of them. */
  readonly path: string
  /** Of their slugs, such as `stem-A`. */
  readonly stem: string
}

async function makeFive({ newUser, newPost, unique }: World): Promise<Five> {
  const [{ id: authorId }, stem] = [await newUser(), unique()]
  for (const title of ['A', 'B', 'C', 'D', 'E'])
    await newPost({ authorId, title, slug: `${stem}-${title}`, status: title < 'C' ? 'draft' : 'published' })
  return { path: `/posts?authorId=${authorId}`, stem }
}

const made = new WeakMap<World, Promise<Five>>()

/** The same five for all sentences that only read them, of which the first two are drafts. */
function fivePosts(world: World): Promise<Five> {
  const five = made.get(world) ?? makeFive(world)
  made.set(world, five)
  return five
}

export const lists: Chapter = {
  async 'filters find by every operator, and what several of them find together'(world) {
    const { service, newUser, newPost } = world
    const { path, stem } = await fivePosts(world)
    const { body } = await service('GET', `${path}&sort=createdAt`)
    const third = body.data[2]
    for (const [query, titles] of [
      [`slug=${stem}-C`, 'C'],
      [`slug[ne]=${stem}-C`, 'ABDE'],
      [`slug[in]=${stem}-A,${stem}-E,nothing`, 'AE'],
      [`slug[gt]=${stem}-C`, 'DE'],
      [`slug[gte]=${stem}-C`, 'CDE'],
      [`slug[lt]=${stem}-C`, 'AB'],
      [`slug[lte]=${stem}-C`, 'ABC'],
      [`slug[prefix]=${stem}`, 'ABCDE'],
      [`slug[contains]=${stem.slice(1)}-B`, 'B'],
      ['status=draft', 'AB'],
      [`status[in]=draft,archived&slug[gt]=${stem}-A`, 'B'],
      [`createdAt[gte]=${third.createdAt}&id=${third.id}`, 'C'],
      ['commentCount=0&slug[null]=true', ''],
    ]) {
      const found = await service('GET', `${path}&sort=createdAt&${query}`)
      expect([query, namesOf(found).join('')]).toEqual([query, titles])
    }
    const other = await newPost({ authorId: (await newUser()).id })
    expect((await service('GET', `${path}&id=${other.id}`)).body).toEqual({ data: [], next: null })
  },

  async 'a sort orders, a minus turns it round, and the id decides where it does not'(world) {
    const { service } = world
    const { path } = await fivePosts(world)
    for (const [sort, titles] of [
      ['createdAt', 'ABCDE'],
      ['-createdAt', 'EDCBA'],
      ['commentCount,-id', 'EDCBA'],
      ['commentCount', 'ABCDE'],
      ['-commentCount', 'EDCBA'],
      ['id', 'ABCDE'],
    ])
      expect([sort, namesOf(await service('GET', `${path}&sort=${sort}`)).join('')]).toEqual([sort, titles])
  },

  async 'pages lead to the end and back, by cursors and by links'(world) {
    const { service } = world
    const { path } = await fivePosts(world)
    const pages = [await service('GET', `${path}&sort=createdAt&limit=2`)]
    for (let [page] = pages; page?.body.next; pages.push(page)) {
      const next = linkOf(page, 'next') ?? ''
      expect(next).toBe(`${path}&sort=createdAt&limit=2&after=${page.body.next}`)
      page = await service('GET', next)
    }
    expect(pages.map(namesOf)).toEqual([['A', 'B'], ['C', 'D'], ['E']])
    expect([linkOf(pages[0]!, 'prev'), linkOf(pages[2]!, 'next')]).toEqual([null, null])
    const back = await service('GET', linkOf(pages[2]!, 'prev') ?? '')
    expect(namesOf(back)).toEqual(['C', 'D'])
    const first = await service('GET', linkOf(back, 'prev') ?? '')
    expect([namesOf(first), linkOf(first, 'prev')]).toEqual([['A', 'B'], null])
    expect(first.body.next).toBeString()
  },

  async 'a cursor keeps its place while records before it come and go'(world) {
    const { service } = world
    const { path } = await makeFive(world)
    const first = await service('GET', `${path}&sort=-createdAt&limit=2`)
    expect(namesOf(first)).toEqual(['E', 'D'])
    const authorId = first.body.data[0].authorId
    const more = { authorId, slug: world.unique(), title: 'F', status: 'published' }
    await service('POST', '/posts', { body: more })
    await service('DELETE', `/posts/${first.body.data[1].id}`)
    const rest = await service('GET', `${path}&sort=-createdAt&after=${first.body.next}`)
    expect(namesOf(rest)).toEqual(['C', 'B', 'A'])
  },

  async 'count=exact counts what the filter finds, whatever the page'(world) {
    const { service } = world
    const { path } = await fivePosts(world)
    for (const [query, count] of [
      ['limit=1&count=exact', 5],
      ['status=draft&count=exact', 2],
      ['status=archived&count=exact', 0],
      ['limit=1&count=none', undefined],
      ['limit=1', undefined],
    ] as const)
      expect([query, (await service('GET', `${path}&${query}`)).body.count]).toEqual([query, count])
  },

  async 'a list that its reader has is 304 until a record of its resource changes'({ service, newTag, unique }) {
    const { id, name } = await newTag()
    const path = `/tags?name=${name}`
    const list = await service('GET', path)
    const ask = () => service('GET', path, { headers: { 'If-None-Match': tagOf(list) } })
    const same = await ask()
    expect([same.status, same.text]).toEqual([304, ''])
    await service('PATCH', `/tags/${id}`, { body: { name: unique() } })
    const changed = await ask()
    expect([changed.status, changed.body.data]).toEqual([200, []])
    expect(tagOf(changed)).not.toBe(tagOf(list))
  },
}
