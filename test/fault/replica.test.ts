import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { backUp, restore } from '../../src/entry/primary-folder.ts'
import { model } from '../../src/model/index.ts'
import type { Report } from '../../src/replica/replicator.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { textsIn } from '../support/folder.ts'
import { endingWithTests } from '../support/process.ts'
import { type Replicated, replicated, until, watchCopy, writePairs } from '../support/replicated.ts'

setDefaultTimeout(60_000)

let world: Replicated
beforeAll(async () => {
  world = await replicated()
})
afterAll(() => world.stop())

const entry = join(import.meta.dir, '..', '..', 'src', 'entry', 'replicator.ts')

/** A replicator by itself, on a copy in `file`. */
function spawnReplicator(file: string) {
  const reports: Report[] = []
  const child = Bun.spawn([...endingWithTests, process.execPath, entry, file], {
    env: { PATH: process.env.PATH ?? '', LIBSQL_URL: world.sqld.url, LIBSQL_TOKEN: world.sqld.readOnlyToken },
    stdio: ['ignore', 'ignore', 'inherit'],
    ipc: (report: Report) => void reports.push(report),
  })
  return {
    reports,
    nudge: () => child.send('nudge'),
    async kill() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}

const positionIn = ({ reports }: { reports: readonly Report[] }) => {
  const last = reports.findLast((report) => report.kind === 'synced')
  return last?.kind === 'synced' ? last.position : null
}

/** Waits until the replicator has everything that the primary has now. */
async function caughtUp(replicator: { readonly reports: readonly Report[] }) {
  const { epoch, position } = (await world.call('GET', '/readyz')).body
  const isThere = () => {
    const at = positionIn(replicator)
    return at !== null && at.epoch === epoch && at.seq >= position
  }
  await until(isThere, () => `the copy stays behind ${position}: ${JSON.stringify(replicator.reports.at(-1))}`)
}

describe('row 6: kill -9 the replicator', () => {
  test('8 times at random moments of its syncs, under writes: no reader sees half a commit or goes back', async () => {
    const file = join(world.newFolder(), 'replica.db')
    const pairs = writePairs(world.call, 'killed')
    let replicator = spawnReplicator(file)
    await caughtUp(replicator)
    const watch = watchCopy(file)
    for (let kill = 0; kill < 8; kill++) {
      await Bun.sleep(Math.random() * 20)
      await replicator.kill()
      replicator = spawnReplicator(file)
      await until(
        () => replicator.reports.length > 0,
        () => 'it does not start again',
      )
    }
    const written = await pairs.stop()
    await caughtUp(replicator)
    await replicator.kill()
    watch.stop()
    expect(watch.wrong).toEqual([])
    expect(watch.reads).toBeGreaterThan(1_000)
    expect(written).toBeGreaterThan(20)
    expect(textsIn(file, "select count(*) from tags where name like 'killed-%'")).toEqual([String(2 * written)])
    expect(complaintsAbout(file, model)).toEqual([])
  })

  test('a second one on the same copy keeps off it', async () => {
    const file = join(world.newFolder(), 'replica.db')
    const first = spawnReplicator(file)
    await caughtUp(first)
    const second = spawnReplicator(file)
    await until(
      () => second.reports.length > 0,
      () => 'it says nothing',
    )
    expect(second.reports).toMatchObject([{ kind: 'failed', fault: 'passing' }])
    await Promise.all([first.kill(), second.kill()])
  })

  test('it looks at the primary when it is nudged, and does not wait for its next look', async () => {
    const replicator = spawnReplicator(join(world.newFolder(), 'replica.db'))
    await caughtUp(replicator)
    const { reports } = replicator
    const gap = () => (reports.at(-1)?.began ?? 0) - (reports.at(-2)?.began ?? 0)
    const rested = () => [reports.at(-1), reports.at(-2)].every((each) => each?.kind === 'synced' && each.frames === 0)
    await until(
      () => rested() && gap() > 200,
      () => 'it never comes to rest',
    )
    const before = reports.length
    replicator.nudge()
    await until(
      () => reports.length > before,
      () => 'it says nothing',
    )
    expect(gap()).toBeLessThan(200)
    await world.call('POST', '/users', { body: { handle: 'nudged', name: 'Nudged' } })
    await caughtUp(replicator)
    await replicator.kill()
  })
})

describe('row 7: kill -9 sqld, so that its frames are numbered anew', () => {
  test('the replicator copies everything again, no reader sees a part of it or goes back, and positions go on', async () => {
    const file = join(world.newFolder(), 'replica.db')
    const replicator = spawnReplicator(file)
    await caughtUp(replicator)
    const watch = watchCopy(file)
    for (const name of ['dirty', 'dirtier']) {
      const before = positionIn(replicator)?.seq ?? 0
      const from = replicator.reports.length
      const pairs = writePairs(world.call, name)
      await world.sqld.restart('SIGKILL')
      const pages = Number(textsIn(file, 'pragma page_count')[0])
      await until(
        () => replicator.reports.slice(from).some((report) => report.kind === 'synced' && report.frames >= pages),
        () => 'the database is not copied again, so this tests nothing',
      )
      expect(await pairs.stop()).toBeGreaterThan(0)
      await caughtUp(replicator)
      expect(positionIn(replicator)?.seq).toBeGreaterThan(before)
    }
    watch.stop()
    expect(watch.wrong).toEqual([])
    await replicator.kill()
    expect(complaintsAbout(file, model)).toEqual([])
  })
})

describe('row 8: a primary that was restored from a backup', () => {
  test('an edge never answers a token from before with less than it has seen, nor labels the old data as the new', async () => {
    const { call } = world
    const backup = join(world.newFolder(), 'backup.db')
    backUp(world.dataDir, backup)
    const lost = await call('POST', '/tags', { body: { name: 'lost 1' } })
    const token = lost.headers.get('consistency-token') ?? ''
    const path = `/tags/${lost.body.id}`
    const edge = await world.edge()
    const { epoch } = await edge.ready()
    const seen: string[] = []
    let isStopping = false
    const reader = async (headers: Record<string, string>) => {
      while (!isStopping) {
        const { status, headers: answered, body } = await edge.call('GET', path, { headers })
        if (status === 409) expect(body.type).toBe('/problems/token-from-another-epoch')
        const at = answered.get('consistency-token')?.startsWith(epoch) ? 'before' : 'after'
        const what = `${'Consistency-Token' in headers ? 'token' : 'none'} ${status} ${status < 500 ? at : ''}`.trim()
        if (!seen.includes(what)) seen.push(what)
      }
    }
    const readers = Promise.all([
      reader({ 'Consistency-Token': token }),
      reader({}),
      reader({ Consistency: 'eventual' }),
    ])
    await world.stopPrimary()
    await world.sqld.end()
    const restored = await restore(world.dataDir, backup)
    await world.sqld.restart()
    await world.startPrimary()
    await until(
      async () => (await edge.health()).epoch === restored.epoch,
      () => 'the edge does not take the restored world over',
    )
    await until(
      () => seen.includes('token 409 after') && seen.includes('none 404 after'),
      () => `readers have seen only ${seen}`,
    )
    isStopping = true
    await readers
    // The record is there before and not there after; with a token from before, its absence is never shown.
    expect(seen.filter((what) => !/ 503$/.test(what)).sort()).toEqual([
      'none 200 before',
      'none 404 after',
      'token 200 before',
      'token 409 after',
    ])
    expect(await edge.end('SIGTERM')).toBe(0)
    expect(complaintsAbout(edge.copyFile(edge.copies()[0] ?? 0), model)).toEqual([])
  })
})
