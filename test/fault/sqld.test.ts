import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { model } from '../../src/model/index.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { textsIn } from '../support/folder.ts'
import { makeKey, primaryDatabase, type SpawnedPrimary, spawnPrimary } from '../support/primary.ts'
import { endingWithTests, type SpawnedServer, spawnServer } from '../support/process.ts'
import { call, temporaryFolder } from '../support/server.ts'
import { freePort } from '../support/sqld.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

if (endingWithTests.length === 0) console.error('SKIPPED, kill -9 of a primary, because there is no setpriv')

let folder: ReturnType<typeof temporaryFolder>
let primary: SpawnedPrimary
/** Its address, which it keeps when it is started again. */
let env: Readonly<Record<string, string>>
/** In front of it. */
let edge: SpawnedServer
let key: string
let wishes: Wishes
/** How much the primary had complained of before the test. */
let heard: number
beforeAll(async () => {
  folder = temporaryFolder()
  const dataDir = join(folder.path, 'primary')
  env = { PORT: String(freePort()), LIBSQL_LISTEN: `127.0.0.1:${freePort()}` }
  primary = await spawnPrimary({ dataDir, env })
  key = await makeKey(primary.env)
  const token = readFileSync(join(dataDir, 'replica-token'), 'utf8').trim()
  const address = { PRIMARY_ORIGIN: primary.url, LIBSQL_URL: primary.databaseUrl, LIBSQL_TOKEN: token }
  edge = await spawnServer({ dataDir: join(folder.path, 'edge'), env: address })
  await until(async () => (await call(edge.url, 'GET', '/readyz')).status === 200)
})
beforeEach(() => {
  wishes = new Wishes(key)
  heard = primary.complaints().length
})
afterAll(async () => {
  expect([await edge.end('SIGTERM'), await primary.end('SIGTERM')]).toEqual([0, 0])
  expect(complaintsAbout(file(), model)).toEqual([])
  folder.remove()
})

const file = () => primaryDatabase(primary.env.DATA_DIR)
const complaints = () => primary.complaints().slice(heard)

async function startAgain() {
  primary = await spawnPrimary({ dataDir: primary.env.DATA_DIR, env })
  heard = 0
}

/** A process that has ended by itself gets none. */
function signal(pid: number, name: NodeJS.Signals) {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ESRCH') throw error
  }
}

function signalSqld(name: NodeJS.Signals): number {
  const pid = primary.sqldPid()
  if (pid === null) throw new Error('there is no sqld')
  signal(pid, name)
  return pid
}

/**
 * Writes to one node, and reads this and others, until `isOver` or a node is gone; answers the statuses of reads, and the
 * slowest of the writes and of the reads in ms.
 */
async function load(
  isOver: () => boolean,
  { url: writesTo }: SpawnedServer = primary,
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

async function until(isSo: () => boolean | Promise<boolean>, ms = 20_000) {
  const deadline = performance.now() + ms
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`it did not become so in ${ms} ms: ${primary.complaints()}`)
    await Bun.sleep(10)
  }
}

const isReady = async () => (await call(primary.url, 'GET', '/readyz')).status === 200
const settled = () => wishes.all.filter((wish) => wish.answer).length

async function restarts(): Promise<number> {
  const { text } = await call(primary.url, 'GET', '/metrics')
  return Number(/^perigee_sqld_restarts_total (\d+)$/m.exec(text)?.[1])
}

/** The id of the log that replicas follow, from its file: where it is another one, each copies the whole database again. */
function logId(): string {
  return readFileSync(join(dirname(file()), 'wallog'))
    .subarray(16, 32)
    .toHex()
}

/** Everything is retried, everything that was answered is asked again and says the same, and is stored once. */
async function settleAndAccount() {
  await wishes.sendAll(primary.url)
  await wishes.sendAll(primary.url, { again: true })
  expect(wishes.all.filter((wish) => !wish.answer)).toEqual([])
  expect(wishes.contradictions).toEqual([])
  const wanted = new Set(wishes.all.map(({ name }) => name))
  expect(wishes.account(handles().filter((name) => wanted.has(name)))).toEqual(nothingWrong)
}

const handles = () => textsIn(file(), 'select handle from users')

describe('row 11: a sqld that does not answer', () => {
  test('for two seconds: nothing fails, reads at the edge do not notice, and it is not replaced', async () => {
    let isOver = false
    const loaded = load(() => isOver, edge)
    await until(() => settled() > 50)
    const pid = signalSqld('SIGSTOP')
    const stopped = wishes.all.length
    await Bun.sleep(2_000)
    signal(pid, 'SIGCONT')
    const after = settled()
    await until(() => settled() > after + 50)
    isOver = true
    const { reads, slowestMs } = await loaded
    expect(stopped).toBeGreaterThan(50)
    expect([slowestMs.write > 1_900, slowestMs.read < 1_000]).toEqual([true, true])
    expect([reads, [...wishes.unsettled], primary.sqldPid(), complaints()]).toEqual([[200], [], pid, ''])
    await settleAndAccount()
  })

  test('any more: writes end as outcome-unknown within ten seconds, reads go on, and another takes its place', async () => {
    let isOver = false
    const before = await restarts()
    const loaded = load(() => isOver, edge, [primary])
    await until(() => settled() > 50)
    const pid = signalSqld('SIGSTOP')
    await until(async () => !(await isReady()))
    await until(async () => (await restarts()) === before + 1 && (await isReady()))
    const after = settled()
    await until(() => settled() > after + 50)
    isOver = true
    const { reads, slowestMs } = await loaded
    expect(slowestMs.write).toBeLessThan(10_000)
    expect(reads).toEqual([200])
    expect(wishes.unsettled.get('504 outcome-unknown')).toBeGreaterThan(0)
    expect([...wishes.unsettled.keys()].filter((what) => !/^50[34] /.test(what))).toEqual([])
    expect(primary.sqldPid()).not.toBe(pid)
    expect(complaints()).toMatch(/^perigee: sqld has not answered a write for 6 seconds .*\n.*ended by SIGKILL/)
    await settleAndAccount()
  })
})

describe('row 43, for the primary and its sqld', () => {
  test('SIGTERM under load: whatever was done is answered, sqld keeps its log, both start again, and again', async () => {
    const log = logId()
    for (let round = 0; round < 3; round++) {
      const most = settled() + 100
      let isOver = false
      const loaded = load(() => isOver)
      await until(() => settled() >= most)
      const sqld = primary.sqldPid()
      expect(await primary.end('SIGTERM')).toBe(0)
      isOver = true
      await loaded
      expect(() => process.kill(sqld as number, 0)).toThrow('ESRCH')
      expect(complaints()).toBe('')
      const stored = new Set(handles())
      expect(wishes.all.filter(({ name, answer }) => !answer && stored.has(name))).toEqual([])
      await startAgain()
    }
    expect(logId()).toBe(log)
    await settleAndAccount()
  })

  test.skipIf(endingWithTests.length === 0)(
    'a primary that is killed takes its sqld along, and the next one takes over',
    async () => {
      let isOver = false
      const loaded = load(() => isOver)
      await until(() => settled() > 50)
      await primary.end('SIGKILL')
      await startAgain()
      isOver = true
      await loaded
      await settleAndAccount()
    },
  )
})

describe('kill -9 of the sqld of a primary', () => {
  test('sqld is killed again and again under load: it is started again, lost 0, twice 0, ghost 0; reads go on', async () => {
    for (let round = 1; round <= 3; round++) {
      let isOver = false
      const loaded = load(() => isOver, primary, [edge])
      const most = settled() + 30 + Math.floor(Math.random() * 200)
      await until(() => settled() >= most)
      signalSqld('SIGKILL')
      await until(async () => (await restarts()) === round && (await isReady()))
      const after = settled()
      await until(() => settled() > after)
      isOver = true
      expect((await loaded).reads).toEqual([200])
    }
    expect(complaints()).toBe('perigee: sqld ended by SIGKILL.\n'.repeat(3))
    await settleAndAccount()
  })
})
