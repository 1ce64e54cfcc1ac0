import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { type TestEdge, testEdge } from '../support/edge.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

let primary: TestServer
let edges: readonly TestEdge[]
let log: Database
const ids = ['019a3f00-0000-7000-8000-00000000000a', '019a3f00-0000-7000-8000-00000000000b'] as const

beforeAll(async () => {
  primary = await testServer()
  edges = [await testEdge(primary), await testEdge(primary)]
  log = new Database(primary.databaseFile, { readonly: true })
})
afterAll(async () => {
  for (const edge of edges) {
    expect(edge.faults).toEqual([])
    await edge.stop()
  }
  log.close()
  await primary.stop()
})

type Step = { readonly edge: number; readonly id: number } & (
  | { readonly kind: 'put' | 'delete' | 'list' | 'history' | 'advance' }
  | { readonly kind: 'get'; readonly consistency: 'session' | 'strong'; readonly method: 'GET' | 'HEAD' }
)

const place = { edge: fc.nat(1), id: fc.nat(1) }
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ ...place, kind: fc.constantFrom('put', 'put', 'delete') }) },
  {
    weight: 4,
    arbitrary: fc.record({
      ...place,
      kind: fc.constant('get'),
      consistency: fc.constantFrom('session', 'session', 'session', 'strong'),
      method: fc.constantFrom('GET', 'HEAD'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ ...place, kind: fc.constantFrom('list', 'history', 'advance', 'advance') }) },
)

const positionIn = (token: string | null) => Number(token?.split('.')[1] ?? -1)

/** What the log says of a record at a position: its name and version, or nothing. */
function truth(id: string, position: number): { name: string; version: number } | null {
  const sql = `select image from changes where resource = 'tags' and id = ? and seq <= ? order by seq desc limit 1`
  const image = log.query<{ image: string | null }, [string, number]>(sql).get(id, position)?.image
  if (!image) return null
  const { name, version } = JSON.parse(image)
  return { name, version }
}

/** One caller, who sends back the token of every answer; or who has none, and only wants to see what it wrote. */
async function caller(steps: readonly Step[], hasToken: boolean): Promise<void> {
  let token: string | null = null
  /** By edge and record: the position of this caller's last write. */
  const written = new Map<string, number>()
  for (const each of steps) {
    const edge = edges[each.edge]
    const id = ids[each.id]
    if (!edge || !id) throw new Error('a step names an edge and a record')
    if (each.kind === 'advance') {
      edge.replica.catchUp()
      continue
    }
    const answer = await perform(edge, each, id, hasToken ? token : null)
    const [before, position] = [positionIn(token), positionIn(answer.headers.get('consistency-token'))]
    if (hasToken) expect(position).toBeGreaterThanOrEqual(before)
    check(each, id, answer, position)
    const mine = `${each.edge} ${id}`
    const isWrite = each.kind === 'put' || each.kind === 'delete'
    if (isWrite && answer.status < 300) written.set(mine, position)
    if (each.kind === 'get') expect(position).toBeGreaterThanOrEqual(written.get(mine) ?? -1)
    token = answer.headers.get('consistency-token')
  }
}

function perform(edge: TestEdge, each: Step, id: string, token: string | null): Promise<Answer> {
  const headers = { ...(token && { 'Consistency-Token': token }) }
  const path = `/tags/${id}`
  switch (each.kind) {
    case 'put':
      return edge.call('PUT', path, { body: { name: Bun.randomUUIDv7() } })
    case 'delete':
      return edge.call('DELETE', path)
    case 'list':
      return edge.call('GET', '/tags', { headers })
    case 'history':
      return edge.call('GET', `${path}/history?limit=1`, { headers })
    default:
      return edge.call(each.kind === 'get' ? each.method : 'GET', path, {
        headers: { ...headers, ...(each.kind === 'get' && { Consistency: each.consistency }) },
      })
  }
}

/** An answer shows the records as they were at the position that it names. */
function check(each: Step, id: string, answer: Answer, position: number) {
  if (each.kind === 'put' || each.kind === 'delete' || each.kind === 'history') return
  if (each.kind === 'list') {
    const known = ids.flatMap((one) => truth(one, position)?.name ?? [])
    expect(answer.body.data.map(({ name }: { name: string }) => name).sort()).toEqual(known.sort())
    return
  }
  const wanted = truth(id, position)
  expect(answer.status).toBe(wanted ? 200 : 404)
  if (!wanted) return
  expect(answer.headers.get('etag')).toBe(`"${wanted.version}-v3"`)
  if (answer.text !== '') expect(answer.body.name).toBe(wanted.name)
}

test('whatever happens in between, no answer is older than its token, nor than the write, nor other than it says', async () => {
  for (const { replica } of edges) replica.patient = false
  const script = fc.array(step, { minLength: 1, maxLength: 15 })
  await fc.assert(
    fc.asyncProperty(script, script, script, async (first, second, third) => {
      await Promise.all([caller(first, true), caller(second, true), caller(third, false)])
    }),
    { numRuns: 150 },
  )
})
