import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { nothingWrong } from '../support/accounting.ts'
import { Caller } from '../support/caller.ts'
import { lackingForClock, startCluster, type TestCluster } from '../support/cluster.ts'
import { lackingForDisk } from '../support/faults.ts'
import { sessionViolations } from '../support/history.ts'
import { until } from '../support/replicated.ts'
import { counted, detailsOf, summaryOf } from '../support/report.ts'
import { call } from '../support/server.ts'
import { head, openWire } from '../support/socket.ts'
import { Followers, faultNamesOf, holdTrial } from '../support/trial.ts'

setDefaultTimeout(120_000)

let cluster: TestCluster
beforeAll(async () => {
  cluster = await startCluster(['eu', 'us'], ['worker'])
})
afterAll(() => cluster.stop())

if (lackingForClock)
  console.error(`SKIPPED, turning the clock of an edge (row 20), because there is no ${lackingForClock}`)

if (lackingForDisk) console.error(`SKIPPED, faults of the disk of sqld under a cluster, because ${lackingForDisk}`)

describe('a cluster that is broken and mended again and again', () => {
  test('loses nothing, does nothing twice, and shows each caller one history', async () => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e6))
    const times = { ms: 6_000, faultMsMax: 800, peaceMsMax: 800 }
    const followers = new Followers(cluster)
    const trial = await holdTrial(cluster, followers, { seed, ...times, hasTokens: true, callers: 16 })
    await followers.stop()
    console.error(`SEED=${seed}: ${summaryOf([trial])}\n${detailsOf([trial])}\n${followers.told()}`)
    const { faults, answers, writes, reads, accounting, disorder, sessions, labels, complaints, followed } = trial
    expect({ disorder, sessions, labels, complaints, followed }).toEqual({
      followed: [],
      disorder: [],
      sessions: [],
      labels: [],
      complaints: [],
    })
    expect(accounting).toEqual(nothingWrong)
    // No answer but success, absence, another epoch, and the two that say what became of a write or when to come again.
    const statuses = [...answers.keys()].filter((status) => typeof status === 'number')
    expect(statuses.filter((status) => ![200, 201, 404, 409, 503, 504].includes(status))).toEqual([])
    // All that can break has been broken, and callers got through all the same.
    expect([...faults.keys()].sort()).toEqual(faultNamesOf(cluster).toSorted())
    expect([writes.acknowledged > 20, reads.session > 20, reads.strong > 5]).toEqual([true, true, true])
  })
})

describe('a session at an edge whose copy stands still', () => {
  const tags = Array.from({ length: 4 }, () => Bun.randomUUIDv7())

  /** A caller who writes at one edge and then reads at the other, which gets nothing new. */
  async function hop(name: string, rounds: number, hasTokens: boolean): Promise<Caller> {
    const [fresh, stale] = cluster.edges
    if (!fresh || !stale) throw new Error('there are two edges')
    const statuses: (number | string)[] = []
    const caller = new Caller(name, {
      ...{ key: cluster.key, urls: [], random: Math.random, hasTokens },
      ...{ patienceMs: () => 5_000, count: (status) => statuses.push(status) },
    })
    // A copy that can no longer be followed is found to be one by a write, and made anew: what stands still follows.
    await caller.put(Bun.randomUUIDv7(), `${name}-before`, { hasKey: true, url: fresh.url })
    await cluster.converged()
    stale.links.database.towards = { primary: false, edge: false }
    try {
      for (let n = 0; n < rounds; n++) {
        const tag = tags[n % tags.length] ?? ''
        await caller.put(tag, `${name}-${n}`, { hasKey: true, url: fresh.url })
        const before = caller.calls.length
        // What is not answered, as while an edge finds that a connection of before is dead, is asked for again.
        const isAnswered = async () => {
          await caller.read(tag, 'session', stale.url)
          return caller.calls.length > before
        }
        await until(isAnswered, () => `${name} has no answer: ${statuses.join(', ')}`)
      }
    } finally {
      stale.links.database.towards = { primary: true, edge: true }
      stale.links.database.cut()
      await cluster.converged()
    }
    expect(caller.calls.length).toBe(2 * rounds + 1)
    return caller
  }

  test('misses its own writes without tokens, which the judge sees', async () => {
    const { calls } = await hop('forgetful', 20, false)
    const missed = sessionViolations(calls).filter(({ rule }) => rule === 'read-your-writes')
    const seen = calls.filter((call) => call.kind === 'read' && !missed.some((each) => each.call === call))
    expect(seen).toEqual([])
    expect(missed.length).toBe(20)
  })

  test('sees every one of them with tokens', async () => {
    expect(sessionViolations((await hop('mindful', 5, true)).calls)).toEqual([])
  })
})

describe('row 43: the edges are ended and started again, one after the other, under load', () => {
  const restarts = 4

  /**
   * Sends a request over a new connection to an edge that is drawn; where that refuses the connection, or closes it
   * without a byte, to the other. A system resets connections that wait to be taken when their listener is closed, so
   * the second happens; what is sent may therefore be repeated: reads, and writes with a key.
   */
  async function send(message: string, add: (outcome: string) => void): Promise<void> {
    const first = Math.random() < 0.5 ? 0 : 1
    for (const edge of [cluster.edges[first], cluster.edges[1 - first]]) {
      const wire = await openWire(edge?.url ?? '').catch(() => null)
      wire?.send(message)
      const answer = (await wire?.answer()) ?? null
      wire?.destroy()
      if (answer?.headers.has('idempotency-replayed')) add('done before, though its sender was not told')
      if (answer) return add(String(answer.status))
      add(wire === null ? 'refused connections' : wire.rest === '' ? 'reset connections' : 'half an answer')
    }
    add('failed')
  }

  test('no request fails whose sender goes on to the other edge, and no write loses its answer', async () => {
    const auth = `Authorization: Bearer ${cluster.key}`
    const { body } = await call(cluster.primary.url, 'POST', '/tags', { key: cluster.key, body: { name: 'rolling' } })
    await cluster.converged()
    const write = (name: string) => {
      const text = JSON.stringify({ name })
      const type = 'Content-Type: application/json'
      return head('POST /tags', auth, type, `Idempotency-Key: ${name}`, `Content-Length: ${text.length}`) + text
    }
    const outcomes = new Map<string, number>()
    const add = (outcome: string) => void outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    let isOver = false
    const client = async (place: number) => {
      for (let n = 0; !isOver; n++)
        await send(n % 4 === 0 ? write(`rolling-${place}-${n}`) : head(`GET /tags/${body.id}`, auth), add)
    }
    const clients = Promise.all(Array.from({ length: 8 }, (_, place) => client(place)))
    for (let restart = 0; restart < restarts; restart++) {
      const edge = cluster.edges[restart % 2]
      expect(await edge?.end('SIGTERM')).toBe(0)
      await edge?.start()
      await until(
        async () => (await fetch(`${edge?.url}/readyz`)).ok,
        () => 'it does not become ready again',
      )
    }
    isOver = true
    await clients
    console.error(`${restarts} restarts: ${counted(outcomes)}`)
    const tried = ['refused connections', 'reset connections']
    expect([...outcomes.keys()].filter((outcome) => !tried.includes(outcome)).sort()).toEqual(['200', '201'])
    expect([outcomes.get('200')! > 500, outcomes.get('201')! > 100]).toEqual([true, true])
  })
})
