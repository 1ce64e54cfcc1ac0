import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { limits } from '../../src/schema/limits.ts'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

let server: TestServer
let user: string
beforeAll(async () => {
  server = await testServer()
  user = (await server.call('POST', '/users', { body: { handle: 'ada', name: 'Ada' } })).body.id
  for (const slug of ['100%', 'a_b', 'plain'])
    await server.call('POST', '/posts', { body: { authorId: user, slug, title: slug, status: 'published' } })
})
afterAll(() => server.stop())

const problem = async (path: string) => {
  const answer = await server.call('GET', path)
  return [answer.status, answer.body.type?.replace('/problems/', '') ?? 'none']
}
const times = (count: number, text: string, between = '&') => Array(count).fill(text).join(between)
const tenIncludes =
  'author.posts(limit:1).comments(limit:1),comments(limit:1).author.posts(limit:1),comments.post.tags(limit:1),tags(limit:1).posts(limit:1)'
const ids = (count: number) => Array.from({ length: count }, () => Bun.randomUUIDv7()).join(',')

describe('row 36: a query that asks for more than one request may is refused, and says what is too much', () => {
  test.each([
    ['a page of 1,000,000,000', '/posts?limit=1000000000', 400, 'invalid-parameter'],
    ['a page of 101', '/posts?limit=101', 400, 'invalid-parameter'],
    ['a page beyond every number', `/posts?limit=${'9'.repeat(400)}`, 400, 'invalid-parameter'],
    ['a page of none', '/posts?limit=0', 400, 'invalid-parameter'],
    ['a page below none', '/posts?limit=-1', 400, 'invalid-parameter'],
    ['half a record', '/posts?limit=1.5', 400, 'invalid-parameter'],
    ['a page in other notations', '/posts?limit=1e2', 400, 'invalid-parameter'],
    ['a page in other digits', '/posts?limit=%D9%A1', 400, 'invalid-parameter'],
    ['a history of 101', '/users/USER/history?limit=101', 400, 'invalid-parameter'],
    ['a deep offset', '/posts?offset=1000000', 422, 'unknown-field'],
    ['a page number', '/posts?page=2', 422, 'unknown-field'],
    ['500 filter terms', `/posts?${times(500, 'slug=a')}`, 422, 'filter-too-complex'],
    ['21 filter terms', `/posts?${times(21, 'slug[ne]=a')}`, 422, 'filter-too-complex'],
    ['101 values of one "in"', `/posts?slug[in]=${times(101, 'a', ',')}`, 422, 'invalid-value'],
    ['101 ids of one "in"', `/posts?id[in]=${ids(101)}`, 422, 'invalid-value'],
    ['a text of 1,001 characters', `/posts?slug=${'a'.repeat(1_001)}`, 422, 'invalid-value'],
    ['a text of 7,000 characters to look for', `/posts?slug[contains]=${'%25_'.repeat(1_500)}`, 422, 'invalid-value'],
    ['an empty text to look for', '/posts?slug[contains]=', 422, 'invalid-value'],
    ['four keys of a sort', '/posts?sort=createdAt,commentCount,id,-slug', 422, 'unknown-field'],
    ['a sort of 1,000 keys', `/posts?sort=${times(1_000, 'id', ',')}`, 400, 'invalid-parameter'],
    ['an include four deep', '/posts?include=author.posts.author.posts', 422, 'filter-too-complex'],
    ['an include 1,000 deep', `/posts?include=${times(1_000, 'author', '.')}`, 422, 'filter-too-complex'],
    ['eleven includes', `/posts?limit=1&include=${tenIncludes},author.posts.tags(limit:1)`, 422, 'filter-too-complex'],
    [
      'includes that multiply',
      '/users?limit=100&include=posts(limit:100).comments(limit:100)',
      422,
      'filter-too-complex',
    ],
    [
      'includes that multiply on one record',
      '/users/USER?include=posts(limit:100).comments(limit:100).author.posts',
      422,
      'filter-too-complex',
    ],
    ['an include of 101', '/users?include=posts(limit:101)', 400, 'invalid-parameter'],
    ['an include of 1,000,000,000', '/users?include=posts(limit:1000000000)', 400, 'invalid-parameter'],
    ['brackets in brackets', `/users?include=posts${'('.repeat(2_000)}`, 422, 'unknown-field'],
    ['brackets that only close', `/users?include=posts${')'.repeat(2_000)}`, 422, 'unknown-field'],
    ['a regular expression', '/posts?slug[regex]=(a%2B)%2B%24', 400, 'invalid-parameter'],
    ['a pattern', '/posts?slug[like]=%25%25', 400, 'invalid-parameter'],
    ['a glob', '/posts?slug[glob]=**', 400, 'invalid-parameter'],
    ['a number beyond 2^53', '/posts?commentCount[gt]=9007199254740993', 422, 'invalid-value'],
    ['a number of 400 digits', `/posts?commentCount=${'1'.repeat(400)}`, 422, 'invalid-value'],
    ['a day that does not exist', '/posts?createdAt[gt]=2026-02-30', 422, 'invalid-value'],
  ])('%s', async (_, path, status, type) => {
    expect(await problem(path.replace('USER', user))).toEqual([status, type])
  })

  test.each([
    ['a page of 100', '/posts?limit=100'],
    ['20 filter terms', `/posts?${times(20, 'slug[ne]=a')}`],
    ['100 values of one "in"', `/posts?slug[in]=${times(100, 'a', ',')}`],
    ['100 ids of one "in"', `/posts?id[in]=${ids(100)}`],
    ['a text of 1,000 characters', `/posts?slug=${'a'.repeat(1_000)}`],
    ['three keys of a sort', '/posts?sort=createdAt,commentCount,id'],
    ['an include three deep', '/posts?limit=10&include=author.posts.author'],
    ['ten includes', `/posts?limit=1&include=${tenIncludes}`],
    ['an include of 100', '/users?include=posts(limit:100)'],
  ])('%s is just allowed', async (_, path) => {
    expect(await problem(path)).toEqual([200, 'none'])
  })

  test('the percent sign and the underscore of a text to look for stand for themselves', async () => {
    const slugs = async (query: string) =>
      (await server.call('GET', `/posts?${query}`)).body.data.map((each: { slug: string }) => each.slug)
    expect(await slugs('slug[contains]=%25')).toEqual(['100%'])
    expect(await slugs('slug[contains]=_')).toEqual(['a_b'])
    expect(await slugs('slug[prefix]=%25')).toEqual([])
  })

  test.each([
    [101, 422],
    [100, 200],
  ])('a batch of %d commands is answered %d', async (count, status) => {
    const commands = Array.from({ length: count }, (_, i) => ({
      do: 'create',
      resource: 'tags',
      body: { name: `${count}-${i}` },
    }))
    expect((await server.call('POST', '/batch', { body: { commands } })).status).toBe(status)
  })
})

describe('row 36: the work of a query is capped by the records that it may look at', () => {
  const over = limits.scanRowsMax + 1
  beforeAll(async () => {
    using database = new Database(server.databaseFile)
    // A document that is no JSON: whoever reads this record, or looks at it to count it, fails.
    database.run('drop trigger posts_after_update')
    database.run("update posts set meta = '{' where slug = 'plain'")
    database.run('update heads set rows = ?', [over])
  })

  test.each([
    ['a text inside a text', '/posts?slug[contains]=lai'],
    ['a list of values', '/posts?slug[in]=plain,100%25'],
    ['what something is not', '/posts?slug[ne]=100%25'],
    ['a range that the sort does not begin with', '/posts?commentCount[gte]=0&sort=createdAt'],
    ['a sort that turns', '/posts?sort=createdAt,-commentCount'],
    ['two sorts that no index has', '/posts?sort=createdAt,commentCount'],
    ['the count of a filter that an index serves', '/posts?status=draft&sort=createdAt&count=exact'],
  ])('%s is refused where no index serves it and the records are more than the budget', async (_, path) => {
    expect(await problem(path)).toEqual([422, 'filter-too-complex'])
  })

  test.each([
    ['an equality and the sort of its index', '/posts?status=draft&sort=createdAt'],
    ['a unique value', '/posts?slug=100%25'],
    ['an id', '/posts?id=USER'],
    ['a range on the sort', '/posts?createdAt[lt]=2000-01-01&sort=createdAt'],
    ['the count of everything', '/users?count=exact'],
    ['the order of ids', '/users?limit=1'],
  ])('%s is answered however many records there are', async (_, path) => {
    expect(await problem(path.replace('USER', user))).toEqual([200, 'none'])
  })

  test('within the budget the same queries are answered', async () => {
    using database = new Database(server.databaseFile)
    database.run('update heads set rows = (select count(*) from posts) where resource = ?', ['posts'])
    database.run('update posts set meta = null')
    expect(await problem('/posts?slug[contains]=lai')).toEqual([200, 'none'])
    expect(await problem('/posts?sort=createdAt,-commentCount')).toEqual([200, 'none'])
  })
})
