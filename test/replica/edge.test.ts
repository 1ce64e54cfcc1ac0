import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from '@libsql/client'
import { runCommand } from '../support/command.ts'
import { LogFollower } from '../support/follower.ts'
import { type Replicated, replicated, until, writePairs } from '../support/replicated.ts'
import { follow } from '../support/stream.ts'

setDefaultTimeout(60_000)

let world: Replicated
let n = 0
beforeAll(async () => {
  world = await replicated()
})
afterAll(() => world.stop())

const eventual = { Consistency: 'eventual' }

/** A user of the primary's. */
async function newUser(ask = world.call): Promise<{ id: string; handle: string; token: string }> {
  const handle = `user${n++}`
  const made = await ask('POST', '/users', { body: { handle, name: 'A name' } })
  expect(made.status).toBe(201)
  return { id: made.body.id, handle, token: made.headers.get('consistency-token') ?? '' }
}

describe('an edge', () => {
  test('answers from the primary until it has a copy, then from the copy, which follows', async () => {
    const { id } = await newUser()
    const edge = await world.edge()
    const first = await edge.call('GET', `/users/${id}`)
    expect([first.status, first.headers.get('replica-age')]).toEqual([200, null])
    const { replicator, epoch } = await edge.ready()
    expect(replicator).toEqual({ phase: 'following', restarts: 0, bootstraps: 1 })
    expect((await world.call('GET', '/readyz')).body.epoch).toBe(epoch)
    const second = await edge.call('GET', `/users/${id}`)
    expect([second.status, second.text]).toEqual([200, first.text])
    expect(Number(second.headers.get('replica-age'))).toBeLessThan(2)
    const later = await newUser()
    await until(
      async () => (await edge.call('GET', `/users/${later.id}`, { headers: eventual })).status === 200,
      () => 'a change at the primary does not come',
    )
    expect(await edge.end('SIGTERM')).toBe(0)
    expect(edge.complaints()).toBe('')
  })

  test('opens the copy that it finds, and is not ready until it knows that nothing is missing', async () => {
    const { id, token } = await newUser()
    const edge = await world.edge()
    await edge.ready()
    expect(await edge.end('SIGTERM')).toBe(0)
    await world.stopPrimary()
    await world.sqld.end()
    const again = await world.edge({}, edge.dataDir)
    const read = await again.call('GET', `/users/${id}`, { headers: { 'Consistency-Token': token } })
    expect(read.status).toBe(200)
    const age = Number(read.headers.get('replica-age'))
    expect(age > 0 && age < 30).toBe(true)
    await until(
      async () => /cannot follow the primary/.test((await again.health()).detail ?? ''),
      () => 'it does not say why it is not ready',
    )
    await world.sqld.restart()
    await world.startPrimary()
    expect((await again.ready()).replicator.bootstraps).toBe(0)
    expect(again.copies()).toEqual([1])
    expect(await again.end('SIGTERM')).toBe(0)
  })

  test('makes another copy where the one that it finds cannot be opened', async () => {
    const { id } = await newUser()
    const edge = await world.edge()
    await edge.ready()
    expect(await edge.end('SIGTERM')).toBe(0)
    rmSync(`${edge.copyFile(1)}-wal`)
    writeFileSync(edge.copyFile(1), 'no database')
    const again = await world.edge({}, edge.dataDir)
    const first = await again.call('GET', `/users/${id}`)
    expect([first.status, first.headers.has('replica-age')]).toEqual([200, false])
    await again.ready()
    const second = await again.call('GET', `/users/${id}`)
    expect([second.status, second.headers.has('replica-age')]).toEqual([200, true])
    await until(
      () => String(again.copies()) === '2',
      () => `there are the copies ${again.copies()}`,
    )
    expect(again.complaints()).toContain(`The copy in ${edge.copyFile(1)} is given up`)
    expect(await again.end('SIGTERM')).toBe(0)
  })

  test('reads nothing from a copy that lacks a migration which it needs, until that has had it', async () => {
    const { id } = await newUser()
    const database = createClient({ url: world.sqld.url, authToken: world.sqld.token })
    const { rows } = await database.execute(
      'delete from __drizzle_migrations where created_at = (select max(created_at) from __drizzle_migrations) returning hash, created_at',
    )
    const edge = await world.edge()
    await until(
      async () => /lacks 1 migration\(s\)/.test((await edge.health()).detail ?? ''),
      () => 'it does not say so',
    )
    const first = await edge.call('GET', `/users/${id}`)
    expect([first.status, first.headers.has('replica-age')]).toEqual([200, false])
    const sql = 'insert into __drizzle_migrations(hash, created_at) values (?, ?)'
    await database.execute({ sql, args: [rows[0]!.hash!, rows[0]!.created_at!] })
    database.close()
    await edge.ready()
    const second = await edge.call('GET', `/users/${id}`)
    expect([second.status, second.headers.has('replica-age')]).toEqual([200, true])
    expect(await edge.end('SIGTERM')).toBe(0)
  })

  test('does not start on a port or in a folder that another has, nor in one that cannot be written', async () => {
    const edge = await world.edge({ WORKERS: '2' })
    const { port } = new URL(edge.url)
    const env = { LIBSQL_URL: world.sqld.url, PRIMARY_ORIGIN: world.origin, PORT: '0', DATA_DIR: edge.dataDir }
    const serve = async (more: Record<string, string>) => {
      const { code, err } = await runCommand(['serve'], { env: { ...env, ...more } })
      return [code, err]
    }
    const occupied = `PORT=${port} of HOST=127.0.0.1 is in use: choose another PORT.\n`
    expect(await serve({ PORT: port, WORKERS: '2' })).toEqual([2, occupied])
    const held = `DATA_DIR=${edge.dataDir} holds the copy of an edge that is running. Name another folder.\n`
    expect(await serve({})).toEqual([2, held])
    expect(await serve({ DATA_DIR: '/dev/null' })).toEqual([2, expect.stringContaining('cannot hold a copy')])
    expect(await edge.end('SIGTERM')).toBe(0)
  })

  test('says that its token is refused, and never what it is', async () => {
    const token = `${world.sqld.readOnlyToken}x`
    const edge = await world.edge({ LIBSQL_TOKEN: token })
    await until(
      async () => /refuses the token of this node \(LIBSQL_TOKEN\): .*401/.test((await edge.health()).detail ?? ''),
      () => 'it does not say so',
    )
    const { id } = await newUser()
    expect((await edge.call('GET', `/users/${id}`)).status).toBe(200)
    expect(await edge.end('SIGTERM')).toBe(0)
    expect(edge.complaints()).not.toContain(token)
  })

  test('complains of a token that is no longer taken, also where the handshake fails before', async () => {
    const other = await replicated()
    try {
      const edge = await other.edge()
      await edge.ready()
      other.sqld.renewKeys()
      await other.sqld.restart()
      await until(
        () => /refuses the token of this node \(LIBSQL_TOKEN\): .*401/.test(edge.complaints()),
        () => `it only says: ${edge.complaints()}`,
      )
      expect((await edge.health()).replicator.phase).toBe('failing')
    } finally {
      await other.stop()
    }
  })

  test('starts a replicator that was killed again; none outlives it, also where it hangs', async () => {
    const edge = await world.edge()
    await edge.ready()
    const [killed = 0] = edge.processes('replicator.ts')
    process.kill(killed, 'SIGKILL')
    await until(
      async () => (await edge.health()).replicator.restarts === 1,
      () => 'its end is not noticed',
    )
    const { id } = await newUser()
    await until(
      async () => (await edge.call('GET', `/users/${id}`, { headers: eventual })).status === 200,
      () => 'the next replicator does not follow',
    )
    const [last = 0] = edge.processes('replicator.ts')
    process.kill(last, 'SIGSTOP')
    await edge.end('SIGKILL')
    await until(
      () => !isAlive(last),
      () => 'the replicator outlived the edge',
    )
  })

  test('makes another copy where the one is destroyed, and no reader notices', async () => {
    const { id } = await newUser()
    const edge = await world.edge()
    await edge.ready()
    const reads = readAlong(() => edge.call('GET', `/users/${id}`))
    const pairs = writePairs(world.call, 'destroyed')
    const garbage = crypto.getRandomValues(new Uint8Array(60_000))
    destroy(edge.copyFile(1), () => garbage)
    await until(
      async () => (await edge.health()).replicator?.bootstraps === 2,
      () => 'no other copy was made',
    )
    await edge.ready()
    await until(
      () => String(edge.copies()) === '2',
      () => `there are the copies ${edge.copies()}`,
    )
    expect(await pairs.stop()).toBeGreaterThan(0)
    const statuses = await reads.stop()
    expect(statuses.length).toBeGreaterThan(100)
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    expect((await edge.call('GET', `/users/${id}`)).headers.has('replica-age')).toBe(true)
    expect(await edge.end('SIGTERM')).toBe(0)
  })

  test('serves with two processes on one port, which end with it and finish what is in flight', async () => {
    const edge = await world.edge({ WORKERS: '2' })
    await edge.ready()
    expect(edge.processes('edge-worker.ts').length).toBe(1)
    expect(edge.processes('replicator.ts').length).toBe(1)
    const begun = new Set<number>()
    await until(
      async () => {
        const { text } = await edge.call('GET', '/metrics', { key: null, headers: { Connection: 'close' } })
        const uptime = Number(/^perigee_uptime_seconds (.*)$/m.exec(text)?.[1])
        begun.add(Math.round((Date.now() / 1000 - uptime) * 20))
        return Math.max(...begun) - Math.min(...begun) > 1
      },
      () => 'one process answers everything',
    )
    for (let i = 0; i < 20; i++) {
      const { handle, token } = await newUser(edge.call)
      const headers = { 'Consistency-Token': token, Connection: 'close' }
      const found = await edge.call('GET', `/users?handle=${handle}`, { headers })
      expect([found.status, found.body.data.length, found.headers.has('replica-age')]).toEqual([200, 1, true])
    }
    const [worker = 0] = edge.processes('edge-worker.ts')
    process.kill(worker, 'SIGKILL')
    await until(
      () => edge.processes('edge-worker.ts').some((pid) => pid !== worker),
      () => 'no other process took its place',
    )
    const processes = [...edge.processes('edge-worker.ts'), ...edge.processes('replicator.ts')]
    world.sqld.signal('SIGSTOP')
    const inFlight = Array.from({ length: 8 }, () => newUser(edge.call))
    await until(
      async () => /^perigee_writes_waiting 8$/m.test((await world.call('GET', '/metrics')).text),
      () => 'the writes do not get to the primary',
    )
    const ended = edge.end('SIGTERM')
    await until(
      () =>
        edge.health().then(
          () => false,
          () => true,
        ),
      () => 'it goes on taking requests',
    )
    world.sqld.signal('SIGCONT')
    await Promise.all(inFlight)
    expect(await ended).toBe(0)
    expect(processes.filter(isAlive)).toEqual([])
  })
})

describe('the feed of an edge', () => {
  test('is read from its copy: the primary is asked for none of it', async () => {
    const edge = await world.edge()
    await edge.ready()
    const start = await newUser()
    const stream = await follow(`${edge.url}/changes?after=${start.token}&resource=users`)
    await stream.opened
    const waiting = edge.call('GET', `/changes?after=${start.token}&resource=users&wait=20`)
    const made = [await newUser(), await newUser(edge.call)]
    for (const { id, token } of made) {
      const { data, id: position } = await stream.next()
      expect([data.id, position]).toEqual([id, token])
    }
    expect((await waiting).body.data[0].id).toBe(made[0]?.id)
    const page = await edge.call('GET', `/changes?after=${start.token}&resource=users`)
    expect(page.body.data.map(({ id }: { id: string }) => id)).toEqual(made.map(({ id }) => id))
    expect((await world.call('GET', '/metrics')).text).not.toContain('route="/changes"')
    expect(await edge.metric('perigee_followers')).toBe(1)
    const ended = edge.end('SIGTERM')
    await stream.ended
    expect(await ended).toBe(0)
    expect(edge.complaints()).toBe('')
  })

  test('goes on from the copy that takes the place of another, and nobody begins anew', async () => {
    const edge = await world.edge()
    const { epoch } = await edge.ready()
    const follower = new LogFollower({ urls: [edge.url], key: world.key, random: () => 0 })
    const following = follower.run()
    const pairs = writePairs(world.call, 'followed')
    await until(
      () => follower.events > 10,
      () => 'nothing is followed',
    )
    destroy(edge.copyFile(1), (file) => Buffer.alloc(statSync(file).size, 'garbage'))
    await until(
      async () => (await edge.health()).replicator?.bootstraps === 2,
      () => 'no other copy was made',
    )
    await edge.ready()
    const before = follower.events
    await until(
      () => follower.events > before + 10 && follower.streams > 1,
      () => `it does not go on: ${follower.streams} streams`,
    )
    await pairs.stop()
    const { position } = (await world.call('GET', '/readyz')).body
    await until(
      () => follower.hasReached(epoch, position),
      () => `it does not reach ${position}`,
    )
    follower.stop()
    await following
    expect([follower.complaints, follower.snapshots]).toEqual([[], 1])
    expect(follower.differencesFrom(join(world.sqld.folder, 'dbs', 'default', 'data'))).toEqual([])
    expect(await edge.end('SIGTERM')).toBe(0)
  })
})

/** Writes the garbage over a copy and its log, which is there or not as the replicator has it at the moment. */
function destroy(copy: string, garbage: (file: string) => Uint8Array) {
  const files = [copy, `${copy}-wal`].filter((file) => existsSync(file))
  for (const file of files) writeFileSync(file, garbage(file), { flag: 'r+' })
}

/** Sends the read again and again, a few at a time, until it is stopped; answers the statuses. */
function readAlong(read: () => Promise<{ status: number }>): { stop(): Promise<number[]> } {
  const statuses: number[] = []
  let isStopping = false
  const reader = async () => {
    while (!isStopping) statuses.push((await read().catch(() => ({ status: 0 }))).status)
  }
  const done = Promise.all([reader(), reader(), reader()])
  return {
    async stop() {
      isStopping = true
      await done
      return statuses
    },
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
