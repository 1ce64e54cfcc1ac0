import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { placeOf } from '../../src/entry/regions.ts'
import { projectRoot } from '../support/project.ts'
import { type Replicated, replicated, until } from '../support/replicated.ts'
import { call } from '../support/server.ts'
import { bundle } from '../support/worker.ts'
import { type WorkerEdge, workerEdge } from '../support/worker-edge.ts'

setDefaultTimeout(60_000)

test('the Worker is 250 KiB at most, after gzip, and needs nothing of Node', async () => {
  expect((await bundle()).gzipKiB).toBeLessThanOrEqual(250)
  expect(readFileSync(join(projectRoot, 'wrangler.toml'), 'utf8')).not.toMatch(/nodejs_compat/)
})

describe('the copy that answers a request', () => {
  test.each([
    ['Paris', { continent: 'EU', country: 'FR', longitude: '2.35' }, 'weur'],
    ['Warsaw', { continent: 'EU', country: 'PL', longitude: '21.01' }, 'eeur'],
    ['New York', { continent: 'NA', country: 'US', longitude: '-73.99' }, 'enam'],
    ['Seattle', { continent: 'NA', country: 'US', longitude: '-122.4' }, 'wnam'],
    ['São Paulo', { continent: 'SA', country: 'BR', longitude: '-46.63' }, 'sam'],
    ['Tokyo', { continent: 'AS', country: 'JP', longitude: '139.69' }, 'apac'],
    ['Dubai', { continent: 'AS', country: 'AE', longitude: '55.27' }, 'me'],
    ['Cairo', { continent: 'AF', country: 'EG', longitude: '31.24' }, 'me'],
    ['Nairobi', { continent: 'AF', country: 'KE', longitude: '36.82' }, 'afr'],
    ['Auckland', { continent: 'OC', country: 'NZ', longitude: '174.76' }, 'oc'],
    ['Europe', { continent: 'EU' }, 'weur'],
  ] as const)('of a caller in %s is made there', (_, place, region) => {
    expect(placeOf(null, place)).toEqual({ region, hint: region })
  })

  test('is one called local where nobody knows where the caller is, such as from Tor', () => {
    for (const place of [undefined, {}, { country: 'T1' }, { continent: 7, country: null, longitude: 'x' }])
      expect(placeOf(null, place)).toEqual({ region: 'local', hint: null })
  })

  test('is the only one where that is set, and made where its name says', () => {
    const place = { continent: 'EU', country: 'FR', longitude: '2.35' }
    expect(placeOf('wnam', place)).toEqual({ region: 'wnam', hint: 'wnam' })
    expect(placeOf('headquarters', place)).toEqual({ region: 'headquarters', hint: null })
  })
})

describe('news of a write', () => {
  let world: Replicated
  /** The one that the primary tells, and one that nobody tells. */
  let told: WorkerEdge
  let untold: WorkerEdge
  beforeAll(async () => {
    await bundle()
    world = await replicated()
    ;[told, untold] = await Promise.all([workerEdge(world, { REGION: null }), workerEdge(world)])
    await Promise.all([told.ready(), untold.ready()])
    await world.stopPrimary()
    // The second answers to no name: nobody waits for it.
    await world.startPrimary({ EDGE_ORIGINS: `${told.url},http://127.0.0.1:1` })
  })
  afterAll(async () => {
    for (const each of [told, untold]) {
      await each.stop()
      expect(each.complaints()).toBe('')
    }
    await world.stop()
  })

  const write = async () => {
    const made = await world.call('POST', '/tags', { body: { name: Bun.randomUUIDv7() } })
    expect(made.status).toBe(201)
    return { path: `/tags/${made.body.id}`, token: made.headers.get('consistency-token') ?? '' }
  }
  const has = async (at: WorkerEdge, path: string) => (await at.call('GET', path)).status === 200

  test('comes to a Worker that the primary tells, before it would look itself', async () => {
    // A copy looks when it is asked for anything and has not looked for five seconds: so does the one that nobody tells.
    let before = 0
    for (let round = 0; round < 12; round++) {
      const { path } = await write()
      await until(
        () => has(told, path),
        () => 'it is never told',
      )
      if (!(await has(untold, path))) before++
    }
    expect(before).toBeGreaterThanOrEqual(9)
    const { text } = await world.call('GET', '/metrics', { key: null })
    expect(text).toMatch(/perigee_nudges_total\{result="told"\} [1-9]/)
    expect(text).toMatch(/perigee_nudges_total\{result="failed"\} [1-9]/)
  })

  test('comes to one that nobody tells when it looks by itself, asked or not', async () => {
    const { path } = await write()
    await until(
      async () => (await untold.health()).position >= Number((await world.call('GET', '/readyz')).body.position),
      () => 'it never looks',
      30_000,
    )
    expect(await has(untold, path)).toBe(true)
  })

  test('is believed with a token of the database that the copy has not reached, and by no other', async () => {
    const { path, token } = await write()
    const asked = async (headers: Record<string, string>) =>
      (await call(untold.url, 'POST', '/nudge', { headers })).status
    expect(await asked({})).toBe(400)
    expect(await asked({ 'Consistency-Token': 'no token' })).toBe(400)
    const [epoch, seq, mac = ''] = token.split('.')
    const forged = `${epoch}.${Number(seq) + 1_000}.${mac}`
    const steps = async () => Number((await untold.health()).position)
    const before = await steps()
    expect(await asked({ 'Consistency-Token': forged })).toBe(202)
    expect(await asked({ 'Consistency-Token': await world.owner.tokenFromBefore() })).toBe(202)
    expect(await steps()).toBe(before)
    expect(await asked({ 'Consistency-Token': token })).toBe(202)
    await until(
      () => has(untold, path),
      () => 'it does not look',
    )
  })
})
