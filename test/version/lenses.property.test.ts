import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { isSame } from '../../src/schema/evaluate.ts'
import { type Expression, leavesOf } from '../../src/schema/expression.ts'
import { toJson } from '../../src/schema/field.ts'
import type { ShapeField } from '../../src/schema/shape.ts'
import type { Json } from '../../src/value.ts'
import type { ResourceView, View } from '../../src/version/view.ts'
import { differences, type Members, pathsOf, randomBody, writableOf } from '../support/random-body.ts'
import { randomVersions } from '../support/random-lenses.ts'
import { type Draw, declare, randomModel, withRandomChoices } from '../support/random-model.ts'
import { listSearch, randomList } from '../support/random-query.ts'
import {
  inVersionWorld,
  type Row,
  service,
  shownAt,
  type VersionAnswer,
  type VersionWorld,
} from '../support/version-world.ts'
import { walk } from '../support/walk.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const inWorlds = (runs: number, check: (world: VersionWorld, draw: Draw) => Promise<void>, lossless = false) =>
  withRandomChoices((draw) => inVersionWorld(draw, { lossless }, (world) => check(world, draw)), { runs })

/** Every resource of every version, with the path of its list. */
function* placesOf({ views }: VersionWorld): Generator<{ view: View; resource: ResourceView; path: string }> {
  for (const view of views)
    for (const resource of view.resources.values())
      yield { view, resource, path: `/${view.version.alias}/${resource.name}` }
}

test('random histories have lenses of every kind', async () => {
  const wanted = [
    ...['add', 'changeDefault', 'changeLimit', 'convert', 'hoist', 'join', 'mapValues', 'plunge', 'remove', 'rename'],
    ...['renameResource', 'split', 'wrap'],
  ]
  const kinds = new Set<string>()
  await withRandomChoices(
    async (draw) => {
      if (kinds.size === wanted.length) return
      const { resources } = declare(randomModel(draw)).model
      const versions = randomVersions(draw, resources, { lossless: false })
      for (const { lenses } of versions) for (const { kind } of Object.values(lenses).flat()) kinds.add(kind)
    },
    { runs: 1_000 },
  )
  expect([...kinds].toSorted()).toEqual(wanted)
})

describe('at every version of a random history', () => {
  test('a record is what the lenses make of its row, and what the schema of the version takes', async () => {
    await inWorlds(6, async (world) => {
      for (const { view, resource, path } of placesOf(world)) {
        const { items } = world.at(view)
        const shown = (items.get(resource.name) ?? []).filter(({ tenant }) => tenant === service.tenant)
        const limit = Math.min(100, resource.pageRowsMax)
        const { status, body } = await world.call('GET', `${path}?limit=${limit}&sort=id`)
        const expected = shown.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map((item) => fieldsOf(resource, item))
        expect([path, status, body.data]).toEqual([path, 200, expected])
        for (const record of body.data) {
          expect([path, strangeValues(resource.fields.values(), record)]).toEqual([path, []])
          const one = await world.call('GET', `${path}/${record.id}`)
          expect([path, one.body]).toEqual([path, record])
        }
        const history = await world.call('GET', `${path}/${body.data[0].id}/history`)
        expect([path, history.body.data[0].record]).toEqual([path, body.data[0]])
      }
    })
  })

  test('lists answer as the arrays of that version say, walked forwards and backwards', async () => {
    await inWorlds(6, async (world, draw) => {
      for (const view of world.views) {
        const here = world.at(view)
        for (let i = 0; i < 8; i++) {
          const list = randomList(draw, here.spec, here.items)
          await walk(here, list, service, `/${view.version.alias}/${list.resource.name}${listSearch(list, draw)}`)
        }
      }
    })
  })

  test('what cannot be filtered or sorted by is refused by its name, and what is as the tables have it can be', async () => {
    await inWorlds(4, async (world) => {
      for (const { view, resource, path } of placesOf(world)) {
        const { spec } = world.at(view)
        for (const field of spec.resources.find(({ name }) => name === resource.name)?.fields ?? []) {
          const { name, filterable, sortable, isMapped } = field
          const { read } = resource.fields.get(name)!
          const column = read.op === 'column' ? read.name : ''
          expect([path, name, filterable]).toEqual([path, name, filterable || resource.resource.filterable.has(column)])
          expect([path, name, sortable]).toEqual([path, name, sortable || resource.resource.sortable.has(column)])
          const refusals = [
            ...(filterable ? [] : [[`${name}[null]=true`, `${name}[null]`, 'not-filterable']]),
            ...(filterable && isMapped ? [[`${name}[gt]=x`, `${name}[gt]`, 'not-ordered']] : []),
            ...(sortable ? [] : [[`sort=${name}`, 'sort', 'not-sortable']]),
          ]
          for (const [search, parameter, code] of refusals) {
            const { status, body } = await world.call('GET', `${path}?${search}`)
            const [fault] = body.errors ?? []
            expect([path, search, status < 500, fault]).toMatchObject([path, search, true, { parameter, code }])
            expect(fault.message).toContain(`"${name}"`)
          }
        }
      }
    })
  })
})

describe('a write at any version of a random history', () => {
  test('of a record as it was read changes nothing in its row, whatever the version does not show', async () => {
    await inWorlds(6, async (world, draw) => {
      for (const { resource, path } of placesOf(world)) {
        const record = await anyRecord(world, draw, resource, path)
        const { id } = record as { id: string }
        const before = world.row(resource.resource.name, id)
        const whole = writableOf(resource.fields.values(), record)
        const replaced = await world.call('PUT', `${path}/${id}`, whole)
        if (!isDone([path, whole], replaced)) continue
        expect([path, whole, changesOf(world, resource, id, before)]).toEqual([path, whole, []])
        // A null in a patch would take the member away.
        const some = Object.fromEntries(
          draw.some(Object.entries(whole), 9).filter(([, value]) => !hasNullInside(value)),
        )
        expect([path, some, (await world.call('PATCH', `${path}/${id}`, some)).status]).toEqual([path, some, 200])
        expect([path, some, changesOf(world, resource, id, before)]).toEqual([path, some, []])
      }
    })
  })

  test('is read as it was put, where no lens says that something is lost', async () => {
    await inWorlds(
      6,
      async (world, draw) => {
        for (const { view, resource, path } of placesOf(world)) {
          const fields = [...resource.fields.values()]
          const body = randomBody(draw, fields, { share: null })
          const made = await world.call('POST', path, body)
          if (!isDone([path, body], made)) continue
          expect([path, body, lostOf(fields, body, made.body)]).toEqual([path, body, []])
          await expectShown(world, draw, resource, made.body)
          const other = await anyRecord(world, draw, resource, path)
          const before = world.row(resource.resource.name, String(other.id))
          const next = randomBody(draw, fields, { share: null })
          const put = await world.call('PUT', `${path}/${other.id}`, next)
          if (!isDone([path, next], put)) continue
          expect([path, next, lostOf(fields, next, put.body)]).toEqual([path, next, []])
          // What the version does not have stays as it was.
          const unseen = resource.puts.filter(({ given }) => given.length === 0).map(({ column }) => column.name)
          expect([
            path,
            changesOf(world, resource, String(other.id), before).filter(([name]) => unseen.includes(name)),
          ]).toEqual([path, []])
          await expectShown(world, draw, view.resources.get(resource.name)!, put.body)
        }
      },
      true,
    )
  })

  test('by a merge patch touches only what it names', async () => {
    await inWorlds(6, async (world, draw) => {
      for (const { resource, path } of placesOf(world)) {
        const record = await anyRecord(world, draw, resource, path)
        const id = String(record.id)
        const before = world.row(resource.resource.name, id)
        const fields = [...resource.fields.values()]
        const body = randomBody(draw, fields, { share: 25 })
        const patched = await world.call('PATCH', `${path}/${id}`, body)
        if (!isDone([path, body], patched)) continue
        const named = pathsOf(fields, body)
        const kept = writableOf(fields, record)
        for (const name of Object.keys(body)) delete kept[name]
        const touched = lostOf(
          fields.filter(({ name }) => Object.hasOwn(kept, name)),
          kept,
          patched.body,
        )
        expect([path, record, body, touched]).toEqual([path, record, body, []])
        const mayChange = resource.puts.filter(({ given }) => given.some((each) => named.includes(each)))
        const columns = ['version', 'updatedAt', ...mayChange.map(({ column }) => column.name)]
        const changed = changesOf(world, resource, id, before).filter(([name]) => !columns.includes(name))
        expect([path, body, changed]).toEqual([path, body, []])
        await expectShown(world, draw, resource, patched.body)
      }
    })
  })

  test('that is wrong is told so of fields that its caller sent', async () => {
    let refused = 0
    await inWorlds(6, async (world, draw) => {
      for (const { resource, path } of placesOf(world)) {
        const fields = [...resource.fields.values()]
        for (const method of ['POST', 'PATCH'] as const) {
          const record = await anyRecord(world, draw, resource, path)
          const body = spoilt(draw, randomBody(draw, fields, { share: method === 'POST' ? null : 60 }))
          const place = method === 'POST' ? path : `${path}/${record.id}`
          const { status, body: answer } = await world.call(method, place, body)
          if (status < 300) continue
          refused++
          expect([place, body, status]).toEqual([place, body, 422])
          expect(answer.errors.length).toBeGreaterThan(0)
          for (const { pointer, code, message } of answer.errors)
            expect([place, body, pointer, message, isSent(body, pointer, code)]).toEqual([
              place,
              body,
              pointer,
              message,
              true,
            ])
        }
      }
    })
    expect(refused).toBeGreaterThan(20)
  })
})

/**
 * Whether a write was done. It is not where a newer version has a rule for a text that the older one has none for, which
 * then is told of the field that it sent.
 */
function isDone(what: unknown, { status, body }: VersionAnswer): boolean {
  const isRuled = body?.errors?.every(({ code }: { code: string }) => ['invalid_format', 'too_big'].includes(code))
  expect([what, status < 300 || isRuled ? 'done' : body]).toEqual([what, 'done'])
  return status < 300
}

async function anyRecord(
  world: VersionWorld,
  draw: Draw,
  { pageRowsMax }: ResourceView,
  path: string,
): Promise<Members> {
  const { body } = await world.call('GET', `${path}?limit=${Math.min(20, pageRowsMax)}`)
  return draw.pick(body.data as Members[])
}

/** What of a row is no longer as it was, but for what every write moves. */
function changesOf(world: VersionWorld, { resource }: ResourceView, id: string, before: Row | null) {
  const after = world.row(resource.name, id)
  return (differences(before ?? {}, after ?? {}) as [string, ...unknown[]][]).filter(
    ([name]) => name !== 'version' && name !== 'updatedAt',
  )
}

/** The record is what the lenses make of its row, at the version that wrote it and at another. */
async function expectShown(world: VersionWorld, draw: Draw, resource: ResourceView, record: Members) {
  const name = resource.resource.name
  const row = world.row(name, String(record.id))!
  expect(record).toEqual(shownAt(resource, row))
  const other = draw.pick(world.views)
  const there = [...other.resources.values()].find((each) => each.resource.name === name)!
  const { body } = await world.call('GET', `/${other.version.alias}/${there.name}/${record.id}`)
  expect(body).toEqual(shownAt(there, row))
}

/** The fields that are not read as they were sent, or where nothing was sent, as their version says they are then. */
function lostOf(fields: Iterable<ShapeField>, sent: Members, shown: Members): unknown[] {
  return [...fields].flatMap((field): unknown[] => {
    if (!field.writable) return []
    const { name, read, members, fallback } = field
    if (members) return lostOf(members, (sent[name] ?? {}) as Members, shown[name] as Members)
    const wanted = sent[name] === undefined ? toJson(field, fallback ?? null) : sent[name]
    const found = shown[name] ?? null
    if (isSame(wanted, found)) return []
    return standsFor(read, wanted, found) ? [] : [[name, wanted, found]]
  })
}

/** What stands in for a field that is gone; an empty text or document for none, beside what makes it whole. */
function standsFor(read: Expression, wanted: Json, found: Json): boolean {
  if (leavesOf(read).some((leaf) => leaf.op === 'literal')) return true
  const text = JSON.stringify(read)
  if (text.includes('"joined"') && text.includes('"before"')) return true
  if (wanted !== null) return false
  return (
    (text.includes('"without"') && isSame(found, {})) || (text.includes('"before"') && (found === '' || found === '@'))
  )
}

function hasNullInside(value: Json): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).some((each) => each === null || hasNullInside(each))
}

function fieldsOf({ fields }: ResourceView, item: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries([...fields.keys()].map((name) => [name, item[name]]))
}

/** The values of a record that are none of their fields. */
function strangeValues(fields: Iterable<ShapeField>, record: Readonly<Record<string, Json>>): unknown[] {
  return [...fields].flatMap((field) => {
    const value = record[field.name]
    if (field.members) return strangeValues(field.members, value as Record<string, Json>)
    const isTaken = value === null ? field.nullable : field.schema.safeParse(value).success
    return isTaken ? [] : [{ name: field.name, kind: field.kind, value }]
  })
}
void isSame
void shownAt

/** A body with something wrong in it, most of the time. */
function spoilt(draw: Draw, body: Members): Members {
  const names = Object.keys(body)
  const wrong: Json[] = [[], {}, 7.5, -1, true, null, 'none', 'x'.repeat(40_000)]
  const changed = draw.some(names, 2).map((name) => [name, draw.pick(wrong)] as const)
  const unknown = draw.chance(30) ? { [draw.pick(['f0', 'f1', 'ref0', 'ghost', 'a/b'])]: 1 } : {}
  const without = draw.chance(30) ? names.slice(1) : names
  return {
    ...Object.fromEntries(without.map((name) => [name, body[name] as Json])),
    ...unknown,
    ...Object.fromEntries(changed),
  }
}

/** Whether a pointer (RFC 6901) leads to something in the body, or for what is missing, to its place in an object there. */
function isSent(body: Json, pointer: string, code: string): boolean {
  const parts = pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  const last = code === 'required' ? parts.pop() : undefined
  let at: Json | undefined = body
  for (const part of parts) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return false
    at = (at as Members)[part]
  }
  return last === undefined || (typeof at === 'object' && at !== null && !Object.hasOwn(at, last))
}
