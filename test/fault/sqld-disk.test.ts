import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { dirname, join } from 'node:path'
import { createKey } from '../../src/entry/keys.ts'
import { libsqlStore } from '../../src/entry/libsql-store.ts'
import { openNode } from '../../src/entry/node.ts'
import { sqldBinary } from '../../src/entry/sqld.ts'
import { model } from '../../src/model/index.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { textsIn } from '../support/folder.ts'
import { endingWithTests, type SpawnedServer, spawnServer } from '../support/process.ts'
import { type Replicated, replicated, type TestEdgeNode } from '../support/replicated.ts'
import { type Answer, call, temporaryFolder } from '../support/server.ts'
import { freePort, startSqld, type TestSqld } from '../support/sqld.ts'
import { inject, whyNoInjection } from '../support/syscalls.ts'
import { type SmallDisk, smallDisk, whyNoSmallDisk } from '../support/tmpfs.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

/** The faults of the disk under a sqld, as an edge and its primary answer them. */
const dataOf = (sqldFolder: string) => join(sqldFolder, 'dbs', 'default', 'data')
const handlesIn = (file: string) => textsIn(file, 'select handle from users')

const noInjection = await whyNoInjection()
if (noInjection) console.error(`SKIPPED, faults of the disk of a sqld (rows 2, 3, 4), because ${noInjection}`)

describe.skipIf(noInjection !== null)(`a failing disk${noInjection ? ` (skipped: ${noInjection})` : ''}`, () => {
  let world: Replicated
  let edge: TestEdgeNode
  let wishes: Wishes
  beforeAll(async () => {
    world = await replicated()
    edge = await world.edge()
    await edge.ready()
  })
  beforeEach(() => {
    wishes = new Wishes(world.key)
  })
  afterAll(async () => {
    expect(await edge.end('SIGTERM')).toBe(0)
    await world.stop()
  })

  const file = () => dataOf(world.sqld.folder)
  const isUp = () =>
    fetch(`${world.sqld.url}/health`).then(
      (response) => response.ok,
      () => false,
    )

  /** Wants a new user, whose name no other test has. */
  function want(): Wishes['all'][number] {
    const name = `user-${Bun.randomUUIDv7()}`
    return wishes.want('POST', '/users', { handle: name, name: 'Name' }, name)
  }

  /** Wants a new user of the edge while the fault is there. Answers it, and whether sqld outlived the fault. */
  async function tryDuring(fault: string, of?: string): Promise<{ wish: Wishes['all'][number]; wasUp: boolean }> {
    const wish = want()
    const injection = await inject(world.sqld.pid, fault, of)
    await wishes.send(edge.url, wish)
    await injection.stop()
    const wasUp = await isUp()
    if (!wasUp) await world.sqld.restart('SIGKILL')
    return { wish, wasUp }
  }

  const accounted = () => {
    const wanted = new Set(wishes.all.map(({ name }) => name))
    expect(wishes.account(handlesIn(file()).filter((name) => wanted.has(name)))).toEqual(nothingWrong)
  }

  /** Every wish is repeated: it is done once, and says so again and again. */
  async function settle() {
    await wishes.sendAll(edge.url)
    await wishes.sendAll(edge.url, { again: true })
    expect(wishes.all.filter((wish) => wish.answer?.status !== 201)).toEqual([])
    expect(wishes.contradictions).toEqual([])
    accounted()
    expect(complaintsAbout(file(), model)).toEqual([])
  }

  test('row 3: EIO at each write of a commit: not applied, or where sqld ends nobody knows', async () => {
    const places = { failed: 0, unknown: 0 }
    for (let place = 1; ; place++) {
      const { wish, wasUp } = await tryDuring(`pwrite64:error=EIO:when=${place}`)
      if (wish.answer && wasUp) break // The commit has fewer writes.
      places[wasUp ? 'failed' : 'unknown']++
      if (!wasUp) continue
      expect(handlesIn(file())).not.toContain(wish.name)
      await wishes.send(edge.url, wish)
      expect([wish.answer?.status, wish.answer?.headers.has('idempotency-replayed')]).toEqual([201, false])
    }
    expect(places.failed).toBeGreaterThan(3)
    expect(wishes.unsettled.get('503 storage-error')).toBe(places.failed)
    expect(wishes.unsettled.get('504 outcome-unknown') ?? 0).toBe(places.unknown)
    await settle()
  })

  test('row 4: EIO at the last write of a commit, to the log of sqld: it is done, but sqld ends and nobody knows', async () => {
    const log = join(dirname(file()), 'wallog')
    for (let place = 1; ; place++) {
      const { wish, wasUp } = await tryDuring(`pwrite64:error=EIO:when=${place}`, log)
      expect([place, handlesIn(file()).includes(wish.name)]).toEqual([place, !wasUp])
      if (!wasUp) break
    }
    expect(wishes.unsettled.get('504 outcome-unknown')).toBe(1)
    expect([...wishes.unsettled.keys()].sort()).toEqual(['503 storage-error', '504 outcome-unknown'])
    await settle()
    expect(wishes.foundDone).toBe(1)
  })

  test('row 3: ENOSPC at a write of a commit: not applied, and the next write is', async () => {
    for (const place of [1, 2, 3]) {
      const { wish, wasUp } = await tryDuring(`pwrite64:error=ENOSPC:when=${place}`)
      expect([wish.answer, wasUp, handlesIn(file()).includes(wish.name)]).toEqual([undefined, true, false])
      const next = want()
      await wishes.send(edge.url, next)
      expect(next.answer?.status).toBe(201)
    }
    expect([...wishes.unsettled]).toEqual([['503 storage-error', 3]])
    await settle()
  })

  test('row 2: sqld is killed at chosen writes of a commit: 504, and after its restart a retry is done once', async () => {
    for (const place of [1, 5, 12, 20, 29, 30, 31]) await tryDuring(`pwrite64:signal=KILL:when=${place}`)
    expect(wishes.unsettled.get('504 outcome-unknown')).toBeGreaterThan(3)
    expect([...wishes.unsettled.keys()]).toEqual(['504 outcome-unknown'])
    await settle()
  })

  test('a fault in a group fails the whole of it, and nobody in it is told otherwise', async () => {
    for (const fault of ['error=EIO:when=40', 'error=ENOSPC:when=25', 'error=EIO:when=11+97', 'error=EIO:when=300']) {
      const injection = await inject(world.sqld.pid, `pwrite64:${fault}`)
      for (let i = 0; i < 60; i++) want()
      await wishes.sendAll(edge.url, { atOnce: 60 })
      await injection.stop()
      if (!(await isUp())) await world.sqld.restart('SIGKILL')
      accounted()
    }
    expect(wishes.unsettled.size).toBeGreaterThan(0)
    await settle()
  })
})

describe.skipIf(noInjection !== null)('the log of a sqld on this host', () => {
  let sqld: TestSqld
  let folder: ReturnType<typeof temporaryFolder>
  let server: SpawnedServer
  beforeAll(async () => {
    sqld = await startSqld()
    folder = temporaryFolder()
    const LIBSQL = { LIBSQL_URL: sqld.url, LIBSQL_TOKEN: sqld.token, LIBSQL_DIR: sqld.folder }
    await libsqlStore(sqld).migrate()
    server = await spawnServer({ dataDir: folder.path, env: LIBSQL })
  })
  afterAll(async () => {
    expect(await server.end('SIGTERM')).toBe(0)
    await sqld.remove()
    folder.remove()
  })

  test('is synced before a write is answered: where that fails the outcome is unknown, and a retry tells', async () => {
    const key = await keyFor(sqld)
    const wishes = new Wishes(key)
    const want = () => {
      const name = `user-${wishes.all.length}`
      return wishes.want('POST', '/users', { handle: name, name: 'Name' }, name)
    }
    await wishes.send(server.url, want())
    const injection = await inject(server.pid, 'fsync,fdatasync:error=EIO')
    for (let i = 0; i < 5; i++) await wishes.send(server.url, want())
    expect([...wishes.unsettled]).toEqual([['504 outcome-unknown', 5]])
    expect((await call(server.url, 'GET', '/users', { key })).status).toBe(200)
    await injection.stop()
    await wishes.sendAll(server.url)
    expect(wishes.foundDone).toBe(5)
    // sqld has another log file now, and this is synced too.
    await sqld.restart()
    await wishes.send(server.url, want())
    expect(wishes.account(handlesIn(dataOf(sqld.folder)))).toEqual(nothingWrong)
    expect(wishes.all.filter((wish) => wish.answer?.status !== 201)).toEqual([])
  })
})

async function keyFor(address: { url: string; token: string | null }): Promise<string> {
  const node = await openNode(libsqlStore({ ...address, folder: null }), model, (error) => {
    throw error
  })
  const { key } = await createKey(node.primary, {
    tenant: 'demo',
    scopes: ['read', 'write'],
    subject: null,
    version: null,
  })
  await node.close()
  return key
}

const noSmallDisk = await whyNoSmallDisk()
if (noSmallDisk) console.error(`SKIPPED, full disk of a sqld (row 5), because ${noSmallDisk}`)

describe.skipIf(noSmallDisk !== null)(`row 5: a full disk${noSmallDisk ? ` (skipped: ${noSmallDisk})` : ''}`, () => {
  let folder: ReturnType<typeof temporaryFolder>
  let disk: SmallDisk
  let sqld: ReturnType<typeof Bun.spawn>
  let server: SpawnedServer
  let own: ReturnType<typeof temporaryFolder>
  let edge: SpawnedServer
  let key: string
  beforeAll(async () => {
    folder = temporaryFolder()
    disk = await smallDisk(folder.path, 12)
    const address = `127.0.0.1:${freePort()}`
    const url = `http://${address}`
    const flags = ['--db-path', folder.path, '--http-listen-addr', address, '--no-welcome']
    sqld = Bun.spawn([...endingWithTests, ...disk.within, sqldBinary(), ...flags], {
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    while (
      !(await fetch(`${url}/health`).then(
        (response) => response.ok,
        () => false,
      ))
    )
      await Bun.sleep(20)
    await libsqlStore({ url, token: null, folder: null }).migrate()
    key = await keyFor({ url, token: null })
    const env = { LIBSQL_URL: url, LIBSQL_DIR: folder.path }
    server = await spawnServer({ dataDir: folder.path, within: disk.within, env })
    own = temporaryFolder()
    edge = await spawnServer({ dataDir: own.path, env: { LIBSQL_URL: url, PRIMARY_ORIGIN: server.url } })
    while ((await call(edge.url, 'GET', '/readyz')).status !== 200) await Bun.sleep(20)
  })
  afterAll(async () => {
    for (const node of [edge, server]) expect(await node.end('SIGTERM')).toBe(0)
    own.remove()
    sqld.kill('SIGKILL')
    await sqld.exited
    disk.remove()
    folder.remove()
  })

  test('writes are answered 507 with Retry-After and reads 200; with more room it goes on without a restart', async () => {
    const wishes = new Wishes(key)
    const author = await call(edge.url, 'POST', '/users', { key, body: { handle: 'ada', name: 'Ada' } })
    const filler = 'x'.repeat(30_000)
    const wanted = () => {
      const name = `post-${wishes.all.length}`
      return wishes.want('POST', '/posts', { authorId: author.body.id, slug: name, title: 'Post', body: filler }, name)
    }
    while (wishes.unsettled.size === 0 && wishes.all.length < 2_000) {
      for (let i = 0; i < 8; i++) wanted()
      await wishes.sendAll(edge.url, { atOnce: 8 })
    }
    await wishes.sendAll(edge.url)
    expect([...wishes.unsettled.keys()]).toEqual(['507 storage-full'])
    // A single one may find room where many at once did not.
    let full: Answer
    do {
      const { name, body } = wanted()
      full = await call(edge.url, 'POST', '/posts', { key, body, headers: { 'Idempotency-Key': name } })
    } while (full.status === 201 && wishes.all.length < 2_000)
    expect([full.status, full.body.type, full.headers.get('retry-after')]).toEqual([
      507,
      '/problems/storage-full',
      '30',
    ])
    for (const { url } of [edge, server])
      for (const path of ['/posts?limit=5', `/users/${author.body.id}`, '/readyz', '/metrics'])
        expect([url, path, (await call(url, 'GET', path, { key })).status]).toEqual([url, path, 200])
    await disk.resize(128)
    await wishes.sendAll(edge.url)
    await wishes.sendAll(edge.url, { again: true })
    expect(wishes.contradictions).toEqual([])
    expect(wishes.all.filter((wish) => wish.answer?.status !== 201)).toEqual([])
    const copy = disk.takeOut(dataOf(folder.path))
    expect(wishes.account(textsIn(copy, 'select slug from posts'))).toEqual(nothingWrong)
    expect(complaintsAbout(copy, model)).toEqual([])
  })
})
