import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { type Receiver, receiver } from '../support/receiver.ts'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

let server: TestServer
let hooks: Receiver
let key: string
let turned = 0
beforeAll(async () => {
  hooks = receiver()
  server = await testServer({ webhookOrigins: [hooks.origin] }, { now: () => Date.now() + turned })
  key = await server.key({ scopes: ['read', 'write', 'webhooks'] })
})
afterAll(async () => {
  await server.stop()
  await hooks.stop()
})

/** One try as the receiver saw it, in the order of its answers. */
interface Try {
  readonly record: string
  readonly seq: number
  readonly isTaken: boolean
}

const call = (method: string, path: string, body?: unknown) => server.call(method, path, { key, body })

async function waiting(id: string): Promise<number> {
  const { body } = await call('GET', `/webhooks/${id}/deliveries?limit=100`)
  return body.data.filter(({ state }: { state: string }) => state === 'pending').length
}

/** Of each record: a change is tried until it is taken, once, and only then the next one. */
function disorder(tries: readonly Try[], changes: ReadonlyMap<string, readonly number[]>): string[] {
  const wrong: string[] = []
  for (const [record, seqs] of changes) {
    const own = tries.filter((each) => each.record === record)
    const taken = own.filter(({ isTaken }) => isTaken).map(({ seq }) => seq)
    const wanted = seqs.flatMap((seq) => own.filter((each) => each.seq === seq))
    if (taken.join() !== seqs.join() || wanted.some((each, i) => each !== own[i]))
      wrong.push(`${record}: changes ${seqs}, tries ${own.map(({ seq, isTaken }) => `${seq}${isTaken ? '' : '!'}`)}`)
  }
  return wrong
}

let count = 0

test('whatever a receiver takes and refuses, it takes each change once, and those of a record in their order', async () => {
  const world = fc.record({
    /** Which of the records each write changes, and how tries of one change end, again and again in this order. */
    writes: fc.array(fc.nat(3), { minLength: 5, maxLength: 30 }),
    verdicts: fc.array(fc.constantFrom(200, 200, 500, 302, 429), { minLength: 1, maxLength: 12 }),
  })
  await fc.assert(
    fc.asyncProperty(world, async ({ writes, verdicts }) => {
      const tries: Try[] = []
      hooks.behave = ({ payload: { data } }) => {
        const tried = tries.filter(({ seq }) => seq === data.seq).length
        // The eighth try is always taken, so that none is given up.
        const status = tried === 7 ? 200 : (verdicts[(data.seq + tried) % verdicts.length] ?? 200)
        tries.push({ record: data.id, seq: data.seq, isTaken: status === 200 })
        return new Response(null, { status })
      }
      const made = await call('POST', '/webhooks', { url: hooks.url, resources: ['tags'] })
      const { body: webhook } = made
      const start = made.headers.get('consistency-token')
      const idByRecord = new Map<number, string>()
      for (const record of writes) {
        const id = idByRecord.get(record)
        const body = { name: `tag ${count++}` }
        const { body: tag } =
          id === undefined ? await call('POST', '/tags', body) : await call('PATCH', `/tags/${id}`, body)
        idByRecord.set(record, tag.id)
      }
      const log = (await call('GET', `/changes?after=${start}&resource=tags&limit=500`)).body.data
      const changes = new Map(
        [...idByRecord.values()].map((id) => [
          id,
          log.flatMap((each: { id: string; seq: number }) => (each.id === id ? [each.seq] : [])),
        ]),
      )
      while (tries.filter(({ isTaken }) => isTaken).length < writes.length || (await waiting(webhook.id)) > 0) {
        turned += 86_400_000
        await Bun.sleep(5)
      }
      expect(disorder(tries, changes)).toEqual([])
      expect((await call('GET', `/webhooks/${webhook.id}`)).body.state).toBe('active')
      await call('DELETE', `/webhooks/${webhook.id}`)
      await call('POST', '/batch', {
        commands: [...idByRecord.values()].map((id) => ({ do: 'delete', resource: 'tags', id })),
      })
    }),
    { numRuns: 12, endOnFailure: true },
  )
})
