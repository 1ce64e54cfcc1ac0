import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { CallerSpec } from '../support/oracle.ts'
import { type Draw, ids, textItems, textResource, withRandomChoices } from '../support/random-model.ts'
import { listSearch, randomList, randomSelection, selectionSearch } from '../support/random-query.ts'
import { inRandomWorld, inWorld, type World } from '../support/random-world.ts'
import { hostileTexts } from '../support/texts.ts'
import { refusedStatus, walk } from '../support/walk.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const worlds = 40
const listsPerWorld = 25
const recordsPerWorld = 15

const inWorlds = (check: (world: World, draw: Draw) => Promise<void>) =>
  withRandomChoices((draw) => inRandomWorld(draw, (world) => check(world, draw)), { runs: worlds })

describe('a read of a random model', () => {
  test('answers every list as the arrays say, walked forwards and backwards', async () => {
    await inWorlds(async (world, draw) => {
      for (let i = 0; i < listsPerWorld; i++) {
        const list = randomList(draw, world.spec, world.items)
        const caller = draw.pick(world.callers)
        await walk(world, list, caller, `/${list.resource.name}${listSearch(list, draw)}`)
      }
    })
  })

  test('answers every record as the arrays say, with whatever is chosen of it', async () => {
    await inWorlds(async (world, draw) => {
      for (let i = 0; i < recordsPerWorld; i++) {
        const resource = draw.pick(world.spec.resources)
        const caller = draw.pick(world.callers)
        const [id, selection] = [draw.pick(ids), randomSelection(draw, world.spec, resource)]
        const path = `/${resource.name}/${id}${selectionSearch(selection)}`
        const answer = await world.get(caller, path)
        const expected = world.oracle.record(resource, id, selection, caller)
        if (!world.oracle.mayEverRead(resource, caller)) expect(answer.status).toBe(refusedStatus(caller))
        else if (expected === null) expect([path, answer.status]).toEqual([path, 404])
        else expect([path, answer.status, answer.body]).toEqual([path, 200, expected])
      }
    })
  })
})

describe('a text in a filter', () => {
  const anonymous: CallerSpec = { kind: 'anonymous', tenant: 'demo', scopes: [], subject: null }
  const operators = ['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'contains', 'prefix'] as const

  test('finds what the arrays say and leaves the SQL as it is, however hostile it is', async () => {
    const { resource, field } = textResource()
    const items = new Map([[resource.name, textItems(hostileTexts)]])
    await inWorld({ resources: [resource] }, items, [anonymous], async (world) => {
      const statements = new Set<string>()
      const sort = [{ field: 'f', descending: false }]
      for (const operator of operators) {
        for (const text of hostileTexts.filter((each) => each !== '' || !['contains', 'prefix'].includes(operator))) {
          const filter = { field, operator, value: operator === 'in' ? text.split(',') : text }
          const term = `f[${operator}]=${encodeURIComponent(text)}`
          const { status, body } = await world.get(anonymous, `/${resource.name}?limit=100&sort=f&fields=id,f&${term}`)
          const selection = { fields: ['id', 'f'], includes: [] }
          const expected = world.oracle.list(resource, [filter], sort, selection, anonymous)
          expect([term, status, body.data]).toEqual([term, 200, expected])
          statements.add(world.statements.at(-1) ?? '')
        }
      }
      expect(statements.size).toBe(operators.length)
    })
  })

  test.each([
    ['f)=1', 'unknown-field'],
    ['f or 1=1', 'unknown-field'],
    ["f' --=1", 'unknown-field'],
    ['f->>$.a=1', 'unknown-field'],
    ['tenant=other', 'unknown-field'],
    ['f[eq)]=1', 'invalid-parameter'],
    ['f[like]=%', 'invalid-parameter'],
    ['f[glob]=*', 'invalid-parameter'],
    ['f[]=1', 'invalid-parameter'],
    ['f[eq collate nocase]=a', 'invalid-parameter'],
    ['f[eq][ne]=a', 'unknown-field'],
    ['f[__proto__]=a', 'invalid-parameter'],
    ['__proto__=a', 'unknown-field'],
    ['constructor[eq]=a', 'unknown-field'],
    ['sort=f collate nocase', 'unknown-field'],
    ['sort=f;drop table users', 'unknown-field'],
    ['sort=(select 1)', 'unknown-field'],
    ['sort=toString', 'unknown-field'],
    ['sort=--f', 'unknown-field'],
    ['fields=id,(select hash from keys)', 'unknown-field'],
    ['fields=*', 'unknown-field'],
    ['fields=tenant', 'unknown-field'],
    ['include=valueOf', 'unknown-field'],
    ['limit=1 union select 1', 'invalid-parameter'],
    ['limit=1e9', 'invalid-parameter'],
    ['limit=-1', 'invalid-parameter'],
    ['count=(select 1)', 'invalid-parameter'],
    ['offset=10', 'unknown-field'],
  ])('as a name is no more than a name: ?%s is refused as %s before any statement runs', async (search, problem) => {
    const { resource } = textResource()
    await inWorld({ resources: [resource] }, new Map(), [anonymous], async (world) => {
      const [name = '', ...value] = search.split('=')
      const path = `/${resource.name}?${encodeURIComponent(name)}=${encodeURIComponent(value.join('='))}`
      const { status, body } = await world.get(anonymous, path)
      expect([body.type, status >= 400 && status < 500]).toEqual([`/problems/${problem}`, true])
      const touching = world.statements.filter((sql) => sql.includes(resource.name))
      expect(touching).toEqual([])
    })
  })
})
