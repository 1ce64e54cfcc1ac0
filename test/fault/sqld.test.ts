import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { model } from '../../src/model/index.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { textsIn } from '../support/folder.ts'
import { makeKey, primaryDatabase, type SpawnedPrimary, spawnPrimary } from '../support/primary.ts'
import { endingWithTests } from '../support/process.ts'
import { call, temporaryFolder } from '../support/server.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

if (endingWithTests.length === 0) console.error('SKIPPED, kill -9 of a primary, because there is no setpriv')

let folder: ReturnType<typeof temporaryFolder>
let primary: SpawnedPrimary
let wishes: Wishes
beforeEach(async () => {
  folder = temporaryFolder()
  primary = await spawnPrimary({ dataDir: folder.path })
  wishes = new Wishes(await makeKey(primary.env))
})
afterEach(async () => {
  for (const pid of [primary.sqldPid(), primary.pid]) if (pid) signal(pid, 'SIGKILL')
  await primary.exited
  folder.remove()
})

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

/** Writes and reads until `isOver` or the primary is gone; answers the statuses of reads, and the slowest of all in ms. */
async function load(isOver: () => boolean) {
  const reads = new Set<number>()
  let slowestMs = 0
  const again = async (work: () => Promise<boolean>) => {
    for (let isThere = true; isThere && !isOver(); await Bun.sleep(5)) {
      const start = performance.now()
      isThere = await work()
      slowestMs = Math.max(slowestMs, performance.now() - start)
    }
  }
  const write = () => {
    const name = `user-${wishes.all.length}`
    return wishes.send(primary.url, wishes.want('POST', '/users', { handle: name, name: 'N' }, name))
  }
  const read = async () => {
    const page = await call(primary.url, 'GET', '/users?limit=5').catch(() => null)
    if (page) reads.add(page.status)
    return page !== null
  }
  await Promise.all([...Array.from({ length: 8 }, () => again(write)), again(read), again(read)])
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
  const file = join(dirname(primaryDatabase(folder.path)), 'wallog')
  return readFileSync(file).subarray(16, 32).toHex()
}

/** Everything is retried, everything that was answered is asked again and says the same, and the database is sound. */
async function settleAndAccount() {
  await wishes.sendAll(primary.url)
  await wishes.sendAll(primary.url, { again: true })
  expect(wishes.all.filter((wish) => !wish.answer)).toEqual([])
  expect(wishes.contradictions).toEqual([])
  expect(await primary.end('SIGTERM')).toBe(0)
  const file = primaryDatabase(folder.path)
  expect(wishes.account(textsIn(file, 'select handle from users'))).toEqual(nothingWrong)
  expect(complaintsAbout(file, model)).toEqual([])
}

describe('kill -9 of the sqld of a primary', () => {
  test('sqld is killed again and again under load: it is started again, lost 0, twice 0, ghost 0; reads go on', async () => {
    for (let round = 1; round <= 4; round++) {
      let isOver = false
      const loaded = load(() => isOver)
      const most = settled() + 30 + Math.floor(Math.random() * 200)
      await until(() => settled() >= most)
      signalSqld('SIGKILL')
      await until(async () => (await restarts()) === round && (await isReady()))
      const after = settled()
      await until(() => settled() > after)
      isOver = true
      expect((await loaded).reads).toEqual([200])
    }
    expect(primary.complaints()).toBe('perigee: sqld ended by SIGKILL.\n'.repeat(4))
    await settleAndAccount()
  })
})

describe('row 11: a sqld that does not answer', () => {
  test('for two seconds: nothing fails and it is not replaced', async () => {
    let isOver = false
    const loaded = load(() => isOver)
    await until(() => settled() > 50)
    const pid = signalSqld('SIGSTOP')
    await Bun.sleep(2_000)
    signal(pid, 'SIGCONT')
    const after = settled()
    await until(() => settled() > after + 50)
    isOver = true
    const { reads, slowestMs } = await loaded
    expect(slowestMs).toBeGreaterThan(1_900)
    expect([reads, [...wishes.unsettled], primary.sqldPid(), primary.complaints()]).toEqual([[200], [], pid, ''])
    await settleAndAccount()
  })

  test('any more: writes end as outcome-unknown within ten seconds, reads go on, and another takes its place', async () => {
    let isOver = false
    const loaded = load(() => isOver)
    await until(() => settled() > 50)
    const pid = signalSqld('SIGSTOP')
    await until(async () => !(await isReady()))
    await until(async () => (await restarts()) === 1 && (await isReady()))
    const after = settled()
    await until(() => settled() > after + 50)
    isOver = true
    const { reads, slowestMs } = await loaded
    expect(slowestMs).toBeLessThan(10_000)
    expect(reads).toEqual([200])
    expect(wishes.unsettled.get('504 outcome-unknown')).toBeGreaterThan(0)
    expect([...wishes.unsettled.keys()].filter((what) => !/^50[34] /.test(what))).toEqual([])
    expect(primary.sqldPid()).not.toBe(pid)
    expect(primary.complaints()).toMatch(/^perigee: sqld has not answered a write for 6 seconds .*\n.*ended by SIGKILL/)
    await settleAndAccount()
  })
})

describe('row 43, for the primary and its sqld', () => {
  test('SIGTERM under load: whatever was done is answered, sqld keeps its log, both start again, and again', async () => {
    const log = logId()
    for (let round = 0; round < 3; round++) {
      const handles = () => new Set(textsIn(primaryDatabase(folder.path), 'select handle from users'))
      const most = settled() + 100
      let isOver = false
      const loaded = load(() => isOver)
      await until(() => settled() >= most)
      const sqld = primary.sqldPid()
      expect(await primary.end('SIGTERM')).toBe(0)
      isOver = true
      await loaded
      expect(() => process.kill(sqld as number, 0)).toThrow('ESRCH')
      expect(primary.complaints()).toBe('')
      const stored = handles()
      expect(wishes.all.filter(({ name, answer }) => !answer && stored.has(name))).toEqual([])
      primary = await spawnPrimary({ dataDir: folder.path, env: primary.env })
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
      primary = await spawnPrimary({ dataDir: folder.path, env: primary.env })
      isOver = true
      await loaded
      await settleAndAccount()
    },
  )
})
