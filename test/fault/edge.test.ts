import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { model } from '../../src/model/index.ts'
import { limits } from '../../src/schema/limits.ts'
import { migrateLibsql } from '../../src/store/libsql-migrate.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { blackhole } from '../support/blackhole.ts'
import { testEdge } from '../support/edge.ts'
import { textsIn } from '../support/folder.ts'
import { addMigration, copyProject } from '../support/project.ts'
import { type Relay, relay } from '../support/relay.ts'
import { type Replicated, replicated, type TestEdgeNode, until } from '../support/replicated.ts'
import { type Answer, call, testServer } from '../support/server.ts'
import { head, openWire } from '../support/socket.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

let world: Replicated
/** Between the edges and the primary, and its database. */
let wire: Relay
let data: Relay
/** An edge for tests that leave it as it was. */
let node: TestEdgeNode
beforeAll(async () => {
  world = await replicated()
  wire = await relay(world.origin)
  data = await relay(world.sqld.url)
  node = await edge()
  await node.ready()
})
afterAll(async () => {
  expect(await node.end('SIGTERM')).toBe(0)
  await world.stop()
  for (const each of [wire, data]) each.stop()
})

const edge = (dataDir?: string, env = {}) =>
  world.edge({ PRIMARY_ORIGIN: wire.origin, LIBSQL_URL: data.origin, ...env }, dataDir)
const stored = async (name: string) => (await world.call('GET', `/tags?name=${name}`)).body.data.length
const create = (url: string, name: string): Promise<Answer> =>
  call(url, 'POST', '/tags', { key: world.key, body: { name }, headers: { 'Idempotency-Key': name } })
const post = (name: string, body: string) =>
  head(
    'POST /tags',
    `Authorization: Bearer ${world.key}`,
    'Content-Type: application/json',
    `Idempotency-Key: ${name}`,
    `Content-Length: ${body.length}`,
  )

describe('row 1: an edge that is killed', () => {
  let victim: TestEdgeNode
  beforeAll(async () => {
    victim = await edge()
  })
  afterAll(() => victim.end('SIGKILL'))

  /** Kills the edge when `at` says so of what passes, while a client creates `name`; asks the next with the same key. */
  async function killed(name: string, at: 'unsent' | 'request' | 'answer'): Promise<Answer> {
    const body = JSON.stringify({ name })
    const client = await openWire(victim.url)
    const killing = Promise.withResolvers<void>()
    const kill = () => killing.resolve(victim.end('SIGKILL').then(() => undefined))
    wire.onRequest = (bytes) => at === 'request' && bytes.includes(name) && kill()
    wire.onAnswer = (bytes) => {
      if (at !== 'answer' || !bytes.includes(name)) return
      wire.towards.edge = false
      kill()
    }
    client.send(post(name, body) + body.slice(0, at === 'unsent' ? 5 : undefined))
    if (at === 'unsent') kill()
    await killing.promise
    expect(await client.answer()).toBeNull()
    wire.towards.edge = true
    wire.onRequest = wire.onAnswer = () => undefined
    victim = await edge(victim.dataDir)
    return create(victim.url, name)
  }

  test.each([
    ['before it sends a write on', 'unsent', [false]],
    ['after it has sent it on', 'request', [false, true]],
    ['after the commit, before it answers', 'answer', [true]],
  ] as const)('%s leaves it done once or not at all, and the key tells which', async (_, at, replayed) => {
    for (const round of [1, 2]) {
      const name = `${at}-${round}`
      const answer = await killed(name, at)
      const read = await world.call('GET', `/tags/${answer.body.id}`)
      expect([answer.status, answer.text, await stored(name)]).toEqual([201, read.text, 1])
      expect(replayed.map(String)).toContain(String(answer.headers.get('idempotency-replayed') === 'true'))
    }
  })

  test('at random moments under 12 writers: lost 0, twice 0, ghost 0', async () => {
    const wishes = new Wishes(world.key)
    for (let round = 0; round < 5; round++) {
      await wishes.sendAll(victim.url)
      const write = async () => {
        for (;;) {
          const name = `random-${wishes.all.length}`
          if (!(await wishes.send(victim.url, wishes.want('POST', '/tags', { name }, name)))) return
        }
      }
      const writing = Promise.all(Array.from({ length: 12 }, write))
      await Bun.sleep(30 + Math.random() * 150)
      await victim.end('SIGKILL')
      await writing
      victim = await edge(victim.dataDir)
    }
    await wishes.sendAll(victim.url)
    await wishes.sendAll(victim.url, { again: true })
    expect(wishes.contradictions).toEqual([])
    expect(wishes.all.filter(({ answer }) => answer?.status !== 201)).toEqual([])
    const file = join(world.sqld.folder, 'dbs', 'default', 'data')
    using database = new Database(file, { readonly: true })
    const names = database.query<{ name: string }, []>(`select name from tags where name like 'random-%'`).all()
    expect(wishes.account(names.map(({ name }) => name))).toEqual(nothingWrong)
    expect(complaintsAbout(file, model)).toEqual([])
  })
})

test('an edge that gets no copy has the primary answer, and tells its numbers', async () => {
  const without = await world.edge({ LIBSQL_URL: 'http://127.0.0.1:1' })
  const made = await create(without.url, 'no-copy')
  const read = await without.call('GET', `/tags/${made.body.id}`)
  expect([read.status, read.text, read.headers.get('replica-age')]).toEqual([200, made.text, null])
  expect((await without.call('GET', '/readyz')).body.type).toBe('/problems/not-ready')
  expect((await without.call('GET', '/nowhere')).status).toBe(404)
  const lines = (await without.call('GET', '/metrics')).text.split('\n')
  expect(lines).toContain('perigee_edge_reads_forwarded_total{reason="no-copy"} 1')
  expect(lines.filter((line) => line.startsWith('perigee_log_position'))).toEqual([])
  await without.end('SIGTERM')
})

describe('an edge whose primary is away', () => {
  const reads = async () => {
    const { status, headers } = await node.call('GET', '/tags?limit=1')
    return [status, headers.has('replica-age')]
  }
  const mend = async () => {
    wire.towards = { primary: true, edge: true }
    wire.cut()
    await wire.accept()
    expect((await create(node.url, Bun.randomUUIDv7())).status).toBe(201)
  }

  /** Writes, and is told within the time of a connection, and a little, that nothing was sent. */
  async function writesInVain(url: string) {
    const name = Bun.randomUUIDv7()
    const start = performance.now()
    const answer = await create(url, name)
    expect(performance.now() - start).toBeLessThan(limits.forwardConnectMsMax + 500)
    expect([answer.status, answer.body.type]).toEqual([503, '/problems/primary-unreachable'])
    expect(answer.headers.get('retry-after')).toBe('1')
    return name
  }

  test('row 9: refuses a write where connections are refused, and reads its copy', async () => {
    wire.refuse()
    wire.cut()
    const name = await writesInVain(node.url)
    expect(await reads()).toEqual([200, true])
    await mend()
    expect(await stored(name)).toBe(0)
  })

  test.each([
    ['both ways', { primary: false, edge: false }],
    ['towards the edge', { primary: true, edge: false }],
  ])('row 9: refuses a write over kept connections, a second after the link was cut off %s', async (_, towards) => {
    expect((await create(node.url, Bun.randomUUIDv7())).status).toBe(201)
    wire.towards = towards
    wire.refuse()
    await Bun.sleep(1_100)
    const name = await writesInVain(node.url)
    expect(await reads()).toEqual([200, true])
    await mend()
    expect(await stored(name)).toBe(0)
  })

  const drops = process.platform === 'linux'
  test.skipIf(!drops)(`row 9: refuses writes where no SYN is answered${drops ? '' : ' (needs Linux)'}`, async () => {
    const nowhere = await blackhole()
    const before = await edge()
    await before.ready()
    await before.end('SIGTERM')
    const lonely = await edge(before.dataDir, { PRIMARY_ORIGIN: nowhere.origin })
    await Promise.all(Array.from({ length: 20 }, () => writesInVain(lonely.url)))
    expect((await lonely.call('GET', '/tags?limit=1')).headers.has('replica-age')).toBe(true)
    nowhere.close()
    expect(await lonely.end('SIGTERM')).toBe(0)
  })

  test.each([
    ['without a key', {}, 1],
    ['with a key, which it has sent twice', { 'Idempotency-Key': 'lost' }, 2],
  ] as const)('row 10: does not know the outcome of a write whose answer is lost, %s', async (name, headers, sent) => {
    const { requests, stop } = requestsOn(wire, (line) => line.startsWith('POST /tags'))
    wire.onAnswer = (bytes) => bytes.includes(name) && wire.cut()
    const write = () => node.call('POST', '/tags', { body: { name }, headers })
    const lost = await write()
    stop()
    wire.onAnswer = () => undefined
    expect([lost.status, lost.body.type, requests.length]).toEqual([504, '/problems/outcome-unknown', sent])
    expect(await stored(name)).toBe(1)
    if (sent === 1) return
    const told = await write()
    const read = await world.call('GET', `/tags/${told.body.id}`)
    expect([told.status, told.text, told.headers.get('idempotency-replayed')]).toEqual([201, read.text, 'true'])
    expect(await stored(name)).toBe(1)
  })
})

describe('an edge whose copy stands still', () => {
  let token: string
  let path: string
  beforeAll(async () => {
    data.towards = { primary: false, edge: false }
    const made = await world.call('POST', '/tags', { body: { name: 'newer' } })
    token = made.headers.get('consistency-token') ?? ''
    path = `/tags/${made.body.id}`
  })
  afterAll(async () => {
    data.towards = { primary: true, edge: true }
    data.cut()
    await until(
      async () => (await node.call('GET', path)).headers.has('replica-age'),
      () => 'it never has what is newer',
    )
  })

  test('row 12: waits for the position of a token, then has the primary answer, and refuses where that is away', async () => {
    const headers = { 'Consistency-Token': token }
    const expired = 'perigee_edge_waits_total{result="expired"}'
    const waits = await node.metric(expired)
    const answer = await node.call('GET', path, { headers })
    expect([answer.status, answer.body.name, answer.headers.has('replica-age')]).toEqual([200, 'newer', false])
    wire.refuse()
    wire.cut()
    const start = performance.now()
    const refused = await node.call('GET', path, { headers })
    expect(performance.now() - start).toBeLessThan(limits.positionWaitMsMax + limits.forwardConnectMsMax)
    await wire.accept()
    expect([refused.status, refused.body.type]).toEqual([503, '/problems/position-not-reached'])
    expect([refused.headers.get('retry-after'), await node.metric(expired)]).toEqual(['1', waits + 2])
  })

  test('row 13: answers from it who has no token, and says how old it is', async () => {
    const answer = await node.call('GET', path)
    expect([answer.status, Number(answer.headers.get('replica-age')) > 0]).toEqual([404, true])
  })

  test('row 13: has the primary answer once it is too old, and answers from it where the primary is away', async () => {
    const strict = await edge(undefined, { REPLICA_LAG_MAX: '1', LIBSQL_URL: world.sqld.url })
    await strict.ready()
    world.sqld.signal('SIGSTOP')
    try {
      const read = () => strict.call('GET', path)
      expect((await read()).headers.has('replica-age')).toBe(true)
      await until(
        async () => !(await read()).headers.has('replica-age'),
        () => 'it never asks the primary',
      )
      expect(await read()).toMatchObject({ status: 200, body: { name: 'newer' } })
      wire.refuse()
      wire.cut()
      const old = await read()
      await wire.accept()
      expect([old.status, Number(old.headers.get('replica-age')) > 1]).toEqual([200, true])
    } finally {
      world.sqld.signal('SIGCONT')
      await strict.end('SIGKILL')
    }
  })
})

/** The first lines of requests that pass on a wire, as long as they are listened to. */
function requestsOn(link: Relay, counts: (line: string) => boolean) {
  const requests: string[] = []
  const before = link.onRequest
  link.onRequest = (bytes) => {
    before(bytes)
    const lines = bytes.toString('latin1').matchAll(/^[A-Z]+ \S+ HTTP\/1\.1$/gm)
    requests.push(...[...lines].map(([line]) => line).filter(counts))
  }
  const stop = () => {
    link.onRequest = before
  }
  return { requests, stop }
}

test('a write is one request to the primary and one to its database, and a read of the session is none', async () => {
  const sqld = await relay(world.sqld.url)
  await world.stopPrimary()
  await world.startPrimary({ LIBSQL_URL: sqld.origin })
  const warm = await create(node.url, 'warm')
  const atPrimary = requestsOn(wire, (line) => !line.startsWith('GET /readyz'))
  const atDatabase = requestsOn(sqld, () => true)
  const fromEdge = requestsOn(data, (line) => line.includes('pipeline'))
  for (let n = 1; n <= 10; n++) {
    const made = await create(node.url, `counted-${n}`)
    const headers = { 'Consistency-Token': made.headers.get('consistency-token') ?? '' }
    // At once, before the copy has it, and after.
    expect((await node.call('GET', `/tags/${made.body.id}`, { headers })).text).toBe(made.text)
    await until(
      async () => (await node.call('GET', `/tags/${made.body.id}`, { headers })).headers.has('replica-age'),
      () => 'the copy never has it',
    )
    expect((await node.call('GET', '/tags?limit=1', { headers })).headers.has('replica-age')).toBe(true)
    expect([atPrimary.requests.length, atDatabase.requests.length]).toEqual([n, n])
  }
  expect(warm.status).toBe(201)
  expect(new Set(atPrimary.requests)).toEqual(new Set(['POST /tags HTTP/1.1']))
  expect(new Set(atDatabase.requests)).toEqual(new Set(['POST /v2/pipeline HTTP/1.1']))
  expect(fromEdge.requests).toEqual([])
  for (const { stop } of [atPrimary, atDatabase, fromEdge]) stop()
  await world.stopPrimary()
  await world.startPrimary()
  sqld.stop()
})

test('row 14: the same write 50 times at once over three edges is done once, and answered alike', async () => {
  const edges = [node, ...(await Promise.all([edge(), edge()]))]
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => create(edges[i % 3]?.url ?? '', 'fifty')))
  const replays = answers.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')
  expect([answers.length - replays.length, await stored('fifty')]).toEqual([1, 1])
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
  for (const each of edges.slice(1)) expect(await each.end('SIGTERM')).toBe(0)
})

test('row 18: a client that goes away takes nothing back, whenever it goes', async () => {
  wire.delayMs = 40
  for (let step = 0; step <= 12; step++) {
    const name = `gone-${step}`
    const body = JSON.stringify({ name })
    const client = await openWire(node.url)
    client.send(post(name, body) + body)
    await Bun.sleep(10 * step)
    client.destroy()
    // From the second step on, the edge has had it for 10 ms at the least: it arrives, though nobody waits.
    if (step > 1)
      await until(
        async () => (await stored(name)) === 1,
        () => `${name} never arrives`,
      )
    const told = await create(node.url, name)
    expect([told.status, await stored(name)]).toEqual([201, 1])
  }
  wire.delayMs = 0
})

test.each([
  ['ten minutes behind', -600_000],
  ['a day ahead', 86_400_000],
])('row 20: an edge whose clock is %s keeps the same promises', async (_, offset) => {
  const primary = await testServer()
  const odd = await testEdge(primary, { now: () => Date.now() + offset })
  for (const name of ['a', 'b', 'c']) await primary.call('POST', '/tags', { body: { name } })
  odd.replica.catchUp()
  const made = await odd.call('POST', '/tags', { body: { name: 'here' } })
  const headers = { 'Consistency-Token': made.headers.get('consistency-token') ?? '' }
  expect((await odd.call('GET', `/tags/${made.body.id}`, { headers })).text).toBe(made.text)
  expect((await primary.call('GET', '/tags', { headers })).status).toBe(200)
  odd.replica.catchUp()
  const read = await odd.call('GET', '/tags?limit=2', { headers })
  expect([read.status, read.headers.get('replica-age')]).toEqual([200, '0.000'])
  for (const [from, to] of [
    [odd, primary],
    [primary, odd],
  ] as const) {
    const page = await from.call('GET', '/tags?limit=2')
    expect((await to.call('GET', `/tags?limit=2&after=${page.body.next}`)).body.data.length).toBe(2)
  }
  expect(odd.faults).toEqual([])
  await odd.stop()
  await primary.stop()
})

test('row 43: the database is migrated under load, and no request fails at the primary or at an edge', async () => {
  const project = copyProject()
  addMigration(project, 'colour', 'ALTER TABLE tags ADD COLUMN colour text;')
  let isOver = false
  const statuses = new Map<number, number>()
  const client = async (url: string, place: number) => {
    for (let n = 0; !isOver; n++) {
      const name = `migrated-${place}-${n}`
      const { status } = await (n % 4 === 0 ? create(url, name) : call(url, 'GET', '/tags?limit=5', { key: world.key }))
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  const clients = Promise.all([node.url, node.url, world.origin, world.origin].map(client))
  const enough = (least: number) => () => [200, 201].every((status) => (statuses.get(status) ?? 0) > least)
  await until(enough(50), () => 'there is no load')
  await migrateLibsql({ url: world.sqld.url, token: world.sqld.token }, join(project.root, 'drizzle'))
  const copy = node.copyFile(node.copies().at(-1) ?? 0)
  await until(
    () => textsIn(copy, "select 1 from pragma_table_info('tags') where name = 'colour'").length === 1,
    () => 'the copy is not migrated',
  )
  await until(enough((statuses.get(201) ?? 0) + 50), () => 'the load ends')
  isOver = true
  await clients
  project.remove()
  expect([...statuses.keys()].sort()).toEqual([200, 201])
})
