import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { openReader } from '../../src/store/file-reader.ts'
import { activityIn, caughtUp } from '../support/activity.ts'
import { runCommand, startCommand } from '../support/command.ts'
import { type DataFolder, dataFolder } from '../support/folder.ts'
import { type SpawnedServer, spawnServer } from '../support/process.ts'
import { call } from '../support/server.ts'

setDefaultTimeout(60_000)

let folder: DataFolder
let author: string
let server: SpawnedServer
const posts: string[] = []
beforeAll(async () => {
  folder = await dataFolder()
  server = await spawnServer({ dataDir: folder.path })
  author = (await send('POST', '/users', { handle: 'ada', name: 'Ada' })).body.id
})
afterAll(async () => {
  await server.end('SIGTERM')
  folder.remove()
})

const send = (method: string, path: string, body?: unknown) => call(server.url, method, path, { key: folder.key, body })

/** One random write after the other, until the server is gone or `isOver`. */
async function write(isOver: () => boolean) {
  for (let n = 0; !isOver(); n++) {
    const post = posts[Math.floor(Math.random() * posts.length)]
    const body = { authorId: author, slug: Bun.randomUUIDv7(), title: 'T', status: 'published', words: n }
    if (!post || n % 4 === 0) posts.push((await send('POST', '/posts', body)).body.id)
    else if (n % 4 === 1) await send('POST', '/comments', { postId: post, authorId: author, body: 'B' })
    else if (n % 4 === 2) await send('PATCH', `/posts/${post}`, { words: n, status: n % 3 ? 'published' : 'draft' })
    else if (n % 12 === 3) await send('DELETE', `/posts/${post}`)
  }
}

async function expectTrue() {
  const reader = openReader(folder.databaseFile, bunSqlite)
  await caughtUp(reader)
  reader.close()
  const { found, truth } = activityIn(folder.databaseFile)
  expect(found).toEqual(truth)
}

describe('a read model', () => {
  test('counts every write once, though the server is killed again and again while it follows', async () => {
    for (let round = 0; round < 2; round++) {
      let isGone = false
      let written = 0
      const writers = [1, 2, 3].map(() => write(() => isGone || ++written > 10_000).catch(() => {}))
      const most = 40 + Math.floor(Math.random() * 80)
      while (written < most) await Bun.sleep(1)
      await server.end('SIGKILL')
      isGone = true
      await Promise.all(writers)
      server = await spawnServer({ dataDir: folder.path })
    }
    await expectTrue()
  })

  test('is made anew by two beside the server that keeps it, while writes go on and its old rows serve', async () => {
    let isOver = false
    const writers = [1, 2].map(() => write(() => isOver))
    const rows: number[] = []
    const watching = (async () => {
      while (!isOver) rows.push((await send('GET', '/authorActivity?count=exact')).body.count)
    })()
    const rebuild = () => runCommand(['projections', 'rebuild', 'authorActivity'], { env: { DATA_DIR: folder.path } })
    expect((await Promise.all([rebuild(), rebuild()])).map(({ code, err }) => [code, err])).toEqual([
      [0, ''],
      [0, ''],
    ])
    isOver = true
    await Promise.all([...writers, watching])
    expect(Math.min(...rows)).toBeGreaterThan(0)
    await expectTrue()
  })

  test('is gone on with by the next server, where all that made the rows were killed', async () => {
    const reader = openReader(folder.databaseFile, bunSqlite)
    const standing = () => reader.rows('select step, phase from projections', [])[0] ?? []
    let left: unknown = 'follow'
    for (let round = 0; left === 'follow'; round++) {
      expect(round).toBeLessThan(10)
      const [before] = standing()
      const rebuilding = startCommand(['projections', 'rebuild', 'authorActivity'], { env: { DATA_DIR: folder.path } })
      while (standing()[0] === before);
      await Promise.all([rebuilding.end(), server.end('SIGKILL')])
      left = standing()[1]
      server = await spawnServer({ dataDir: folder.path })
    }
    reader.close()
    await expectTrue()
  })
})
