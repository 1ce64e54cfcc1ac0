import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { keepReplicator, positionAt } from '../../src/entry/edge.ts'
import { createFollowing, type Facts } from '../../src/replica/following.ts'
import { ReplicaSupervisor } from '../../src/replica/supervisor.ts'
import { childrenOf, type Replicated, replicated, until } from '../support/replicated.ts'

setDefaultTimeout(60_000)

let world: Replicated
beforeAll(async () => {
  world = await replicated()
})
afterAll(() => world.stop())

/** A supervisor and what it tells, over a folder of its own or one that was left. */
function supervised(folder = world.newFolder(), silentMsMax = 5_000) {
  const told: Facts[] = []
  const complaints: string[] = []
  const clock = { now: Date.now, elapsed: () => performance.now() }
  const libsql = { url: world.sqld.url, token: world.sqld.readOnlyToken, folder: null }
  const replica = createFollowing(clock, () => supervisor.nudge())
  const supervisor = new ReplicaSupervisor({
    folder,
    clock,
    replicate: (wanted, hear) => keepReplicator(libsql, wanted, hear),
    primaryPosition: () => positionAt(world.origin),
    onChange(facts) {
      told.push(facts)
      replica.learn(facts)
    },
    complain: (sentence) => complaints.push(sentence),
    silentMsMax,
  })
  supervisor.start()
  const ready = () =>
    until(
      () => replica.state().unready === null,
      () => `it is not ready: ${replica.state().unready}`,
    )
  return { folder, told, complaints, supervisor, replica, ready }
}

describe('the supervisor of a replica', () => {
  test('tells of no file before it has everything that the primary had', async () => {
    const { body } = await world.call('GET', '/readyz')
    const { supervisor, told, ready } = supervised()
    await ready()
    await supervisor.stop()
    const before = told.filter(({ file }) => file === null)
    expect(before.length).toBeGreaterThan(0)
    expect(before.every(({ position, unready }) => position === null && unready !== null)).toBe(true)
    expect(told.at(-1)?.position?.epoch).toBe(body.epoch)
    expect(told.filter(({ position }) => position !== null && position.seq < body.position)).toEqual([])
  })

  test('kills a replicator that hangs, and starts another', async () => {
    const { supervisor, replica, ready, complaints } = supervised(undefined, 700)
    await ready()
    const [pid = 0] = childrenOf(process.pid, 'replicator.ts')
    process.kill(pid, 'SIGSTOP')
    await until(
      () => replica.state().phase === 'failing',
      () => 'it is not noticed',
    )
    expect(replica.state().ageMs).toBeGreaterThan(500)
    expect(complaints).toEqual(['The replicator has done nothing for 700 ms.'])
    await until(
      () => replica.state().restarts === 1 && replica.state().phase === 'following',
      () => 'there is no other',
    )
    expect(childrenOf(process.pid, 'replicator.ts')).not.toContain(pid)
    await supervisor.stop()
    expect(childrenOf(process.pid, 'replicator.ts')).toEqual([])
  })

  test('tells who waits for a position when the copy has it, and who waits too long that it has not', async () => {
    const { supervisor, replica, ready } = supervised()
    await ready()
    const position = replica.state().position!
    expect(await replica.reached(position, 0)).toBe(true)
    const next = { ...position, seq: (position.seq + 1) as typeof position.seq }
    expect(await replica.reached(next, 20)).toBe(false)
    const reached = replica.reached(next, 5_000)
    await world.call('POST', '/users', { body: { handle: 'awaited', name: 'Awaited' } })
    replica.nudge()
    expect(await reached).toBe(true)
    expect(await replica.reached({ ...position, epoch: 'another' as typeof position.epoch }, 20)).toBe(false)
    await supervisor.stop()
  })

  test('begins a new copy where the old one cannot be followed, and removes that when nobody has it open', async () => {
    const first = supervised()
    await first.ready()
    await first.supervisor.stop()
    const file = first.replica.state().file ?? ''
    rmSync(`${file}-client_wal_index`)
    const { supervisor, replica, ready, told, complaints } = supervised(first.folder)
    const reader = {}
    supervisor.holds(reader, [file])
    expect(replica.state()).toMatchObject({ file, bootstraps: 0 })
    await until(
      () => replica.state().bootstraps === 1,
      () => 'it holds on to the copy',
    )
    await ready()
    expect(complaints).toEqual([expect.stringContaining(`The copy in ${file} is given up, and another is made: `)])
    expect(replica.state().file).toBe(join(dirname(file), '..', '2', 'replica.db'))
    expect(told.some((facts) => facts.file === null)).toBe(true)
    expect(existsSync(file)).toBe(true)
    supervisor.holds(reader, [])
    expect(existsSync(file)).toBe(false)
    await supervisor.stop()
  })

  test('says of a copy that it finds how old it is, and follows on with it', async () => {
    const first = supervised()
    await first.ready()
    await first.supervisor.stop()
    await Bun.sleep(50)
    const { supervisor, replica, told, ready } = supervised(first.folder)
    const { ageMs, file, position, phase } = replica.state()
    expect({ file, phase }).toEqual({ file: first.replica.state().file, phase: 'starting' })
    expect(position).not.toBeNull()
    expect(ageMs).toBeGreaterThan(50)
    await ready()
    expect(told.every((facts) => facts.file === file)).toBe(true)
    expect(replica.state()).toMatchObject({ phase: 'following', bootstraps: 0 })
    await supervisor.stop()
  })
})
