import { expect, setDefaultTimeout, test } from 'bun:test'
import { Problem } from '../../src/problem.ts'
import { limits } from '../../src/schema/limits.ts'
import { openLibsqlReader } from '../../src/store/libsql-reader.ts'
import { relay } from '../support/relay.ts'
import { replicated } from '../support/replicated.ts'
import { call, testServer } from '../support/server.ts'
import { head, openWire, type Wire } from '../support/socket.ts'
import { startSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

test('more reads than a database takes are refused at once, the others are answered, and the node says that it lives', async () => {
  const sqld = await startSqld()
  const server = await testServer({ libsql: { url: sqld.url, token: sqld.token, folder: null } })
  const reader = openLibsqlReader({ url: sqld.url, token: sqld.token })
  sqld.signal('SIGSTOP')
  const settled = Array.from({ length: 1_200 }, () =>
    Promise.resolve(reader.rows('select 1', [])).catch((fault) => fault),
  )
  const refused = await Promise.all(settled.slice(1_000))
  for (const fault of refused) {
    expect(fault).toBeInstanceOf(Problem)
    expect([fault.code, fault.details.headers]).toEqual(['overloaded', { 'Retry-After': '1' }])
  }
  expect((await call(server.url, 'GET', '/livez')).status).toBe(200)
  sqld.signal('SIGCONT')
  // In the order in which they came: that the first are is enough to see.
  expect(await Promise.all(settled.slice(0, 50))).toEqual(Array.from({ length: 50 }, () => [[1]]))
  reader.close()
  await server.stop()
  await sqld.remove()
})

/** How long a group takes to the database and back, at the least; it holds some hundred writes: so much can be done, and no more. */
const groupMs = 800

/** Writes over as many connections as there are writes under way; counts what becomes of them. */
function load(url: string, key: string) {
  const doneAt: number[] = []
  const counts = { refused: 0 }
  const wrong: string[] = []
  const idle: Wire[] = []
  /** Answers whether it was refused. */
  const write = async () => {
    const wire = idle.pop() ?? (await openWire(url))
    const body = JSON.stringify({ name: Bun.randomUUIDv7() })
    const headers = [`Authorization: Bearer ${key}`, 'Content-Type: application/json', `Content-Length: ${body.length}`]
    wire.send(head('POST /tags', ...headers) + body)
    const answer = await wire.answer()
    const isRefused = answer?.body.includes('/problems/overloaded') && answer.headers.has('retry-after')
    if (answer?.status === 201) doneAt.push(performance.now())
    else if (isRefused) counts.refused++
    else wrong.push(`${answer?.status} ${answer?.body}`)
    idle.push(wire)
    return isRefused
  }
  return {
    ...{ counts, wrong, write },
    /** How many were done in a second since then: whole groups, from the end of the first to the end of the last. */
    perSecondSince(time: number): number {
      const [first = 0, ...more] = doneAt.filter((each) => each > time)
      const later = more.filter((each) => each > first + groupMs / 2)
      return (1_000 * later.length) / ((later.at(-1) ?? Number.POSITIVE_INFINITY) - first)
    },
    close() {
      for (const wire of idle) wire.destroy()
    },
  }
}

test('row 42: under four times the writes that it can do, a node does at least nine tenths of what it can, and refuses the rest', async () => {
  const world = await replicated()
  const far = await relay(world.sqld.url)
  await world.stopPrimary()
  await world.startPrimary({ LIBSQL_URL: far.origin })
  far.delayMs = groupMs / 2
  const { counts, wrong, write, perSecondSince, close } = load(world.origin, world.key)

  let isOver = false
  const closed = Array.from({ length: 1_000 }, async () => {
    // On a slow machine so many may be more than can be done.
    while (!isOver) if (await write()) await Bun.sleep(1_000)
  })
  await Bun.sleep(1_500)
  const full = performance.now()
  await Bun.sleep(2_500)
  const perSecond = perSecondSince(full)
  isOver = true
  await Promise.all(closed)
  counts.refused = 0

  // Open: they come when they come, whether those before them were answered or not.
  const pauseMs = 20
  const underWay: Promise<unknown>[] = []
  let due = 0
  const start = performance.now()
  const timer = setInterval(() => {
    for (due += ((4 * perSecond) / 1_000) * pauseMs; due >= 1; due--) underWay.push(write())
  }, pauseMs)
  // What may wait does so by then.
  await Bun.sleep(limits.writeWaitMsMax)
  expect((await call(world.origin, 'GET', '/livez')).status).toBe(200)
  let goodput = 0
  // What else the machine does may disturb one look.
  for (let look = 0; look < 3 && goodput < 0.9 * perSecond; look++) {
    const overloaded = performance.now()
    await Bun.sleep(2_500)
    goodput = perSecondSince(overloaded)
  }
  const asked = underWay.length / ((performance.now() - start) / 1_000)
  clearInterval(timer)
  await Promise.all(underWay)
  console.error(`${perSecond.toFixed(0)} writes/s can be done; of ${asked.toFixed(0)}/s, ${goodput.toFixed(0)}/s are`)
  expect({ wrong, isRefused: counts.refused > 0, isOverloaded: asked > 2 * perSecond }).toEqual({
    ...{ wrong: [], isRefused: true, isOverloaded: true },
  })
  expect(goodput).toBeGreaterThan(0.9 * perSecond)
  close()
  await world.stop()
  far.stop()
})
