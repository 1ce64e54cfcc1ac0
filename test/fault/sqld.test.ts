import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { model } from '../../src/model/index.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { textsIn } from '../support/folder.ts'
import { makeKey, primaryDatabase, spawnPrimary } from '../support/primary.ts'
import { endingWithTests, type SpawnedServer, spawnServer } from '../support/process.ts'
import { until } from '../support/replicated.ts'
import { call, temporaryFolder } from '../support/server.ts'
import { freePort } from '../support/sqld.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

if (endingWithTests.length === 0) console.error('SKIPPED, kill -9 of a primary, because there is no setpriv')

/** A primary with its sqld, an edge in front of it, and clients who write users. */
async function startStand() {
  const folder = temporaryFolder()
  const dataDir = join(folder.path, 'primary')
  const env = { PORT: String(freePort()), LIBSQL_LISTEN: `127.0.0.1:${freePort()}` }
  let primary = await spawnPrimary({ dataDir, env })
  const key = await makeKey(primary.env)
  const token = readFileSync(join(dataDir, 'replica-token'), 'utf8').trim()
  const address = { PRIMARY_ORIGIN: primary.url, LIBSQL_URL: primary.databaseUrl, LIBSQL_TOKEN: token }
  const edge = await spawnServer({ dataDir: join(folder.path, 'edge'), env: address })
  const file = primaryDatabase(dataDir)
  let wishes = new Wishes(key)
  /** How much the primary had complained of before the test. */
  let heard = 0

  const stand = {
    ...{ edge, file },
    get primary() {
      return primary
    },
    /** Those of the test that runs. */
    get wishes() {
      return wishes
    },
    begin() {
      wishes = new Wishes(key)
      heard = primary.complaints().length
    },
    async startAgain() {
      primary = await spawnPrimary({ dataDir, env })
      heard = 0
    },
    complaints: () => primary.complaints().slice(heard),
    settled: () => wishes.all.filter((wish) => wish.answer).length,
    handles: () => textsIn(file, 'select handle from users'),
    isReady: async () => (await call(primary.url, 'GET', '/readyz')).status === 200,
    async restarts(): Promise<number> {
      const { text } = await call(primary.url, 'GET', '/metrics')
      return Number(/^perigee_sqld_restarts_total (\d+)$/m.exec(text)?.[1])
    },
    signalSqld(name: NodeJS.Signals): number {
      const pid = primary.sqldPid()
      if (pid === null) throw new Error('there is no sqld')
      signal(pid, name)
      return pid
    },
    /** Everything is retried, everything that was answered is asked again and says the same, and is stored once. */
    async settleAndAccount() {
      await wishes.sendAll(primary.url)
      await wishes.sendAll(primary.url, { again: true })
      expect(wishes.all.filter((wish) => !wish.answer)).toEqual([])
      expect(wishes.contradictions).toEqual([])
      const wanted = new Set(wishes.all.map(({ name }) => name))
      expect(wishes.account(stand.handles().filter((name) => wanted.has(name)))).toEqual(nothingWrong)
    },
    async stop() {
      expect([await edge.end('SIGTERM'), await primary.end('SIGTERM')]).toEqual([0, 0])
      expect(complaintsAbout(file, model)).toEqual([])
      folder.remove()
    },
  }
  await until(
    async () => (await call(edge.url, 'GET', '/readyz')).status === 200,
    () => 'the edge is not ready',
  )
  return stand
}

type Stand = Awaited<ReturnType<typeof startStand>>

/** A process that has ended by itself gets none. */
function signal(pid: number, name: NodeJS.Signals) {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ESRCH') throw error
  }
}

/**
 * Writes to one node, and reads this and others, until `isOver` or a node is gone; answers the statuses of reads, and the
 * slowest of the writes and of the reads in ms.
 */
async function load(
  { wishes }: Stand,
  isOver: () => boolean,
  { url: writesTo }: SpawnedServer,
  more: readonly SpawnedServer[] = [],
) {
  const reads = new Set<number>()
  const slowestMs = { write: 0, read: 0 }
  const again = async (kind: keyof typeof slowestMs, work: () => Promise<boolean>) => {
    for (let isThere = true; isThere && !isOver(); await Bun.sleep(5)) {
      const start = performance.now()
      isThere = await work()
      slowestMs[kind] = Math.max(slowestMs[kind], performance.now() - start)
    }
  }
  const write = () => {
    const name = `user-${Bun.randomUUIDv7()}`
    return wishes.send(writesTo, wishes.want('POST', '/users', { handle: name, name: 'N' }, name))
  }
  const readAt = (url: string) => async () => {
    const page = await call(url, 'GET', '/users?limit=5').catch(() => null)
    if (page) reads.add(page.status)
    return page !== null
  }
  const readers = [writesTo, writesTo, ...more.map(({ url }) => url)].map((url) => again('read', readAt(url)))
  await Promise.all([...Array.from({ length: 8 }, () => again('write', write)), ...readers])
  return { reads: [...reads], slowestMs }
}

/** Waits for what takes seconds at the longest. */
async function becomes(isSo: () => boolean | Promise<boolean>) {
  await until(isSo, () => 'it did not become so', 20_000)
}

let stand: Stand
/** Another one, beside which everything else is tested while it waits. */
let hanging: Promise<void>
beforeAll(async () => {
  stand = await startStand()
  hanging = hang()
  hanging.catch(() => undefined) // It is told by its test.
})
beforeEach(() => stand.begin())
afterAll(() => stand.stop())

/** Row 11, for longer than a sqld may be silent. */
async function hang() {
  const own = await startStand()
  const { primary, edge, wishes } = own
  let isOver = false
  const loaded = load(own, () => isOver, edge, [primary])
  await becomes(() => own.settled() > 50)
  const pid = own.signalSqld('SIGSTOP')
  await becomes(async () => !(await own.isReady()))
  await becomes(async () => (await own.restarts()) === 1 && (await own.isReady()))
  const after = own.settled()
  await becomes(() => own.settled() > after + 50)
  isOver = true
  const { reads, slowestMs } = await loaded
  expect(slowestMs.write).toBeLessThan(10_000)
  expect(reads).toEqual([200])
  expect(wishes.unsettled.get('504 outcome-unknown')).toBeGreaterThan(0)
  expect([...wishes.unsettled.keys()].filter((what) => !/^50[34] /.test(what))).toEqual([])
  expect(primary.sqldPid()).not.toBe(pid)
  expect(own.complaints()).toMatch(/^perigee: sqld has not answered a write for 6 seconds .*\n.*ended by SIGKILL/)
  await own.settleAndAccount()
  await own.stop()
}

/** The id of the log that replicas follow, from its file: where it is another one, each copies the whole database again. */
describe('row 11: a sqld that does not answer', () => {
  test('for two seconds: nothing fails, reads at the edge do not notice, and it is not replaced', async () => {
    let isOver = false
    const loaded = load(stand, () => isOver, stand.edge)
    await becomes(() => stand.settled() > 50)
    const pid = stand.signalSqld('SIGSTOP')
    const stopped = stand.wishes.all.length
    await Bun.sleep(2_000)
    signal(pid, 'SIGCONT')
    const after = stand.settled()
    await becomes(() => stand.settled() > after + 50)
    isOver = true
    const { reads, slowestMs } = await loaded
    expect(stopped).toBeGreaterThan(50)
    expect(slowestMs.write).toBeGreaterThan(1_900)
    expect(slowestMs.read).toBeLessThan(1_900)
    expect([reads, [...stand.wishes.unsettled], stand.primary.sqldPid(), stand.complaints()]).toEqual([
      [200],
      [],
      pid,
      '',
    ])
    await stand.settleAndAccount()
  })
})

describe('row 43, for the primary and its sqld', () => {
  test('SIGTERM under load: whatever was done is answered, both end, and both start again, and again', async () => {
    for (let round = 0; round < 3; round++) {
      const most = stand.settled() + 100
      let isOver = false
      const loaded = load(stand, () => isOver, stand.primary)
      await becomes(() => stand.settled() >= most)
      const sqld = stand.primary.sqldPid()
      expect(await stand.primary.end('SIGTERM')).toBe(0)
      isOver = true
      await loaded
      expect(() => process.kill(sqld as number, 0)).toThrow('ESRCH')
      expect(stand.complaints()).toBe('')
      const stored = new Set(stand.handles())
      expect(stand.wishes.all.filter(({ name, answer }) => !answer && stored.has(name))).toEqual([])
      await stand.startAgain()
    }
    await stand.settleAndAccount()
  })

  test.skipIf(endingWithTests.length === 0)(
    'a primary that is killed takes its sqld along, and the next one takes over',
    async () => {
      let isOver = false
      const loaded = load(stand, () => isOver, stand.primary)
      await becomes(() => stand.settled() > 50)
      await stand.primary.end('SIGKILL')
      await stand.startAgain()
      isOver = true
      await loaded
      await stand.settleAndAccount()
    },
  )
})

describe('kill -9 of the sqld of a primary', () => {
  test('sqld is killed again and again under load: it is started again, lost 0, twice 0, ghost 0; reads go on', async () => {
    for (let round = 1; round <= 2; round++) {
      let isOver = false
      const loaded = load(stand, () => isOver, stand.primary, [stand.edge])
      const most = stand.settled() + 30 + Math.floor(Math.random() * 200)
      await becomes(() => stand.settled() >= most)
      stand.signalSqld('SIGKILL')
      await becomes(async () => (await stand.restarts()) === round && (await stand.isReady()))
      const after = stand.settled()
      await becomes(() => stand.settled() > after)
      isOver = true
      expect((await loaded).reads).toEqual([200])
    }
    // What sqld said before is told with its end: of a request that was begun with the one before, for example.
    const ends = stand.complaints().replaceAll(/^ {2}.* ERROR .*\n/gm, '')
    expect(ends).toBe('perigee: sqld ended by SIGKILL.\n'.repeat(2))
    await stand.settleAndAccount()
  })
})

test('row 11: a sqld that does not answer any more: writes end as outcome-unknown within ten seconds, reads go on, and another takes its place', async () => {
  await hanging
})
