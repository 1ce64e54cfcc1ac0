import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { limits } from '../../src/schema/limits.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { type DataFolder, dataFolder, textsIn } from '../support/folder.ts'
import { type SpawnedServer, spawnServer } from '../support/process.ts'
import { call } from '../support/server.ts'
import { inject, whyNoInjection } from '../support/syscalls.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

let folder: DataFolder
let comment: { postId: string; authorId: string }
beforeAll(async () => {
  folder = await dataFolder()
  const server = await spawnServer({ dataDir: folder.path })
  const { key } = folder
  const user = await call(server.url, 'POST', '/users', { key, body: { handle: 'ada', name: 'Ada' } })
  const body = { authorId: user.body.id, slug: 'post', title: 'Post', status: 'published' }
  const post = await call(server.url, 'POST', '/posts', { key, body })
  comment = { postId: post.body.id, authorId: user.body.id }
  expect(await server.end('SIGTERM')).toBe(0)
})
afterAll(() => folder.remove())

/** The names of what is stored: comments, of which the same may stand twice; tags, in batches of two; titles of patches. */
const storedNames = () =>
  textsIn(
    folder.databaseFile,
    `select body from comments union all select substr(name, 1, length(name) - 2) from tags where name like '% 1'
     union all select json_extract(image, '$.title') from changes where resource = 'posts' and changed like '%"title"%'`,
  )

/** The next write that a client wants: mostly creates, some batches and patches, and some that must be refused. */
function wantNext(wishes: Wishes, place: string) {
  const n = wishes.all.length
  const name = `${place}-${n}`
  if (n % 7 === 3) {
    const create = (i: number) => ({ do: 'create', resource: 'tags', body: { name: `${name} ${i}` } })
    return wishes.want('POST', '/batch', { commands: [create(1), create(2)] }, name)
  }
  if (n % 7 === 4) return wishes.want('PATCH', `/posts/${comment.postId}`, { title: name }, name)
  if (n % 7 === 5) return wishes.want('POST', '/comments', { ...comment, postId: Bun.randomUUIDv7(), body: name }, name)
  return wishes.want('POST', '/comments', { ...comment, body: name }, name)
}

/** Keeps clients busy until the server is gone. */
async function writeUntilGone(url: string, wishes: Wishes, place: string) {
  const client = async () => {
    while (await wishes.send(url, wantNext(wishes, place)));
  }
  await Promise.all(Array.from({ length: 12 }, client))
}

/** After the last kill: everything is retried, and everything that was answered is asked again and says the same. */
async function settleAndAccount(wishes: Wishes, place: string) {
  const server = await spawnServer({ dataDir: folder.path })
  await wishes.sendAll(server.url)
  await wishes.sendAll(server.url, { again: true })
  expect(wishes.all.filter((wish) => !wish.answer)).toEqual([])
  expect(wishes.contradictions).toEqual([])
  expect(new Set(wishes.all.map((wish) => wish.answer?.status))).toEqual(new Set([200, 201, 422]))
  expect(wishes.account(storedNames().filter((name) => name.startsWith(place)))).toEqual(nothingWrong)
  expect(await server.end('SIGTERM')).toBe(0)
  expect(complaintsAbout(folder.databaseFile, model)).toEqual([])
}

const noInjection = await whyNoInjection()
if (noInjection) console.error(`SKIPPED, kill -9 at chosen system calls (row 2), because ${noInjection}`)

describe('rows 1 and 2, for the embedded database: kill -9', () => {
  test('10 times at random moments under 12 writers: every retry gets the one truth; lost 0, twice 0, ghost 0', async () => {
    const wishes = new Wishes(folder.key)
    const replayedBefore: number[] = []
    for (let round = 0; round < 10; round++) {
      const server = await spawnServer({ dataDir: folder.path })
      await wishes.sendAll(server.url)
      const open = wishes.all.length
      const gone = writeUntilGone(server.url, wishes, 'random')
      // Counted in writes, not in time, so that every round has some and none depends on the machine.
      const most = open + 20 + Math.floor(Math.random() * 200)
      while (wishes.all.length < most) await Bun.sleep(1)
      await server.end('SIGKILL')
      await gone
      replayedBefore.push(wishes.all.filter((wish) => !wish.answer).length)
    }
    expect(Math.max(...replayedBefore)).toBeGreaterThan(0)
    await settleAndAccount(wishes, 'random')
  })

  test('a fan-out of 6,000 copies is killed between its steps, again and again, and ends true', async () => {
    const { key } = folder
    let server: SpawnedServer = await spawnServer({ dataDir: folder.path })
    const author = (await call(server.url, 'POST', '/users', { key, body: { handle: 'prolific', name: 'Before' } }))
      .body.id
    const copies = 6 * limits.fanoutRowsMax
    for (let made = 0; made < copies; made += limits.batchCommandsMax) {
      const commands = Array.from({ length: limits.batchCommandsMax }, (_, i) => ({
        do: 'create',
        resource: 'posts',
        body: { authorId: author, slug: `copy-${made + i}`, title: 'T' },
      }))
      expect((await call(server.url, 'POST', '/batch', { key, body: { commands } })).status).toBe(200)
    }
    const reached = () => textsIn(folder.databaseFile, "select coalesce(reached, '') from fanout")
    let interrupted = 0
    for (const name of ['First', 'Second', 'Third']) {
      const body = { name }
      const headers = { 'Idempotency-Key': `rename-${name}` }
      expect((await call(server.url, 'PATCH', `/users/${author}`, { key, body, headers })).status).toBe(200)
      while (reached().every((place) => place === '') && reached().length > 0);
      await server.end('SIGKILL')
      interrupted += reached().filter((place) => place !== '').length
      server = await spawnServer({ dataDir: folder.path })
    }
    expect(interrupted).toBeGreaterThan(0)
    while (reached().length > 0) await Bun.sleep(10)
    const names = textsIn(folder.databaseFile, `select distinct authorName from posts where authorId = '${author}'`)
    expect(names).toEqual(['Third'])
    expect(await server.end('SIGTERM')).toBe(0)
    expect(complaintsAbout(folder.databaseFile, model)).toEqual([])
    const audit = Bun.spawn([process.execPath, `${import.meta.dir}/../../src/entry/commands.ts`, 'audit'], {
      env: { PATH: process.env.PATH ?? '', DATA_DIR: folder.path },
      stdout: 'pipe',
    })
    expect([await new Response(audit.stdout).text(), await audit.exited]).toEqual([
      'Every derived column is true.\n',
      0,
    ])
  })

  test.skipIf(noInjection !== null)(
    `at chosen writes and syncs of a commit${noInjection ? ` (skipped: ${noInjection})` : ''}: the write is there whole or not at all, and a retry tells`,
    async () => {
      const wishes = new Wishes(folder.key)
      const places = [
        ...[1, 2, 3, 4, 6, 9, 14, 21, 30].map((when) => `pwrite64:signal=KILL:when=${when}`),
        ...[1, 2].map((when) => `fsync,fdatasync:signal=KILL:when=${when}`),
      ]
      let alreadyThere = 0
      for (const place of places) {
        const server = await spawnServer({ dataDir: folder.path })
        await wishes.sendAll(server.url, { atOnce: 1 })
        const injection = await inject(server.pid, place)
        for (let sent = 0; await wishes.send(server.url, wantNext(wishes, 'chosen')); sent++)
          expect(sent).toBeLessThan(200)
        expect(await server.exited).toBe(null)
        await injection.stop()
        alreadyThere += storedNames().includes(wishes.all.at(-1)?.name ?? '') ? 1 : 0
      }
      // The kill after the last write of a commit, at its sync, finds it in the log file; the ones before do not.
      expect(alreadyThere).toBeGreaterThan(0)
      expect(alreadyThere).toBeLessThan(places.length)
      await settleAndAccount(wishes, 'chosen')
      expect(wishes.foundDone).toBe(alreadyThere)
    },
  )

  test.skipIf(noInjection !== null)(
    `while it moves the log into the database as it stops${noInjection ? ` (skipped: ${noInjection})` : ''}: nothing is lost`,
    async () => {
      const wishes = new Wishes(folder.key)
      for (const place of [
        'pwrite64:signal=KILL:when=1',
        'pwrite64:signal=KILL:when=4',
        'fsync,fdatasync:signal=KILL:when=1',
      ]) {
        const server = await spawnServer({ dataDir: folder.path })
        for (let i = 0; i < 20; i++) wantNext(wishes, 'moving')
        await wishes.sendAll(server.url)
        const injection = await inject(server.pid, place)
        expect(await server.end('SIGTERM')).toBe(null)
        await injection.stop()
      }
      await settleAndAccount(wishes, 'moving')
      expect(wishes.foundDone).toBe(0)
    },
  )

  test('a database that was killed is opened by a plain reader beside it, before any server', async () => {
    const server = await spawnServer({ dataDir: folder.path })
    const wishes = new Wishes(folder.key)
    for (let i = 0; i < 5; i++)
      await wishes.send(
        server.url,
        wishes.want('POST', '/comments', { ...comment, body: `beside-${i}` }, `beside-${i}`),
      )
    await server.end('SIGKILL')
    using database = new Database(folder.databaseFile, { readonly: true })
    expect(database.query("select count(*) as n from comments where body like 'beside-%'").get()).toEqual({ n: 5 })
  })
})
