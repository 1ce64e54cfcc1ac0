import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { type DataFolder, dataFolder, textsIn } from '../support/folder.ts'
import { spawnServer } from '../support/process.ts'
import { call } from '../support/server.ts'
import { exchange, head, openWire } from '../support/socket.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

let folder: DataFolder
beforeAll(async () => {
  folder = await dataFolder()
})
afterAll(() => folder.remove())

const storedHandles = (place: string) =>
  textsIn(folder.databaseFile, `select handle from users where handle like '${place}-%'`)

describe('row 43, for one server: SIGTERM under load', () => {
  test('whatever was done is answered, the process exits 0, the database opens clean, again and again', async () => {
    const wishes = new Wishes(folder.key)
    for (let round = 0; round < 6; round++) {
      const server = await spawnServer({ dataDir: folder.path })
      await wishes.sendAll(server.url)
      const most = wishes.all.length + 300
      let reads = 0
      const writer = async () => {
        for (;;) {
          const name = `term-${wishes.all.length}`
          if (!(await wishes.send(server.url, wishes.want('POST', '/users', { handle: name, name: 'N' }, name)))) return
        }
      }
      const reader = async () => {
        for (; ; reads++) {
          const page = await call(server.url, 'GET', '/users?limit=5&sort=-handle').catch(() => null)
          if (page === null) return
          expect(page.status).toBe(200)
        }
      }
      const gone = Promise.all([...Array.from({ length: 24 }, writer), ...Array.from({ length: 4 }, reader)])
      while (wishes.all.length < most) await Bun.sleep(1)
      expect(await server.end('SIGTERM')).toBe(0)
      await gone
      expect(server.complaints()).toBe('')
      expect(reads).toBeGreaterThan(0)
      // No client was cut off from the answer of a write that was done.
      const unanswered = wishes.all.filter((wish) => !wish.answer).map((wish) => wish.name)
      const stored = new Set(storedHandles('term'))
      expect(unanswered.filter((name) => stored.has(name))).toEqual([])
      expect(complaintsAbout(folder.databaseFile, model)).toEqual([])
    }
    const server = await spawnServer({ dataDir: folder.path })
    await wishes.sendAll(server.url)
    await wishes.sendAll(server.url, { again: true })
    expect([wishes.contradictions, wishes.foundDone]).toEqual([[], 0])
    expect(wishes.account(storedHandles('term'))).toEqual(nothingWrong)
    expect(await server.end('SIGTERM')).toBe(0)
  })

  test('a slow sender that has begun, an idle connection and a silent one do not keep it from ending', async () => {
    const server = await spawnServer({ dataDir: folder.path })
    const idle = await openWire(server.url)
    idle.send(head('GET /livez'))
    expect((await idle.answer())?.status).toBe(200)
    const silent = await openWire(server.url)
    const half = await openWire(server.url)
    half.send('GET /livez HTTP/1.1\r\nHost: loc')
    expect(await server.end('SIGTERM')).toBe(0)
    await Promise.all([idle.closed, half.closed])
    silent.destroy()
  })
})

describe('row 43, for one server: SIGTERM while a large answer is on its way', () => {
  test('to a slow reader: it is sent whole before the process ends', async () => {
    const server = await spawnServer({ dataDir: folder.path })
    const { key } = folder
    const author = (await call(server.url, 'POST', '/users', { key, body: { handle: 'long', name: 'L' } })).body.id
    const write = (i: number) => {
      const body = { authorId: author, slug: `long-${i}`, title: 'L', status: 'published', body: 'x'.repeat(190_000) }
      return call(server.url, 'POST', '/posts', { key, body })
    }
    const made = await Promise.all(Array.from({ length: 100 }, (_, i) => write(i)))
    expect(made.filter((answer) => answer.status !== 201)).toEqual([])
    const wire = await openWire(server.url)
    wire.pause()
    wire.send(head('GET /posts?limit=100'))
    // Answered after it on another connection: the large answer has been begun, and fills what buffers there are.
    expect((await exchange(server.url, head('GET /livez')))?.status).toBe(200)
    const ended = server.end('SIGTERM')
    const hasEnded = ended.then(() => true)
    expect(await Promise.race([hasEnded, Bun.sleep(200).then(() => false)])).toBe(false)
    wire.resume()
    const answer = await wire.answer()
    expect([answer?.status, JSON.parse(answer?.body ?? '').data.length]).toEqual([200, 100])
    expect(await ended).toBe(0)
  })
})

describe('row 18: a client that goes away in the middle of a write', () => {
  test('at every byte of the request and soon after it: done whole or not at all, and a retry tells', async () => {
    const server = await spawnServer({ dataDir: folder.path })
    const requestOf = (name: string) => {
      const body = JSON.stringify({ handle: name, name: 'N' })
      const lines = [
        `Authorization: Bearer ${folder.key}`,
        'Content-Type: application/json',
        `Idempotency-Key: ${name}`,
        `Content-Length: ${body.length}`,
      ]
      return head('POST /users', ...lines) + body
    }
    const whole = requestOf('gone-000').length
    const names: string[] = []
    let atOnce: Promise<void>[] = []
    for (let cut = 0; cut <= whole + 40; cut++) {
      const name = `gone-${String(cut).padStart(3, '0')}`
      names.push(name)
      atOnce.push(
        (async () => {
          const wire = await openWire(server.url)
          await wire.flushed(Buffer.from(requestOf(name).slice(0, Math.max(1, cut))))
          // Past its end, the request is whole and its sender leaves after ever more turns of the event loop.
          for (let turn = whole; turn < cut; turn++) await new Promise((next) => setImmediate(next))
          wire.destroy()
          await wire.closed
        })(),
      )
      if (atOnce.length < 20) continue
      await Promise.all(atOnce)
      atOnce = []
    }
    await Promise.all(atOnce)
    let replayed = 0
    for (const name of names) {
      const answer = await exchange(server.url, requestOf(name))
      expect([name, answer?.status]).toEqual([name, 201])
      if (answer?.headers.get('idempotency-replayed') === 'true') replayed++
    }
    expect(replayed).toBeGreaterThan(0)
    expect(replayed).toBeLessThan(60)
    expect(storedHandles('gone').sort()).toEqual(names)
    expect(server.complaints()).toBe('')
    expect(await server.end('SIGTERM')).toBe(0)
    expect(complaintsAbout(folder.databaseFile, model)).toEqual([])
  })
})
