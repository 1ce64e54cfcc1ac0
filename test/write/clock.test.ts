import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { type TestApp, testApp } from '../support/app.ts'
import { get } from '../support/random-world.ts'

setDefaultTimeout(60_000)

let clock = Date.UTC(2026, 0, 1)
let server: TestApp
let key: string
beforeAll(async () => {
  server = await testApp(() => ({ now: () => clock }))
  key = await server.key()
})
afterAll(() => server.stop())

async function write(method: string, path: string, body: unknown) {
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
  const headers = { Host: 'perigee.test', Authorization: `Bearer ${key}`, 'Content-Type': type }
  const response = await server.app.fetch(
    new Request(`http://perigee.test${path}`, { method, headers, body: JSON.stringify(body) }),
  )
  return { status: response.status, body: JSON.parse(await response.text()) }
}

test.each([
  ['stands still', 0],
  ['goes back', -60_000],
  ['goes on', 5],
])('every write is a new version, later than the last, and in the log, where the clock %s', async (_, step) => {
  const path = `/users/${Bun.randomUUIDv7()}`
  const body = { handle: `h${step + 60_000}`, name: 'Ada' }
  const versions = [await write('PUT', path, body)]
  for (const [method, sent] of [
    ['PATCH', {}],
    ['PATCH', { name: 'Ada' }],
    ['PUT', body],
    ['PATCH', {}],
  ] as const) {
    clock += step
    versions.push(await write(method, path, sent))
  }
  expect(versions.map((each) => [each.status, each.body.version])).toEqual([
    [201, 1],
    [200, 2],
    [200, 3],
    [200, 4],
    [200, 5],
  ])
  const times = versions.map((each) => each.body.updatedAt)
  expect([...new Set(times)].sort()).toEqual(times)
  const history = await get(server.app, `${path}/history`, key)
  const logged = history.body.data.map((entry: { record: unknown }) => entry.record)
  expect(logged.reverse()).toEqual(versions.map((each) => each.body))
})

test('what is written where the clock is behind is in the log after what was before, and there at its own time', async () => {
  const before = (await get(server.app, '/changes', key)).body.next
  const user = (n: number) => write('PUT', `/users/${Bun.randomUUIDv7()}`, { handle: `behind${n}`, name: 'Ada' })
  const shown: Record<string, unknown>[] = []
  for (const step of [300_000, -60_000, 61_000, -5_000, 10_000]) {
    clock += step
    shown.push((await user(shown.length)).body)
  }
  for (const [n, record] of shown.entries()) {
    const then = await get(server.app, `/users/${record.id}?as-of=${record.updatedAt}`, key)
    expect([n, then.status, then.body]).toEqual([n, 200, record])
  }
  const times = shown.map(({ updatedAt }) => String(updatedAt))
  expect([times.toSorted(), new Set(times).size]).toEqual([times, 3])
  const changes = (await get(server.app, `/changes?after=${before}`, key)).body.data
  expect(changes.map(({ time }: { time: string }) => time)).toEqual(times)
})
