import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { fileStore } from '../../src/entry/file-store.ts'
import { createKey, revokeKey } from '../../src/entry/keys.ts'
import { openNode } from '../../src/entry/node.ts'
import type { Epoch, Seq } from '../../src/log/position.ts'
import { model } from '../../src/model/index.ts'
import { limits } from '../../src/schema/limits.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { testApp } from '../support/app.ts'
import { crowd } from '../support/crowd.ts'
import { type DataFolder, dataFolder } from '../support/folder.ts'
import { type SpawnedServer, spawnServer } from '../support/process.ts'
import { until } from '../support/replicated.ts'
import { call } from '../support/server.ts'
import { head, openWire } from '../support/socket.ts'
import { follow, type Stream } from '../support/stream.ts'

setDefaultTimeout(60_000)

let folder: DataFolder
let server: SpawnedServer
let stranger: string
/** Seals a position as the server does. */
let seal: (seq: number, epoch?: string) => string
let author: string
beforeAll(async () => {
  folder = await dataFolder()
  const node = await openNode(fileStore(folder.path, bunSqlite), model, (error) => {
    throw error
  })
  const options = { scopes: ['read', 'write'], subject: null, version: null }
  stranger = (await createKey(node.primary, { tenant: 'other', ...options })).key
  const { sealer, epoch } = node
  seal = (seq, of = epoch) => sealer.seal({ epoch: of as Epoch, seq: seq as Seq })
  await node.close()
  server = await spawnServer({ dataDir: folder.path })
  author = (await ask('POST', '/users', { handle: 'author', name: 'A' })).body.id
})
afterAll(async () => {
  expect(await server.end('SIGTERM')).toBe(0)
  expect(server.complaints()).toBe('')
  folder.remove()
})

const ask = (method: string, path: string, body?: unknown, key = folder.key) =>
  call(server.url, method, path, { key, body })
const tokenOf = (answer: { headers: Headers }) => answer.headers.get('consistency-token') ?? ''
const seqOf = (token: string) => Number(token.split('.')[1])
const here = async () => tokenOf(await ask('GET', '/tags?limit=1'))

let count = 0
async function newTag(key = folder.key): Promise<{ id: string; token: string }> {
  const made = await ask('POST', '/tags', { name: `tag-${count++}` }, key)
  expect(made.status).toBe(201)
  return { id: made.body.id, token: tokenOf(made) }
}

/** A post whose event is about 190 KB. */
async function newLongPost(): Promise<string> {
  const body = { authorId: author, slug: `long-${count++}`, title: 'L', status: 'published', body: 'x'.repeat(190_000) }
  const made = await ask('POST', '/posts', body)
  expect(made.status).toBe(201)
  return made.body.id
}

async function followers(): Promise<number> {
  return Number(/^perigee_followers (\d+)$/m.exec((await ask('GET', '/metrics')).text)?.[1])
}
const followersAre = (wanted: number) =>
  until(
    async () => (await followers()) === wanted,
    () => `there are not ${wanted} followers`,
  )

/** The memory of the server's process, in bytes. */
function memory(): number {
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1])
}

async function idsOf(stream: Stream, number: number): Promise<string[]> {
  const ids: string[] = []
  while (ids.length < number) {
    const event = await stream.next()
    expect(event.event).toBe('change')
    ids.push(event.data.id)
  }
  return ids
}

/** What whole events a client was sent: their records and the last position. The bytes are as they came, in chunks. */
function eventsIn(rest: string): { readonly ids: string[]; readonly position: string } {
  let body = ''
  for (let at = rest.indexOf('\r\n\r\n') + 4; ; ) {
    const size = /^([0-9a-f]+)\r\n/.exec(rest.slice(at, at + 20))
    if (!size?.[1]) break
    const start = at + size[0].length
    at = start + Number.parseInt(size[1], 16) + 2
    body += rest.slice(start, at - 2)
  }
  const blocks = body.split('\n\n').slice(0, -1)
  const line = (block: string, name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]
  return {
    ids: blocks.flatMap((block) => /^data: .*?"id":"([^"]+)"/m.exec(block)?.[1] ?? []),
    position: blocks.map((block) => line(block, 'id')).findLast((id) => id !== undefined) ?? '',
  }
}

describe('row 34: a client that never reads', () => {
  test('is cut off in bounded memory, others get every event, and it goes on where it was', async () => {
    const idle = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const wire = await openWire(server.url)
        wire.pause()
        wire.send(head('GET /changes?resource=posts', 'Accept: text/event-stream'))
        return wire
      }),
    )
    const reader = await follow(`${server.url}/changes?resource=posts`)
    await reader.opened
    await followersAre(5)
    const before = memory()
    const made: string[] = []
    // The system takes some megabytes for each connection before anything waits in the server.
    while ((await followers()) > 1 && made.length < 100) made.push(await newLongPost())
    expect(made.length).toBeLessThan(100)
    expect(memory() - before).toBeLessThan(64 * limits.followerBytesMax)
    expect(await idsOf(reader, made.length)).toEqual(made)
    for (const wire of idle) {
      wire.resume()
      await wire.closed
      const had = eventsIn(wire.rest)
      expect(had.ids.length).toBeLessThan(made.length)
      const again = await follow(`${server.url}/changes?resource=posts`, { 'Last-Event-ID': had.position })
      expect([...had.ids, ...(await idsOf(again, made.length - had.ids.length))]).toEqual(made)
      again.close()
    }
    reader.close()
    await followersAre(0)
  })

  test('is not one that reads: it gets a long past, and much that comes at once', async () => {
    const start = await here()
    const past: string[] = []
    for (let n = 0; n < 12; n++) past.push(await newLongPost())
    const stream = await follow(`${server.url}/changes?after=${start}&resource=posts`)
    expect(await idsOf(stream, past.length)).toEqual(past)
    const coming = await Promise.all(Array.from({ length: 12 }, newLongPost))
    expect((await idsOf(stream, coming.length)).sort()).toEqual(coming.sort())
    stream.close()
    await followersAre(0)
  })
})

describe('row 34: a thousand subscribers', () => {
  test('get each change once, in order, in bounded memory, and are forgotten when they are gone', async () => {
    const before = memory()
    const all = await crowd(server.url, '/changes?resource=tags', 500, folder.key)
    const others = await crowd(server.url, '/v1/changes?resource=tags&fields=name', 500)
    expect(await followers()).toBe(1_000)
    expect((memory() - before) / 1_000).toBeLessThan(100_000)
    const written: number[] = []
    for (let n = 0; n < 20; n++) written.push(seqOf((await newTag()).token))
    await Promise.all([all.each(20), others.each(20)])
    for (const seqs of [...all.told, ...others.told]) expect(seqs).toEqual(written)
    for (const each of [all, others]) each.leave()
    await followersAre(0)
  })

  test('who wait for one record each are told of that one', async () => {
    const tags = await Promise.all(Array.from({ length: 50 }, () => newTag()))
    const streams = await Promise.all(tags.map(({ id }) => follow(`${server.url}/changes?resource=tags&id=${id}`)))
    await Promise.all(streams.map(({ opened }) => opened))
    for (const { id } of tags) await ask('PATCH', `/tags/${id}`, { name: `of-${id}` })
    for (const [n, stream] of streams.entries()) {
      const { data } = await stream.next()
      expect([data.id, data.version]).toEqual([tags[n]?.id, 2])
      stream.close()
    }
    await followersAre(0)
  })

  test('that go away while they wait for a page are forgotten as well', async () => {
    const at = await here()
    const wires = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const wire = await openWire(server.url)
        wire.send(head(`GET /changes?after=${at}&wait=${limits.feedWaitSecondsMax}`))
        return wire
      }),
    )
    await followersAre(20)
    for (const wire of wires) wire.destroy()
    await followersAre(0)
  })
})

describe('row 34: a client that comes back', () => {
  const streamFrom = (position: string, key: string | null = null) =>
    follow(`${server.url}/changes?resource=tags`, {
      'Last-Event-ID': position,
      ...(key && { Authorization: `Bearer ${key}` }),
    })

  test('with an old position gets each event since once; with the position of another tenant its own since', async () => {
    const old = await here()
    const theirs = await newTag(stranger)
    const made = [await newTag(), await newTag(), await newTag()].map(({ id }) => id)
    const [own, foreign] = [await streamFrom(old), await streamFrom(theirs.token)]
    expect([await idsOf(own, 3), await idsOf(foreign, 3)]).toEqual([made, made])
    const stream = await streamFrom(old, stranger)
    expect(await idsOf(stream, 1)).toEqual([theirs.id])
    const [live, alien] = [await newTag(), await newTag(stranger)]
    expect([await idsOf(own, 1), await idsOf(foreign, 1), await idsOf(stream, 1)]).toEqual([
      ...[[live.id], [live.id], [alien.id]],
    ])
    for (const each of [own, foreign, stream]) each.close()
  })

  test.each([
    ['of another epoch', () => seal(1, 'restored'), 'token-from-another-epoch'],
    ['that is forged', () => seal(1).replace('.1.', '.2.'), 'invalid-consistency-token'],
    ['that is none', () => '7', 'invalid-consistency-token'],
  ])('with a position %s is told to begin anew', async (_, position, code) => {
    const stream = await streamFrom(position())
    const { event, data } = await stream.next()
    expect([event, data.type]).toEqual(['reset', `/problems/${code}`])
    await stream.ended
  })

  test('with a position that is still to come gets what comes after it; nobody else waits for that', async () => {
    const now = seqOf(await here())
    const early = await streamFrom(seal(now + 2))
    await early.opened
    const other = await follow(`${server.url}/changes?resource=tags`)
    await other.opened
    const made = [await newTag(), await newTag(), await newTag()].map(({ id }) => id)
    expect(await idsOf(other, 3)).toEqual(made)
    expect(await idsOf(early, 1)).toEqual(made.slice(2))
    const page = await ask('GET', `/changes?after=${seal(now + 100)}`)
    expect([page.body.data, page.body.next]).toEqual([[], seal(now + 100)])
    for (const each of [early, other]) each.close()
    await followersAre(0)
  })
})

describe('a stream', () => {
  test('ends at its next sign of life where its key was revoked; others learn how far the log was read', async () => {
    let turned = 0
    const app = await testApp(() => ({ now: () => Date.now() + turned, elapsed: () => performance.now() + turned }))
    const listening = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: app.app.fetch })
    const url = `http://127.0.0.1:${listening.port}`
    const options = { tenant: 'demo', scopes: ['read', 'write'], subject: null, version: null }
    const [made, key] = [await createKey(app.node.primary, options), await app.key()]
    const [revoked, kept] = await Promise.all(
      [made.key, key].map((each) => follow(`${url}/changes?resource=posts`, { Authorization: `Bearer ${each}` })),
    )
    await Promise.all([revoked!.opened, kept!.opened])
    await revokeKey(app.node.primary, made.id)
    const tag = tokenOf(await call(url, 'POST', '/tags', { key, body: { name: 'one' } }))
    expect(kept!.position).not.toBe(tag)
    turned = limits.signOfLifeMs
    await revoked!.ended
    await until(
      () => kept!.position === tag,
      () => `the sign of life says ${kept!.position}, not ${tag}`,
    )
    kept!.close()
    expect(app.faults).toEqual([])
    app.app.close()
    await listening.stop(true)
    await app.stop()
  })
})

describe('row 43: SIGTERM while clients follow', () => {
  test('ends at once what is asked for too late, and refuses nobody', async () => {
    const { app, stop, faults } = await testApp()
    const ask = (path: string, accept: string) =>
      app.fetch(new Request(`http://localhost${path}`, { headers: { Host: 'localhost', Accept: accept } }))
    app.close()
    const stream = await ask('/changes', 'text/event-stream')
    expect([stream.status, await stream.text()]).toEqual([200, 'retry: 1000\n\n'])
    const page = await ask(`/changes?wait=${limits.feedWaitSecondsMax}`, 'application/json')
    expect([page.status, JSON.parse(await page.text()).data, faults]).toEqual([200, [], []])
    await stop()
  })

  test('ends their streams and the process, and where they connect again they miss nothing', async () => {
    const streams = await Promise.all(Array.from({ length: 30 }, () => follow(`${server.url}/changes?resource=tags`)))
    await Promise.all(streams.map(({ opened }) => opened))
    const waiting = ask('GET', `/changes?after=${await here()}&resource=posts&wait=${limits.feedWaitSecondsMax}`)
    await followersAre(31)
    const first = await newTag()
    for (const stream of streams) expect(await idsOf(stream, 1)).toEqual([first.id])
    const ended = server.end('SIGTERM')
    await Promise.all(streams.map((stream) => stream.ended))
    expect([(await waiting).status, await ended, server.complaints()]).toEqual([200, 0, ''])
    server = await spawnServer({ dataDir: folder.path })
    const second = await newTag()
    const again = await Promise.all(
      streams.map(({ position }) => follow(`${server.url}/changes?resource=tags`, { 'Last-Event-ID': position })),
    )
    const third = await newTag()
    for (const stream of again) {
      expect(await idsOf(stream, 2)).toEqual([second.id, third.id])
      stream.close()
    }
    await followersAre(0)
  })
})
