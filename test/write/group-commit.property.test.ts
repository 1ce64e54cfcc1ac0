import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { databaseFile, fileStore } from '../../src/entry/file-store.ts'
import { libsqlStore } from '../../src/entry/libsql-store.ts'
import { type Node, openNode, type Store } from '../../src/entry/node.ts'
import { model } from '../../src/model/index.ts'
import { Problem } from '../../src/problem.ts'
import type { Caller, TenantId } from '../../src/schema/access.ts'
import type { Expression } from '../../src/schema/expression.ts'
import type { Field } from '../../src/schema/field.ts'
import type { ShapeField } from '../../src/schema/shape.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import type { Value } from '../../src/value.ts'
import { buildViews } from '../../src/version/view.ts'
import type { Command, Condition, WriteRequest } from '../../src/write/command.ts'
import { commit } from '../../src/write/commit.ts'
import type { Assignment } from '../../src/write/input.ts'
import { planWrite } from '../../src/write/plan.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { type Draw, withRandomChoices } from '../support/random-model.ts'
import { temporaryFolder } from '../support/server.ts'
import { startSqld } from '../support/sqld.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

/**
 * Databases are given the same writes: one by one, or all at once, so that they share transactions, in a file and in a
 * sqld. They must answer alike and end alike, to the last column of the log.
 */
interface Given {
  readonly name: string
  readonly node: Node
  readonly file: string
}
let alone: Given
let together: Given[]
const removals: (() => Promise<void> | void)[] = []
beforeAll(async () => {
  const open = async (name: string, store: Store, file: string): Promise<Given> => {
    await store.migrate()
    const node = await openNode(store, model, (error) => {
      throw error
    })
    removals.unshift(() => node.close())
    return { name, node, file }
  }
  const inFile = (name: string) => {
    const folder = temporaryFolder()
    removals.unshift(folder.remove)
    return open(name, fileStore(folder.path, bunSqlite), databaseFile(folder.path))
  }
  const sqld = await startSqld()
  removals.unshift(sqld.remove)
  alone = await inFile('alone')
  const file = join(sqld.folder, 'dbs', 'default', 'data')
  together = [await inFile('embedded'), await open('sqld', libsqlStore(sqld), file)]
})
afterAll(async () => {
  for (const remove of removals) await remove()
})

const view = buildViews(model).get('v3')!
const idOf = (n: number) => `0190a000-0000-7000-8000-${n.toString(16).padStart(12, '0')}`

/** Few ids, names and keys, so that writes meet. */
function randomRequest(draw: Draw, tenant: TenantId, place: number): WriteRequest {
  const single = draw.chance(75)
  const commands = Array.from({ length: single ? 1 : draw.int(1, 4) }, (_, i) =>
    randomCommand(draw, single ? '' : `/commands/${i}`, place * 10 + i),
  )
  const key = draw.pick([null, `own-${place}`, `own-${place}`, `shared-${draw.int(0, 3)}`])
  return {
    commands,
    single,
    caller: randomCaller(draw, tenant),
    key: key === null ? null : { key, fingerprint: JSON.stringify(commands.map(describe)) },
    requestId: `request-${place}`,
    now: new Date(Date.UTC(2026, 0, 1) + draw.int(0, 3)).toISOString(),
  }
}

/** A value for a column; a document in a patch is merged into what is there. */
function assigned(kind: Command['kind'], column: ShapeField, value: Value): Assignment {
  const isMerged = kind === 'patch' && column.kind === 'json' && typeof value === 'string' && value.startsWith('{')
  const patch: Expression = { op: 'bound', index: 0, kind: 'json' }
  const merged: Expression = { op: 'merged', of: column.read, patch }
  const change = { kind: 'compute', expression: merged, values: [value], shape: 'merge' } as const
  return { column, path: column.name, value, change: isMerged ? change : { kind: 'set' } }
}

/** What there is before: users and posts of theirs. */
function founding(tenant: TenantId): WriteRequest[] {
  const caller: Caller = { kind: 'service', tenant, scopes: new Set(), actor: 'test' }
  const put = (name: string, n: number, values: Record<string, Value>): WriteRequest => {
    const resource = view.resources.get(name)!
    const writable = [...resource.fields.values()].filter((field) => field.writable)
    const input = writable.map((field) => assigned('replace', field, values[field.name] ?? field.fallback ?? null))
    const condition: Condition = { kind: 'none' }
    const command: Command = { kind: 'replace', view: resource, id: idOf(n), input, condition, pointer: '' }
    const now = '2026-01-01T00:00:00.000Z'
    return { commands: [command], single: true, caller, key: null, requestId: `founding-${name}-${n}`, now }
  }
  return [0, 1, 2, 3].flatMap((n) => [
    put('users', n, { handle: `founder ${n}`, name: 'Founder' }),
    put('posts', n, { authorId: idOf(n), slug: `post ${n}`, title: 'A post' }),
  ])
}

const describe = ({ kind, id, input, condition }: Command) => [kind, id, input.map(({ value }) => value), condition]

function randomCaller(draw: Draw, tenant: TenantId): Caller {
  const base = { tenant, scopes: new Set(['read', 'write', ...draw.some(['editor'], 1)]), actor: 'test' }
  return draw.chance(70) ? { ...base, kind: 'service' } : { ...base, kind: 'user', subject: idOf(draw.int(0, 3)) }
}

const kinds = ['create', 'replace', 'patch', 'delete'] as const

function randomCommand(draw: Draw, pointer: string, fresh: number): Command {
  const kind = draw.pick(kinds)
  const name = draw.pick(['users', 'users', 'posts', 'posts', 'comments', 'tags', 'postTags'])
  const resource = view.resources.get(name)!
  const id = kind === 'create' ? idOf(0x1000 + fresh) : idOf(draw.int(0, 3))
  const writable = [...resource.fields.values()].filter((field) => field.writable)
  const fields = kind === 'delete' ? [] : kind === 'patch' ? draw.some(writable, 3) : writable
  const input = fields.map((field) => assigned(kind, field, randomInput(draw, field)))
  return { kind, view: resource, id, input, condition: randomCondition(draw, kind), pointer }
}

function randomCondition(draw: Draw, kind: Command['kind']): Condition {
  if (kind === 'create' || draw.chance(60)) return { kind: 'none' }
  if (kind === 'replace' && draw.chance(30)) return { kind: 'absent' }
  return draw.chance(20) ? { kind: 'present' } : { kind: 'versions', versions: draw.some([1, 2, 3, 4], 3) }
}

/** A value that fits, or for one time in ten one that the table refuses. */
function randomInput(draw: Draw, field: Field): Value {
  const isWrong = draw.chance(4)
  if (field.kind === 'id') return isWrong ? idOf(99) : idOf(draw.int(0, 3))
  if (field.nullable && draw.chance(30)) return null
  if (isWrong) return field.kind === 'enum' ? 'none of them' : null
  if (field.kind === 'enum') return draw.pick(field.values)
  if (field.kind === 'integer') return draw.int(0, 1_000)
  if (field.kind === 'json') return draw.pick(['{"a":1}', '{"b":null}', '{"a":{"c":[]}}'])
  return `${field.name} ${draw.int(0, 5)}`
}

/** What the caller is told, as it is told. */
async function outcomeOf(request: WriteRequest, { node }: Given): Promise<unknown> {
  try {
    return await commit(planWrite(request), node.primary)
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return { problem: error.code, ...error.details }
  }
}

/** Everything that a database holds of a tenant, and what a write must not leave behind. */
function contentsOf({ file }: Given, tenant: string): Record<string, unknown[]> {
  using database = new Database(file, { readonly: true })
  const own = ['changes', 'heads', 'idempotency', ...model.resources.keys()].map((table) => {
    return [table, database.query(`select * from "${table}" where tenant = ?`).values(tenant)]
  })
  const shared = ['context', 'batchResults', 'fanout'].map((table) => {
    return [table, database.query(`select * from "${table}"`).values()]
  })
  return Object.fromEntries([...own, ...shared])
}

test('writes that share a transaction end as they would alone, whatever happens to their neighbours', async () => {
  let runs = 0
  const kindsOfEnd = new Set<string>()
  await withRandomChoices(
    async (draw) => {
      const tenant = `tenant${runs++}` as TenantId
      const before = together.map(({ node }) => node.primary.stats())
      const requests = Array.from({ length: draw.int(2, 40) }, (_, i) => randomRequest(draw, tenant, i))
      // Retries of everything, some while the first attempts wait, the others after them.
      const bursts = [founding(tenant), [...requests, ...draw.some(requests, 10)], draw.some(requests, 40)]
      for (const burst of bursts) {
        const single: unknown[] = []
        for (const request of burst) single.push(await outcomeOf(request, alone))
        for (const each of together) {
          const shared = await Promise.all(burst.map((request) => outcomeOf(request, each)))
          expect([each.name, shared]).toEqual([each.name, single])
        }
        for (const each of single as { problem?: string; replayed?: boolean; status?: number }[])
          kindsOfEnd.add(each.problem ?? (each.replayed ? 'replayed' : String(each.status)))
      }
      for (const [i, each] of together.entries()) {
        const { groups, batches } = each.node.primary.stats()
        expect(groups - (before[i]?.groups ?? 0)).toBeLessThanOrEqual(2 * bursts.length)
        expect(batches - (before[i]?.batches ?? 0)).toBe(bursts.flat().length)
        expect([each.name, contentsOf(each, tenant)]).toEqual([each.name, contentsOf(alone, tenant)])
      }
    },
    { runs: 20 },
  )
  for (const { file } of together) expect(complaintsAbout(file, model)).toEqual([])
  // The writes were of every kind that there is.
  for (const end of ['200', '201', '204', 'replayed', 'already-exists', 'still-referenced', 'precondition-failed'])
    expect(kindsOfEnd).toContain(end)
  for (const end of ['not-found', 'forbidden', 'invalid-value', 'idempotency-key-reused'])
    expect(kindsOfEnd).toContain(end)
})
