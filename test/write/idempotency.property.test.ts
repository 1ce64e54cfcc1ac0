import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { audit } from '../../src/entry/audit.ts'
import { model } from '../../src/model/index.ts'
import { account, complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { type Draw, withRandomChoices } from '../support/random-model.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.stop())

/** One thing that a client wants done, however often it has to ask. */
interface Wish {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly body: unknown
  readonly apiKey: string
  readonly headers: Readonly<Record<string, string>>
  readonly isKeyed: boolean
}

/** One request for a wish. Its name is its X-Request-Id, by which the log tells who wrote. */
interface Attempt {
  readonly wish: number
  /** All attempts of a wave are made at once, when those of the wave before have been answered. */
  readonly wave: number
  readonly name: string
  readonly answer: Answer
}

const idOf = (n: number) => `0190a000-0000-7000-8000-00000000000${n}`
const isDone = ({ answer }: Attempt) => answer.status < 300
const isReplay = ({ answer }: Attempt) => answer.headers.get('idempotency-replayed') === 'true'

function randomWishes(draw: Draw, apiKeys: readonly string[]): Wish[] {
  const wishes = Array.from({ length: draw.int(5, 40) }, (_, i): Wish => {
    const key = draw.pick([null, `own-${i}`, `own-${i}`, `own-${i}`, `shared-${draw.int(0, 3)}`])
    const { ifMatch, ...write } = randomWrite(draw)
    const headers = { ...(key && { 'Idempotency-Key': key }), ...(ifMatch && { 'If-Match': ifMatch }) }
    return { ...write, apiKey: draw.pick(apiKeys), headers, isKeyed: key !== null }
  })
  // The same wish under the same key is one wish, and without a key it is another each time.
  const texts = wishes.map((wish) => JSON.stringify(wish))
  return wishes.filter((wish, i) => !wish.isKeyed || texts.indexOf(texts[i] ?? '') === i)
}

function randomWrite(draw: Draw): Pick<Wish, 'method' | 'path' | 'body'> & { ifMatch?: string } {
  const id = idOf(draw.int(0, 4))
  const ifMatch = draw.pick([undefined, undefined, '"1"', '"2"', '"1", "3"', '*'])
  const condition = ifMatch === undefined ? {} : { ifMatch }
  const { resource, body } = randomRecord(draw)
  switch (draw.pick(['create', 'create', 'replace', 'patch', 'patch', 'delete', 'batch'])) {
    case 'create':
      return { method: 'POST', path: `/${resource}`, body }
    case 'replace':
      return { method: 'PUT', path: `/${resource}/${id}`, body, ...condition }
    case 'patch':
      return { method: 'PATCH', path: `/${resource}/${id}`, body: randomPart(draw, body), ...condition }
    case 'delete':
      return { method: 'DELETE', path: `/${resource}/${id}`, body: undefined, ...condition }
    default:
      return { method: 'POST', path: '/batch', body: { commands: randomCommands(draw) } }
  }
}

/** Few names, so that records meet, and now and then a reference to nothing. */
function randomRecord(draw: Draw): { resource: string; body: Record<string, unknown> } {
  const ref = () => idOf(draw.chance(8) ? 9 : draw.int(0, 4))
  const n = draw.int(0, 9)
  switch (draw.pick(['users', 'users', 'posts', 'posts', 'comments', 'tags', 'postTags'])) {
    case 'users':
      return { resource: 'users', body: { handle: `h${n}`, name: `Name ${n}` } }
    case 'posts':
      return { resource: 'posts', body: { authorId: ref(), slug: `s${n}`, title: `Title ${n}`, words: n } }
    case 'comments':
      return { resource: 'comments', body: { postId: ref(), authorId: ref(), body: `Comment ${n}` } }
    case 'tags':
      return { resource: 'tags', body: { name: `t${n}` } }
    default:
      return { resource: 'postTags', body: { postId: ref(), tagId: ref() } }
  }
}

function randomPart(draw: Draw, body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(draw.some(Object.entries(body), 2))
}

function randomCommands(draw: Draw): unknown[] {
  return Array.from({ length: draw.int(1, 4) }, () => {
    const { resource, body } = randomRecord(draw)
    const id = idOf(draw.int(0, 4))
    const kind = draw.pick(['create', 'replace', 'replace', 'patch', 'delete'])
    if (kind === 'create') return { do: kind, resource, body }
    return { do: kind, resource, id, ...(kind === 'delete' ? {} : { body }) }
  })
}

/** Asks for every wish, some of them several times at once, in waves; and in the end for all of them again. */
async function sendAll(draw: Draw, wishes: readonly Wish[], run: number): Promise<Attempt[]> {
  const attempts: Attempt[] = []
  const everything = wishes.map((_, i) => i)
  const waves: number[][] = []
  const rest = everything.flatMap((i): number[] => Array(draw.pick([1, 1, 2, 3])).fill(i))
  while (rest.length > 0) {
    const size = Math.min(rest.length, draw.int(1, 30))
    waves.push(Array.from({ length: size }, () => rest.splice(draw.int(0, rest.length - 1), 1)).flat())
  }
  for (const [at, wave] of [...waves, everything, everything].entries()) {
    attempts.push(
      ...(await Promise.all(
        wave.map(async (i, place) => {
          const { method, path, body, apiKey, headers } = wishes[i]!
          const name = `${run}.${attempts.length + place}`
          const options = { key: apiKey, body, headers: { ...headers, 'X-Request-Id': name } }
          return { wish: i, wave: at, name, answer: await server.call(method, path, options) }
        }),
      )),
    )
  }
  return attempts
}

interface Logged {
  readonly request: string
  readonly resource: string
  readonly id: string
  readonly operation: string
  readonly version: number
  readonly image: string | null
}

/** What the log holds of this tenant, by the request that wrote it. */
function logOf(tenant: string): Map<string, Logged[]> {
  using database = new Database(server.databaseFile, { readonly: true })
  const sql = 'select request, resource, id, operation, version, image from changes where tenant = ? order by seq'
  return Map.groupBy(database.query<Logged, [string]>(sql).all(tenant), (entry) => entry.request)
}

/** What was done for a wish was done by one attempt; without a key each attempt is for itself. */
function unitOf(wishes: readonly Wish[], { wish, name }: Attempt): string {
  return wishes[wish]?.isKeyed ? `wish ${wish}` : `attempt ${name}`
}

function expectAccounts(wishes: readonly Wish[], attempts: readonly Attempt[], log: ReadonlyMap<string, Logged[]>) {
  const done = new Set(attempts.filter(isDone).map((each) => unitOf(wishes, each)))
  const unitByRequest = new Map(attempts.map((each) => [each.name, unitOf(wishes, each)]))
  const stored = [...log.keys()].map((request) => unitByRequest.get(request) ?? `request ${request}`)
  const refused = new Set(unitByRequest.values()).difference(done)
  expect(account({ acknowledged: done, refused, unanswered: [] }, stored)).toEqual(nothingWrong)
}

const told = ['etag', 'location', 'consistency-token', 'content-type', 'api-version']

/** A wish is granted once; from then on every answer to it is that first one, to the byte. */
function expectSameAnswers(wishes: readonly Wish[], attempts: readonly Attempt[]) {
  const say = ({ answer }: Attempt) => [answer.status, answer.text, ...told.map((name) => answer.headers.get(name))]
  for (const [wish, all] of Map.groupBy(attempts, (each) => each.wish)) {
    const granted = all.filter((each) => isDone(each) && !isReplay(each))
    const [first] = granted
    if (!wishes[wish]?.isKeyed || !first) {
      expect([wish, all.filter(isReplay)]).toEqual([wish, []])
      continue
    }
    expect([wish, granted.length]).toEqual([wish, 1])
    for (const each of all.filter((other) => isReplay(other) || other.wave > first.wave)) {
      expect([wish, isReplay(each), ...say(each)]).toEqual([wish, true, ...say(first)])
    }
  }
}

/** What an answer shows is what its request wrote to the log, once, at the version that it names. */
function expectLogged(attempts: readonly Attempt[], log: ReadonlyMap<string, Logged[]>, wishes: readonly Wish[]) {
  for (const attempt of attempts.filter((each) => isDone(each) && !isReplay(each))) {
    const entries = log.get(attempt.name) ?? []
    const { method, path } = wishes[attempt.wish]!
    const { answer } = attempt
    if (path === '/batch') {
      const shown = answer.body.results.filter((each: { record: unknown }) => each.record !== null)
      for (const { resource, record } of shown) expectOnce(entries, resource, record)
      const gone = answer.body.results.filter((each: { status: number }) => each.status === 204)
      const deleted = entries.filter((entry) => entry.operation === 'delete').map((entry) => entry.id)
      for (const { id } of gone) expect(deleted).toContain(id)
    } else if (method === 'DELETE') {
      const deleted = entries.filter((entry) => entry.operation === 'delete' && path.endsWith(entry.id))
      expect(deleted.length).toBe(1)
    } else expectOnce(entries, path.split('/')[1] ?? '', answer.body)
  }
}

function expectOnce(entries: readonly Logged[], resource: string, record: { id: string; version: number }) {
  const found = entries.filter(
    (entry) => entry.resource === resource && entry.id === record.id && entry.version === record.version,
  )
  expect(found.map((entry) => JSON.parse(entry.image ?? 'null'))).toEqual([record])
}

test('every wish is granted once or not at all, however often and at whatever time it is asked for', async () => {
  let run = 0
  const statuses = new Map<number, number>()
  await withRandomChoices(
    async (draw) => {
      const tenant = `tenant${run++}`
      const key = await server.key({ tenant, scopes: ['read', 'write', 'editor'] })
      const users = await Promise.all([0, 1].map((n) => server.key({ tenant, subject: idOf(n) })))
      const wishes = randomWishes(draw, [key, key, key, ...users])
      const founding = [0, 1, 2].map((n) => ({
        do: 'replace',
        resource: 'users',
        id: idOf(n),
        body: { handle: `founder${n}`, name: 'Founder' },
      }))
      const found = { method: 'POST', path: '/batch', body: { commands: founding }, apiKey: key } as const
      const all: Wish[] = [{ ...found, headers: { 'Idempotency-Key': 'founding' }, isKeyed: true }, ...wishes]
      const attempts = await sendAll(draw, all, run)
      const log = logOf(tenant)
      expectAccounts(all, attempts, log)
      expectSameAnswers(all, attempts)
      expectLogged(attempts, log, all)
      for (const { answer } of attempts) statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
    },
    { runs: 20 },
  )
  // The reasons to be refused were met too, and none of them was a fault of ours.
  for (const status of [200, 201, 204, 403, 404, 409, 412, 422]) expect([...statuses.keys()]).toContain(status)
  expect([...statuses.keys()].filter((status) => status >= 500)).toEqual([])
  expect(complaintsAbout(server.databaseFile, model)).toEqual([])
  const { reader, primary } = server.node
  const drifts: unknown[] = []
  await audit(model, reader, primary, false, (drift) => drifts.push(drift))
  expect(drifts).toEqual([])
  const { groups, batches } = primary.stats()
  expect(batches).toBeGreaterThan(1.5 * groups)
})
