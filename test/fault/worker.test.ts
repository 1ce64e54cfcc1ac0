import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { Glob } from 'bun'
import { backUp, restore } from '../../src/entry/primary-folder.ts'
import { model } from '../../src/model/index.ts'
import { copySchemaOf } from '../../src/replica/copy-schema.ts'
import { limits } from '../../src/schema/limits.ts'
import { blackhole } from '../support/blackhole.ts'
import { contentsOf, keysIn } from '../support/contents.ts'
import { databaseIn } from '../support/primary.ts'
import { type Relay, relay } from '../support/relay.ts'
import { type Replicated, replicated, type TestEdgeNode, until, writePairs } from '../support/replicated.ts'
import { type Answer, call } from '../support/server.ts'
import { bundle } from '../support/worker.ts'
import { type WorkerEdge, workerEdge } from '../support/worker-edge.ts'

setDefaultTimeout(120_000)

let world: Replicated
/** Between the Workers and the primary, and its database. */
let wire: Relay
let data: Relay
/** A Worker for tests that leave it as it was. */
let worker: WorkerEdge
beforeAll(async () => {
  await bundle()
  world = await replicated()
  wire = await relay(world.origin)
  data = await relay(world.sqld.url)
  worker = await edge()
  await worker.ready()
})
afterAll(async () => {
  await worker.stop()
  await world.stop()
  for (const each of [wire, data]) each.stop()
})

const edge = (env = {}, folder?: string) =>
  workerEdge(world, { PRIMARY_ORIGIN: wire.origin, LIBSQL_URL: data.origin, ...env }, folder ? { folder } : {})
const stored = async (name: string) => (await world.call('GET', `/tags?name=${name}`)).body.data.length
const create = (url: string, name: string): Promise<Answer> =>
  call(url, 'POST', '/tags', { key: world.key, body: { name }, headers: { 'Idempotency-Key': name } })
const tokenOf = ({ headers }: Answer) => headers.get('consistency-token') ?? ''

/** Waits until a copy has what the token names. */
async function reaches({ call: ask, nudge }: WorkerEdge, path: string, token: string) {
  await nudge(token)
  const isThere = async () =>
    (await ask('GET', path)).headers.has('replica-age') && (await ask('GET', path)).status === 200
  await until(isThere, () => `the copy never has ${path}`, 30_000)
}

describe('a Worker whose primary is away', () => {
  const reads = async (at = worker) => {
    const { status, headers } = await at.call('GET', '/tags?limit=1')
    return [status, headers.has('replica-age')]
  }
  const mend = async () => {
    wire.towards = { primary: true, edge: true }
    wire.cut()
    await wire.accept()
    await until(
      async () => (await create(worker.url, Bun.randomUUIDv7())).status === 201,
      () => 'no write comes through again',
    )
  }

  /** Writes, and is told that nothing was sent. */
  async function writesInVain(url: string) {
    const name = Bun.randomUUIDv7()
    const answer = await create(url, name)
    expect([answer.status, answer.body.type]).toEqual([503, '/problems/primary-unreachable'])
    expect(answer.headers.get('retry-after')).toBe('1')
    return name
  }

  /** A link that was just seen to work may have carried what it carries no more: its outcome is not known. */
  async function firstInVain(url: string) {
    const name = Bun.randomUUIDv7()
    const answer = await create(url, name)
    expect([answer.status, answer.body.type]).toEqual([504, '/problems/outcome-unknown'])
    return name
  }

  test.each([
    ['connections are refused', { primary: true, edge: true }],
    ['the link was cut off towards the edge', { primary: true, edge: false }],
  ])('row 9: where %s, refuses writes as soon as that is known, and reads its copy', async (_, towards) => {
    expect((await create(worker.url, Bun.randomUUIDv7())).status).toBe(201)
    wire.towards = towards
    wire.refuse()
    if (towards.edge) wire.cut()
    const first = await firstInVain(worker.url)
    const refused = [await writesInVain(worker.url), await writesInVain(worker.url)]
    expect(await reads()).toEqual([200, true])
    await mend()
    for (const name of refused) expect(await stored(name)).toBe(0)
    expect((await create(worker.url, first)).status).toBe(201)
    expect(await stored(first)).toBe(1)
  })

  const drops = process.platform === 'linux'
  test.skipIf(!drops)(`row 9: refuses writes where no SYN is answered${drops ? '' : ' (needs Linux)'}`, async () => {
    const nowhere = await blackhole()
    const lonely = await edge({ PRIMARY_ORIGIN: nowhere.origin })
    await lonely.ready()
    await Promise.all(Array.from({ length: 20 }, () => writesInVain(lonely.url)))
    expect(await reads(lonely)).toEqual([200, true])
    nowhere.close()
    await lonely.stop()
  })

  test.each([
    ['without a key', {}],
    ['with a key', { 'Idempotency-Key': 'lost' }],
  ])('row 10: does not know the outcome of a write whose answer is lost, %s', async (name, headers) => {
    wire.onAnswer = (bytes) => bytes.includes(name) && wire.cut()
    const write = () => worker.call('POST', '/tags', { body: { name }, headers })
    const lost = await write()
    wire.onAnswer = () => undefined
    expect([lost.status, lost.body.type]).toEqual([504, '/problems/outcome-unknown'])
    expect(await stored(name)).toBe(1)
    if (!('Idempotency-Key' in headers)) return
    const told = await write()
    const read = await world.call('GET', `/tags/${told.body.id}`)
    expect([told.status, told.text, told.headers.get('idempotency-replayed')]).toEqual([201, read.text, 'true'])
    expect(await stored(name)).toBe(1)
  })
})

describe('a Worker whose copy stands still', () => {
  let token: string
  let path: string
  beforeAll(async () => {
    data.towards = { primary: false, edge: false }
    const made = await world.call('POST', '/tags', { body: { name: 'newer' } })
    token = tokenOf(made)
    path = `/tags/${made.body.id}`
  })
  afterAll(async () => {
    data.towards = { primary: true, edge: true }
    data.cut()
    await reaches(worker, path, token)
  })

  test('row 12: waits for the position of a token, then has the primary answer, and refuses where that is away', async () => {
    const headers = { 'Consistency-Token': token }
    const expired = 'perigee_edge_waits_total{result="expired"}'
    const waits = (await worker.metric(expired)) || 0
    const answer = await worker.call('GET', path, { headers })
    expect([answer.status, answer.body.name, answer.headers.has('replica-age')]).toEqual([200, 'newer', false])
    wire.refuse()
    wire.cut()
    const refused = await worker.call('GET', path, { headers })
    await wire.accept()
    expect([refused.status, refused.body.type]).toEqual([503, '/problems/position-not-reached'])
    expect([refused.headers.get('retry-after'), await worker.metric(expired)]).toEqual(['1', waits + 2])
  })

  test('row 13: answers from it who has no token, and says how old it is', async () => {
    const answer = await worker.call('GET', path)
    expect([answer.status, Number(answer.headers.get('replica-age')) > 0]).toEqual([404, true])
  })
})

test('row 13: has the primary answer once its copy is too old, and answers from it where the primary is away', async () => {
  const strict = await edge({ REPLICA_LAG_MAX: '1' })
  await strict.ready()
  data.towards = { primary: false, edge: false }
  const made = await world.call('POST', '/tags', { body: { name: 'newest' } })
  const read = () => strict.call('GET', `/tags/${made.body.id}`)
  await until(
    async () => !(await read()).headers.has('replica-age'),
    () => 'it never asks the primary',
  )
  expect(await read()).toMatchObject({ status: 200, body: { name: 'newest' } })
  wire.refuse()
  wire.cut()
  const old = await read()
  await wire.accept()
  expect([old.status, Number(old.headers.get('replica-age')) > 1]).toEqual([404, true])
  data.towards = { primary: true, edge: true }
  data.cut()
  await strict.stop()
})

test('row 14: the same write 50 times at once over two Workers and a Bun edge is done once, and answered alike', async () => {
  const other = await edge()
  const bun = await world.edge()
  await Promise.all([other.ready(), bun.ready()])
  const urls = [worker.url, other.url, bun.url]
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => create(urls[i % 3] ?? '', 'fifty')))
  const replays = answers.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')
  expect([answers.length - replays.length, await stored('fifty')]).toEqual([1, 1])
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
  await other.stop()
  await bun.end('SIGKILL')
})

/**
 * Reads how many pairs there are, again and again: half of one is wrong, and so are fewer than before, of the copy. The
 * primary, which answers while there is no copy, may be ahead of the one that then answers.
 */
function watchPairs(at: () => WorkerEdge | TestEdgeNode, name: string) {
  const wrong: string[] = []
  const statuses = new Map<number, number>()
  let isStopping = false
  let seen = 0
  const done = (async () => {
    while (!isStopping) {
      const answer = await at()
        .call('GET', `/tags?name[prefix]=${name}-&count=exact&limit=1`)
        .catch(() => null)
      if (answer === null) continue
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      if (answer.status !== 200) continue
      const count: number = answer.body.count
      if (count % 2 !== 0) wrong.push(`half a pair: ${count}`)
      if (!answer.headers.has('replica-age')) continue
      if (count < seen) wrong.push(`${count} after ${seen}`)
      seen = count
    }
  })()
  return {
    wrong,
    statuses,
    seen: () => seen,
    async stop() {
      isStopping = true
      await done
    },
  }
}

test('row 7: a primary whose sqld is killed loses no token, and no reader here goes back', async () => {
  const pairs = writePairs(world.call, 'dirty')
  const watch = watchPairs(() => worker, 'dirty')
  let token = ''
  for (let kill = 0; kill < 3; kill++) {
    const from = watch.seen()
    await until(
      async () => {
        const made = await worker.call('POST', '/tags', { body: { name: Bun.randomUUIDv7() } })
        if (made.status === 201) token = tokenOf(made)
        return watch.seen() > from + 4
      },
      () => `nothing new is seen after ${from}: ${[...watch.statuses]}`,
      30_000,
    )
    await world.sqld.restart('SIGKILL')
    const headers = { 'Consistency-Token': token }
    await until(
      async () => (await worker.call('GET', '/tags?limit=1', { headers })).status === 200,
      () => 'a token from before is not taken any more',
      30_000,
    )
  }
  await pairs.stop()
  await watch.stop()
  expect(watch.wrong).toEqual([])
})

/** How often workerd is killed in each phase. `KILLS=30 bun test test/fault/worker.test.ts` is the long form. */
const kills = Number(process.env.KILLS ?? 3)

test(`row 6: workerd is killed ${kills} times while it makes its copy and ${kills} times while it follows: no reader sees half of anything, and the copy is the primary's`, async () => {
  const commands = (n: number) =>
    Array.from({ length: limits.batchCommandsMax }, (_, i) => ({
      do: 'create',
      resource: 'tags',
      body: { name: `many-${n}-${i}` },
    }))
  for (let n = 0; n < 12; n++)
    expect((await world.call('POST', '/batch', { body: { commands: commands(n) } })).status).toBe(200)
  const folder = world.newFolder()
  const pairs = writePairs(world.call, 'killed')
  let current = await edge({}, folder)
  const watch = watchPairs(() => current, 'killed')
  /** Kills it a moment after so many more answers of the database, and begins again where it was. */
  const killAfter = async (answers: number) => {
    const victim = current
    let left = answers
    const reached = Promise.withResolvers<void>()
    data.onAnswer = () => --left === 0 && reached.resolve()
    const asking = (async () => {
      while (left > 0) await victim.call('POST', '/tags', { body: { name: Bun.randomUUIDv7() } }).catch(() => null)
    })()
    await reached.promise
    data.onAnswer = () => undefined
    await Bun.sleep(Math.random() * 3)
    await victim.kill()
    await asking
    current = await edge({}, folder)
  }
  // There are 13 parts at least: of the log and the tags, which are three each, and of each other table.
  for (let kill = 0; kill < kills; kill++) await killAfter(1 + Math.floor(Math.random() * 12))
  await current.ready()
  for (let kill = 0; kill < kills; kill++) await killAfter(1 + Math.floor(Math.random() * 20))
  await current.ready()
  const from = watch.seen()
  await until(
    async () => {
      await current.call('POST', '/tags', { body: { name: Bun.randomUUIDv7() } })
      return watch.seen() > from + 4
    },
    () => `nothing new is seen after ${from}: ${[...watch.statuses]}`,
    30_000,
  )
  const written = await pairs.stop()
  await watch.stop()
  expect(watch.wrong).toEqual([])
  expect(written).toBeGreaterThan(0)
  const { position } = (await world.call('GET', '/readyz')).body
  await current.nudge(tokenOf(await world.call('GET', '/tags?limit=1')))
  await until(
    async () => (await current.health()).position >= position,
    () => 'it never has everything',
    30_000,
  )
  await current.stop()
  expect(current.complaints()).toBe('')
  const [object = ''] = [...new Glob('objects/**/*.sqlite').scanSync(folder)].filter(
    (file) => !file.includes('metadata'),
  )
  using copy = new Database(join(folder, object), { readonly: true })
  using primary = new Database(databaseIn(world.sqld.folder), { readonly: true })
  const tables = copySchemaOf(model)
  expect(contentsOf(copy, tables)).toBe(contentsOf(primary, tables))
  expect(keysIn(copy)).toBe(keysIn(primary))
  expect(copy.query('pragma integrity_check').values()).toEqual([['ok']])
})

test('row 8: a primary that was restored from a backup has tokens from before refused, and the copy made anew', async () => {
  const backup = `${world.newFolder()}/backup.db`
  backUp(world.dataDir, backup)
  const lost = await worker.call('POST', '/tags', { body: { name: 'lost 1' } })
  const path = `/tags/${lost.body.id}`
  const before = tokenOf(lost)
  await reaches(worker, path, before)
  const { epoch } = await worker.health()
  const seen = new Set<string>()
  let isStopping = false
  const reader = async (headers: Record<string, string>) => {
    while (!isStopping) {
      const { status, headers: answered, body } = await worker.call('GET', path, { headers })
      if (status === 409) expect(body.type).toBe('/problems/token-from-another-epoch')
      if (status >= 500) continue
      const at = answered.get('consistency-token')?.startsWith(epoch) ? 'before' : 'after'
      seen.add(`${'Consistency-Token' in headers ? 'token' : 'none'} ${status} ${at}`)
    }
  }
  const readers = Promise.all([
    reader({ 'Consistency-Token': before }),
    reader({}),
    reader({ Consistency: 'eventual' }),
  ])
  await world.stopPrimary()
  await world.sqld.end()
  const restored = await restore(world.dataDir, backup)
  await world.sqld.restart()
  await world.startPrimary()
  await worker.nudge(tokenOf(await world.call('GET', '/tags?limit=1')))
  await until(
    async () => (await worker.health()).epoch === restored.epoch,
    () => 'the Worker does not take the restored world over',
    30_000,
  )
  await until(
    () => seen.has('token 409 after') && seen.has('none 404 after'),
    () => `readers have seen only ${[...seen]}`,
    30_000,
  )
  isStopping = true
  await readers
  // The record is there before and not there after; with a token from before, its absence is never shown.
  expect([...seen].sort()).toEqual(['none 200 before', 'none 404 after', 'token 200 before', 'token 409 after'])
})
