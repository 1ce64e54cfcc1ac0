import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

/** Texts that mean something to some parser of SQL, of JSON paths, of patterns or of our own query strings. */
const texts = [
  `' or '1'='1`,
  `' or 1=1 --`,
  `'; drop table users; --`,
  `" or ""="`,
  '`',
  '``; select 1',
  `'/**/union/**/select/**/key/**/from/**/keys--`,
  `') or exists(select 1 from keys) --`,
  `a' || (select secret from meta) || 'b`,
  `char(39)||char(39)`,
  `x' collate nocase --`,
  `1); delete from changes; --`,
  `?1`,
  `:tenant`,
  `$tenant`,
  `@tenant`,
  `%`,
  `_`,
  `%27`,
  `\\`,
  `\\'`,
  `$.name`,
  `$[0]`,
  `[]`,
  `{}`,
  `null`,
  `true`,
  `0`,
  `1e3`,
  `-1`,
  `0x10`,
  `Text`,
  `text`,
  `TEXT`,
  `é`,
  `É`,
  `e\u0301`,
  `ß`,
  `ss`,
  `\u0130`,
  `i\u0307`,
  `\u{1f600}`,
  `\uffff`,
  `\u202e`,
  ` leading`,
  `trailing `,
  `a\tb`,
  `a\nb`,
  `a&b=c`,
  `a+b`,
  `a#b`,
  `a=b`,
  `<b>`,
]

const otherTenants = 'of-another-tenant'
let server: TestServer
let user: string
let schema: unknown
beforeAll(async () => {
  server = await testServer()
  user = (await server.call('POST', '/users', { body: { handle: 'ada', name: 'Ada' } })).body.id
  const otherKey = await server.key({ tenant: 'other' })
  await server.call('POST', '/tags', { key: otherKey, body: { name: otherTenants } })
  for (const name of texts) {
    const made = await server.call('POST', '/tags', { body: { name } })
    expect([made.status, made.body.name]).toEqual([201, name])
  }
  schema = schemaOf(server)
})
afterAll(() => server.stop())

function schemaOf({ databaseFile }: TestServer): unknown {
  using database = new Database(databaseFile, { readonly: true })
  return database.query('select name, sql from sqlite_master order by name').values()
}

const bytes = (text: string) => Buffer.from(text)
const compare = (a: string, b: string) => Buffer.compare(bytes(a), bytes(b))
const asciiLower = (text: string) => text.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())

/** What each operator means, over the bytes of texts. */
const meanings: Record<string, (held: string, given: string) => boolean> = {
  eq: (held, given) => held === given,
  ne: (held, given) => held !== given,
  gt: (held, given) => compare(held, given) > 0,
  gte: (held, given) => compare(held, given) >= 0,
  lt: (held, given) => compare(held, given) < 0,
  lte: (held, given) => compare(held, given) <= 0,
  prefix: (held, given) => held.startsWith(given),
  contains: (held, given) => asciiLower(held).includes(asciiLower(given)),
  in: (held, given) => given.split(',').includes(held),
}

const namesOf = (answer: { body: { data: { name: string }[] } }) => answer.body.data.map((tag) => tag.name)

describe('row 37: what a caller sends is a value, whatever it looks like', () => {
  test.each(Object.keys(meanings))(
    'a filter with %s finds what plain comparison finds, in plain order',
    async (operator) => {
      const holds = meanings[operator]!
      for (const given of texts) {
        const answer = await server.call(
          'GET',
          `/tags?name[${operator}]=${encodeURIComponent(given)}&sort=name&limit=100`,
        )
        const expected = texts.filter((held) => holds(held, given)).sort(compare)
        expect({ given, names: answer.status === 200 && namesOf(answer) }).toEqual({ given, names: expected })
      }
    },
  )

  test('two filters with such values hold together', async () => {
    for (const [i, low] of texts.entries()) {
      const high = texts[(i * 7 + 3) % texts.length]!
      const query = `name[gte]=${encodeURIComponent(low)}&name[lt]=${encodeURIComponent(high)}&name[ne]=${encodeURIComponent(texts[0]!)}`
      const answer = await server.call('GET', `/tags?${query}&sort=-name&limit=100&count=exact`)
      const expected = texts.filter((held) => compare(held, low) >= 0 && compare(held, high) < 0 && held !== texts[0])
      expect([namesOf(answer), answer.body.count]).toEqual([expected.sort(compare).reverse(), expected.length])
    }
  })

  test('paging by cursors over such values meets each once', async () => {
    for (const sort of ['name', '-name']) {
      const seen: string[] = []
      let after = ''
      do {
        const page = await server.call('GET', `/tags?sort=${sort}&limit=7${after}`)
        seen.push(...namesOf(page))
        after = page.body.next === null ? '' : `&after=${page.body.next}`
      } while (after !== '')
      const expected = texts.toSorted(compare)
      expect(seen).toEqual(sort === 'name' ? expected : expected.reverse())
    }
  })

  test('texts are stored and read back as they were sent, in fields, documents and histories', async () => {
    for (const [i, text] of texts.entries()) {
      const body = {
        authorId: user,
        slug: `kept ${i} ${text}`,
        title: text,
        body: text,
        meta: { [text]: text, list: [text] },
      }
      const made = await server.call('POST', '/posts', { body })
      expect([made.status, made.body.title, made.body.body, made.body.meta]).toEqual([201, text, text, body.meta])
      const patched = await server.call('PATCH', `/posts/${made.body.id}`, {
        body: { meta: { [text]: { deeper: text } } },
      })
      expect(patched.body.meta).toEqual({ [text]: { deeper: text }, list: [text] })
      const history = await server.call('GET', `/posts/${made.body.id}/history`)
      expect(history.body.data[0].record.meta).toEqual(patched.body.meta)
    }
  })

  test.each(texts.map((text) => [JSON.stringify(text), text] as const))(
    '%s as a name of anything is refused',
    async (_, text) => {
      const name = encodeURIComponent(text)
      const refused = async (
        method: string,
        path: string,
        options: { body?: unknown; headers?: Record<string, string> } = {},
      ) => {
        const answer = await server.call(method, path, options)
        expect({
          method,
          path,
          options,
          ok: [400, 404, 422].includes(answer.status),
          status: answer.status,
        }).toMatchObject({ ok: true })
        expect(answer.text).not.toContain(otherTenants)
      }
      await refused('GET', `/tags?${name}=1`)
      await refused('GET', `/tags?name[${name}]=1`)
      await refused('GET', `/tags?sort=${name}`)
      await refused('GET', `/tags?sort=name${name}`)
      await refused('GET', `/tags?fields=${name}`)
      await refused('GET', `/tags?fields=name${name}`)
      await refused('GET', `/tags?include=${name}`)
      await refused('GET', `/tags?include=posts(fields:${name})`)
      await refused('GET', `/tags?include=posts(limit:${name})`)
      await refused('GET', `/tags?include=posts(sort:${name})`)
      await refused('GET', `/tags?limit=${text === '0' ? '0' : `1${name}`}`)
      await refused('GET', `/tags?count=${name}`)
      await refused('GET', `/tags?after=${name}`)
      await refused('GET', `/tags?id=${name}`)
      await refused('GET', `/tags?postCount=${encodeURIComponent(`1${text}x`)}`)
      await refused('GET', `/tags/${name}`)
      await refused('GET', `/tags/${name}/history`)
      await refused('DELETE', `/tags/${user}${name}`)
      await refused('POST', '/tags', { body: { name: 'n', [text]: 1 } })
      await refused('POST', '/posts', { body: { authorId: text, slug: 's', title: 't' } })
      await refused('POST', '/posts', { body: { authorId: user, slug: 's', title: 't', status: text } })
      await refused('POST', '/posts', { body: { authorId: user, slug: 's', title: 't', words: text } })
      await refused('POST', '/batch', { body: { commands: [{ do: text, resource: 'tags', body: {} }] } })
      await refused('POST', '/batch', { body: { commands: [{ do: 'delete', resource: text, id: user }] } })
      await refused('POST', '/batch', { body: { commands: [{ do: 'delete', resource: 'tags', id: { $ref: text } }] } })
    },
  )

  test('an id, a cursor or an enum with SQL behind it is no id, cursor or enum', async () => {
    const cursor = (await server.call('GET', '/tags?limit=1')).body.next
    for (const text of texts) {
      const tail = encodeURIComponent(text)
      for (const path of [
        `/users/${user}${tail}`,
        `/users?id=${user}${tail}`,
        `/tags?limit=1&after=${cursor}${tail}`,
        `/posts?status=draft${tail}`,
      ])
        expect([400, 404, 422]).toContain((await server.call('GET', path)).status)
    }
  })

  test('after all of it the schema is the same, the other tenant’s tag is there, and the log is true', async () => {
    expect(schemaOf(server)).toEqual(schema)
    using database = new Database(server.databaseFile, { readonly: true })
    expect(database.query('select count(*) from tags where tenant = ?').values('other')).toEqual([[1]])
    expect(database.query('select count(*) from tags where tenant = ?').values('demo')).toEqual([[texts.length]])
    expect(complaintsAbout(server.databaseFile, model)).toEqual([])
  })
})
