import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { type DataFolder, dataFolder, textsIn } from '../support/folder.ts'
import { type SpawnedServer, spawnServer } from '../support/process.ts'
import { call } from '../support/server.ts'
import { inject, whyNoInjection } from '../support/syscalls.ts'
import { type SmallDisk, smallDisk, whyNoSmallDisk } from '../support/tmpfs.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

const storedNames = (file: string) => textsIn(file, "select substr(body, 1, instr(body, ' ') - 1) from comments")

/** A post that comments can be written under. */
async function makePost(url: string, key: string) {
  const user = await call(url, 'POST', '/users', { key, body: { handle: 'ada', name: 'Ada' } })
  const body = { authorId: user.body.id, slug: 'post', title: 'Post', status: 'published' }
  const post = await call(url, 'POST', '/posts', { key, body })
  expect([user.status, post.status]).toEqual([201, 201])
  return (name: string, filler = '') => ({
    postId: post.body.id,
    authorId: user.body.id,
    body: `${name} ${filler}`,
  })
}

const noSmallDisk = await whyNoSmallDisk()
if (noSmallDisk) console.error(`SKIPPED, disk full (row 5), because ${noSmallDisk}`)

describe.skipIf(noSmallDisk !== null)(`row 5: a full disk${noSmallDisk ? ` (skipped: ${noSmallDisk})` : ''}`, () => {
  let folder: DataFolder
  let disk: SmallDisk
  beforeAll(async () => {
    folder = await dataFolder()
    disk = await smallDisk(folder.path, 6)
    disk.putIn(folder.databaseFile)
  })
  const atRest = () => disk.takeOut(folder.databaseFile)
  afterAll(() => {
    disk.remove()
    folder.remove()
  })

  test('writes are answered 507 with Retry-After and reads 200; with more room it goes on without a restart', async () => {
    const server = await spawnServer({ dataDir: folder.path, within: disk.within })
    const comment = await makePost(server.url, folder.key)
    const wishes = new Wishes(folder.key)
    const filler = 'x'.repeat(9_000)
    const wantMore = async () => {
      for (let i = 0; i < 16; i++) {
        const name = `comment-${wishes.all.length}`
        wishes.want('POST', '/comments', comment(name, filler), name)
      }
      await wishes.sendAll(server.url)
    }
    while (!wishes.unsettled.get('507 storage-full') && wishes.all.length < 2_000) await wantMore()
    expect(wishes.unsettled.get('507 storage-full')).toBeGreaterThan(0)
    const refused = wishes.all.find((wish) => !wish.answer)
    const full = await call(server.url, 'POST', '/comments', { key: folder.key, body: refused?.body })
    expect([full.status, full.body.type, full.headers.get('retry-after')]).toEqual([
      507,
      '/problems/storage-full',
      '30',
    ])
    const settled = wishes.all.find((wish) => wish.answer)
    for (const path of [
      '/posts',
      `/comments/${settled?.answer?.body.id}`,
      '/comments?limit=100',
      '/livez',
      '/readyz',
      '/metrics',
    ])
      expect([path, (await call(server.url, 'GET', path, { key: folder.key })).status]).toEqual([path, 200])
    expect(wishes.account(storedNames(atRest()))).toEqual(nothingWrong)

    // Still full: it stays up and says the same again.
    await wishes.sendAll(server.url)
    expect(wishes.all.some((wish) => !wish.answer)).toBe(true)
    await disk.resize(64)
    await wishes.sendAll(server.url)
    expect(wishes.all.filter((wish) => !wish.answer)).toEqual([])
    await wishes.sendAll(server.url, { again: true })
    expect(wishes.contradictions).toEqual([])
    expect(wishes.account(storedNames(atRest()))).toEqual(nothingWrong)
    expect([...wishes.unsettled.keys()]).toEqual(['507 storage-full'])
    expect(await server.end('SIGTERM')).toBe(0)
    expect(complaintsAbout(atRest(), model)).toEqual([])
    // Read models are written meanwhile, and tell of it.
    expect(server.complaints().replaceAll(/^perigee: maintenance: a step of the read model .*\n/gm, '')).toBe('')
  })

  test('a server that is told to stop while the disk is full stops cleanly, and what it acknowledged is there', async () => {
    const first = await spawnServer({ dataDir: folder.path, within: disk.within })
    const [post] = (await call(first.url, 'GET', '/posts?limit=1', { key: folder.key })).body.data
    const used = Number(
      textsIn(atRest(), 'select page_count * page_size / 1048576 + 1 from pragma_page_count(), pragma_page_size()')[0],
    )
    await disk.resize(used + 2)
    const wishes = new Wishes(folder.key)
    while (!wishes.unsettled.get('507 storage-full') && wishes.all.length < 1_000) {
      const name = `late-${wishes.all.length}`
      const body = { postId: post.id, authorId: post.authorId, body: `${name} ${'x'.repeat(9_000)}` }
      await wishes.send(first.url, wishes.want('POST', '/comments', body, name))
    }
    expect(wishes.unsettled.get('507 storage-full')).toBe(1)
    expect(await first.end('SIGTERM')).toBe(0)
    await disk.resize(64)
    const second = await spawnServer({ dataDir: folder.path, within: disk.within })
    await wishes.sendAll(second.url, { again: true })
    expect(wishes.contradictions).toEqual([])
    expect(wishes.account(storedNames(atRest()).filter((name) => name.startsWith('late')))).toEqual(nothingWrong)
    expect(await second.end('SIGTERM')).toBe(0)
    expect(complaintsAbout(atRest(), model)).toEqual([])
  })
})

const noInjection = await whyNoInjection()
if (noInjection) console.error(`SKIPPED, faults of the disk (row 3), because ${noInjection}`)

describe.skipIf(noInjection !== null)(`row 3: a failing disk${noInjection ? ` (skipped: ${noInjection})` : ''}`, () => {
  let folder: DataFolder
  let server: SpawnedServer
  let comment: Awaited<ReturnType<typeof makePost>>
  beforeAll(async () => {
    folder = await dataFolder()
    server = await spawnServer({ dataDir: folder.path })
    comment = await makePost(server.url, folder.key)
  })
  afterAll(async () => {
    expect(await server.end('SIGTERM')).toBe(0)
    expect(complaintsAbout(folder.databaseFile, model)).toEqual([])
    folder.remove()
  })
  const write = (name: string) =>
    call(server.url, 'POST', '/comments', {
      key: folder.key,
      body: comment(name),
      headers: { 'Idempotency-Key': name },
    })
  /** A fault for the next commit, once the read models have nothing to commit themselves. */
  const injectOnce = async (fault: string) => {
    const behind = `select 1 from projections p where phase <> 'follow' or exists (select 1 from changes where seq > p.seq and resource in ('posts', 'comments'))`
    await until(() => textsIn(folder.databaseFile, behind).length === 0)
    return inject(server.pid, fault)
  }
  const isStored = (name: string) => storedNames(folder.databaseFile).includes(name)
  const isReplay = (answer: Awaited<ReturnType<typeof write>>) => answer.headers.get('idempotency-replayed') === 'true'

  const faults = [
    ['pwrite64:error=EIO:when=1', 503, 'storage-error'],
    ['pwrite64:error=EIO:when=2', 503, 'storage-error'],
    ['pwrite64:error=EIO:when=7', 503, 'storage-error'],
    ['pwrite64:error=EIO', 503, 'storage-error'],
    ['pwrite64:error=ENOSPC:when=4', 507, 'storage-full'],
    ['fsync,fdatasync:error=EIO:when=1', 503, 'storage-error'],
  ] as const

  test.each(faults)(
    '%s in a commit: %d %s, the record is absent, the next write works',
    async (fault, status, type) => {
      const name = `next-${fault}`
      const injection = await injectOnce(fault)
      const failed = await write(name)
      expect([failed.status, failed.body.type, failed.headers.has('retry-after')]).toEqual([
        status,
        `/problems/${type}`,
        true,
      ])
      expect((await call(server.url, 'GET', '/comments', { key: folder.key })).status).toBe(200)
      expect(isStored(name)).toBe(false)
      await injection.stop()
      expect((await write(`${name}-after`)).status).toBe(201)
      const again = await write(name)
      expect([again.status, isReplay(again), isStored(name)]).toEqual([201, false, true])
    },
  )

  test.each(faults)(
    '%s in a commit, and then a crash: what was said not to be applied does not come back',
    async (fault, status) => {
      const name = `crash-${fault}`
      const injection = await injectOnce(fault)
      expect((await write(name)).status).toBe(status)
      await injection.stop()
      await server.end('SIGKILL')
      server = await spawnServer({ dataDir: folder.path })
      expect(isStored(name)).toBe(false)
      const again = await write(name)
      expect([again.status, isReplay(again)]).toEqual([201, false])
    },
  )

  test('where the disk takes no sync at all it is 504 outcome-unknown, and a retry tells', async () => {
    const injection = await injectOnce('fsync,fdatasync:error=EIO')
    const unknown = await write('unsynced')
    expect([unknown.status, unknown.body.type]).toEqual([504, '/problems/outcome-unknown'])
    await injection.stop()
    expect((await write('unsynced')).status).toBe(201)
    expect(storedNames(folder.databaseFile).filter((name) => name === 'unsynced').length).toBe(1)
  })

  test('a disk that cannot be read is a fault of ours with an id, told as a problem; then reads and writes go on', async () => {
    const made = await write('read-me')
    const path = `/comments/${made.body.id}`
    const injection = await injectOnce('pread64:error=EIO')
    const failed = await call(server.url, 'GET', path, { key: folder.key })
    const again = await call(server.url, 'GET', path, { key: folder.key })
    await injection.stop()
    for (const answer of [failed, again]) {
      expect([answer.status, answer.body.type]).toEqual([500, '/problems/internal-error'])
      expect(answer.headers.get('content-type')).toBe('application/problem+json')
      await until(() => server.complaints().includes(answer.headers.get('x-request-id') ?? 'an id'))
    }
    expect((await call(server.url, 'GET', path, { key: folder.key })).status).toBe(200)
    expect((await write('read-me-after')).status).toBe(201)
  })

  test('50 writers through a disk that fails now and then: lost 0, twice 0, ghost 0', async () => {
    const wishes = new Wishes(folder.key)
    for (const fault of [
      'pwrite64:error=EIO:when=5+31',
      'fsync,fdatasync:error=EIO:when=2+3',
      'pwrite64:error=ENOSPC:when=9+57',
    ]) {
      const injection = await injectOnce(fault)
      for (let i = 0; i < 90; i++) {
        const name = `many-${wishes.all.length}`
        wishes.want('POST', '/comments', comment(name), name)
      }
      await wishes.sendAll(server.url, { atOnce: 50 })
      await injection.stop()
    }
    expect(wishes.unsettled.size).toBeGreaterThan(0)
    const isOurs = (name: string) => name.startsWith('many-')
    expect(wishes.account(storedNames(folder.databaseFile).filter(isOurs))).toEqual(nothingWrong)
    await wishes.sendAll(server.url)
    await wishes.sendAll(server.url, { again: true })
    expect(wishes.contradictions).toEqual([])
    expect(wishes.all.filter((wish) => wish.answer?.status !== 201)).toEqual([])
    expect(wishes.account(storedNames(folder.databaseFile).filter(isOurs))).toEqual(nothingWrong)
  })

  test('work that no request waits for outlives it too: a fan-out that could not be written is written later', async () => {
    const said = server.complaints().length
    const injection = await injectOnce('pwrite64:error=EIO')
    using other = new Database(folder.databaseFile)
    other.run(
      "insert into fanout(tenant, source, target, field) select tenant, authorId, 'comments', 'authorName' from posts",
    )
    await until(() => server.complaints().includes('maintenance', said))
    await injection.stop()
    expect(textsIn(folder.databaseFile, 'select id from fanout').length).toBe(1)
    await until(() => textsIn(folder.databaseFile, 'select id from fanout').length === 0)
  })
})

/** Waits until a condition holds, looking at it again and again; the test's own limit ends it. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(20)
}
