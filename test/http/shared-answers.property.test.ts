import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import type { Answer } from '../support/server.ts'
import { type SharedWorld, sharedWorld } from '../support/shared-world.ts'
import { hasRedis } from '../support/upstash.ts'

setDefaultTimeout(60_000)

const ids = ['019a3f00-0000-7000-8000-00000000000a', '019a3f00-0000-7000-8000-00000000000b'] as const

interface Place {
  readonly node: number
  readonly id: number
}
interface Reading extends Place {
  readonly kind: 'get' | 'list'
  readonly asks: 'nothing' | 'token' | 'strong' | 'eventual' | 0 | 1
}
type Node = Pick<SharedWorld['primary'], 'call'>
type Step = Reading | (Place & { readonly kind: 'put' | 'delete' | 'flush' })

const place = { node: fc.nat(2), id: fc.nat(1) }
const asks = fc.constantFrom('nothing', 'token', 'token', 'strong', 'eventual', 0, 1) as fc.Arbitrary<Reading['asks']>
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ ...place, kind: fc.constantFrom('put' as const, 'put' as const, 'delete' as const) }),
  },
  { weight: 12, arbitrary: fc.record({ ...place, kind: fc.constantFrom('get' as const, 'list' as const), asks }) },
  { weight: 1, arbitrary: fc.record({ ...place, kind: fc.constant('flush' as const) }) },
)

describe.skipIf(!hasRedis)('answers that nodes share', () => {
  let world: SharedWorld
  beforeAll(async () => {
    world = await sharedWorld(2)
  })
  afterAll(() => world.stop())

  const positionIn = (answer: Answer) => Number(answer.headers.get('consistency-token')?.split('.')[1] ?? -1)
  const head = () =>
    world.log.query<{ seq: number }, []>('select coalesce(max(seq), 0) seq from changes').get()?.seq ?? 0
  function truth(id: string, position: number): string | null {
    const sql = `select image from changes where resource = 'tags' and id = ? and seq <= ? order by seq desc limit 1`
    const image = world.log.query<{ image: string | null }, [string, number]>(sql).get(id, position)?.image
    return image ? JSON.parse(image).name : null
  }

  /** When which position was reached, at the latest. */
  const reached: { readonly at: number; readonly seq: number }[] = []
  const headAt = (at: number) => reached.findLast((each) => each.at <= at)?.seq ?? 0
  /** By node: what was written through it. */
  const written = [0, 0, 0]
  let hits = 0

  async function caller(steps: readonly Step[]) {
    let token: string | null = null
    for (const each of steps) {
      const node = [world.primary, ...world.edges][each.node]
      const id = ids[each.id]
      if (!node || !id) throw new Error('a step names a node and a record')
      if (each.kind === 'flush') {
        await world.redis.send('FLUSHALL')
        continue
      }
      if (each.kind === 'put' || each.kind === 'delete') {
        const options = each.kind === 'put' ? { body: { name: Bun.randomUUIDv7() } } : {}
        const answer = await node.call(each.kind.toUpperCase(), `/tags/${id}`, options)
        if (answer.status >= 300) continue
        reached.push({ at: performance.now(), seq: head() })
        written[each.node] = Math.max(written[each.node] ?? 0, positionIn(answer))
        token = answer.headers.get('consistency-token')
        continue
      }
      if (!('asks' in each)) throw new Error('what writes nothing reads')
      const answer = await look(node, id, each, token)
      if (each.asks === 'token' && token !== null) token = answer.headers.get('consistency-token')
    }
  }

  async function look(node: Node, id: string, each: Reading, token: string | null): Promise<Answer> {
    const wanted = leastOf(each, token)
    const headers = headersOf(each, token)
    const answer = await node.call('GET', each.kind === 'get' ? `/tags/${id}` : '/tags', { key: null, headers })
    const position = positionIn(answer)
    expect(position).toBeGreaterThanOrEqual(wanted)
    if (answer.headers.get('cache-status')?.includes('hit')) hits++
    const names = ids.flatMap((one) => (each.kind === 'list' || one === id ? (truth(one, position) ?? []) : []))
    expect(answer.status).toBe(each.kind === 'get' && names.length === 0 ? 404 : 200)
    const told =
      each.kind === 'list' ? answer.body.data.map((tag: { name: string }) => tag.name) : [answer.body.name ?? []].flat()
    expect(told.sort()).toEqual(names.sort())
    return answer
  }

  /** The position that an answer must be at, or after. Clocks of nodes count whole milliseconds. */
  function leastOf({ node, asks }: Reading, token: string | null): number {
    const now = performance.now()
    const positionOf = (text: string | null) => Number(text?.split('.')[1] ?? -1)
    if (asks === 'eventual') return -1
    if (asks === 'strong') return headAt(now)
    if (typeof asks === 'number') return headAt(now - asks * 1_000 - 2)
    return Math.max(written[node] ?? 0, asks === 'token' ? positionOf(token) : -1)
  }

  function headersOf({ asks }: Reading, token: string | null): Record<string, string> {
    if (asks === 'nothing') return {}
    if (asks === 'token') return token === null ? {} : { 'Consistency-Token': token }
    return { Consistency: typeof asks === 'number' ? `bounded; max-staleness=${asks}` : asks }
  }

  test('are never older than was asked, and never other than the log has it where they say that they stand', async () => {
    const script = fc.array(step, { minLength: 5, maxLength: 25 })
    await fc.assert(
      fc.asyncProperty(script, script, script, async (first, second, third) => {
        await Promise.all([caller(first), caller(second), caller(third)])
      }),
      { numRuns: 20 },
    )
    expect(hits).toBeGreaterThan(20)
    for (const edge of world.edges) expect(edge.faults).toEqual([])
  })
})
