import { describe, expect, test } from 'bun:test'
import { integer, primaryKey, type SQLiteColumnBuilderBase, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { ModelError } from '../../src/schema/check.ts'
import {
  add,
  anyone,
  atFirstSpace,
  buildModel,
  hoist,
  identity,
  join,
  mapValues,
  rename,
  resource,
  split,
  version,
  wrap,
} from '../../src/schema/index.ts'
import type { Lens } from '../../src/schema/lens.ts'

/** A model of one table at its second version, and at a third where there are lenses for it. */
function modelWith(
  columns: Record<string, SQLiteColumnBuilderBase>,
  second: readonly Lens[],
  third: readonly Lens[] = [],
) {
  const people = sqliteTable('people', { ...identity, ...columns }, (t) => [primaryKey({ columns: [t.tenant, t.id] })])
  return buildModel({
    title: 'Retiring',
    resources: [resource('people', people, { description: 'Some.', access: { read: anyone, write: anyone } })],
    versions: [
      version('2026-01-01', { alias: 'v1', notes: '' }),
      version('2026-02-01', { alias: 'v2', notes: '' }, { people: second }),
      version('2026-03-01', { alias: 'v3', notes: '' }, { people: third }),
    ],
    defaultVersion: '2026-01-01',
  })
}

function peopleOf(model: ReturnType<typeof modelWith>) {
  const people = model.resources.get('people')
  if (!people) throw new Error('there are people')
  return people
}

const must = () => text().notNull()
const filled = () => text().notNull().default('')

describe('a column that a lens takes away and the table has', () => {
  test('is no field of any version but those before, and what takes its place is asked for where it was', () => {
    const model = modelWith({ name: must(), given: filled(), family: text() }, [
      split('name', ['given', 'family'], atFirstSpace),
    ])
    const names = model.versions.map(({ shapes }) => [...(shapes.get('people')?.fields.keys() ?? [])].slice(4))
    expect(names).toEqual([['name'], ['given', 'family'], ['given', 'family']])
    const { fields, retiring, retirements } = peopleOf(model)
    expect([fields.get('given')?.fallback, fields.get('family')?.fallback]).toEqual([undefined, null])
    expect([...retiring.keys()]).toEqual(['name'])
    expect(retirements.map(({ leaving, heirs }) => [leaving.length, heirs.map(({ fresh }) => fresh)])).toEqual([
      [1, ['', null]],
    ])
  })

  test('stays so at later versions, until it goes', () => {
    const columns = { body: filled(), content: filled(), mood: text() }
    const model = modelWith(columns, [rename('content', 'body')], [addMood])
    expect([...peopleOf(model).retiring.keys()]).toEqual(['content'])
  })

  test('is a field where a later version has it anew', () => {
    const model = modelWith({ a: text(), b: text() }, [rename('a', 'b')], [add('a', { fresh: null })])
    expect([[...peopleOf(model).retiring.keys()], peopleOf(model).fields.has('a')]).toEqual([[], true])
  })
})

const addMood = add('mood', { fresh: null })
const json = () => text({ mode: 'json' })

describe('a column cannot retire', () => {
  test.each<[string, Record<string, SQLiteColumnBuilderBase>, readonly Lens[], readonly Lens[], string]>([
    [
      'into a list',
      { tag: text(), tags: json() },
      [wrap('tag', 'tags', { kind: 'text' })],
      [],
      '"tag" is still a column, and "tags", which is made of more, cannot keep it true; drop it, or rename, split or join it.',
    ],
    [
      'without the other that goes with it',
      { given: must(), name: filled() },
      [join(['given', 'family'], 'name', atFirstSpace)],
      [],
      '"given" is still a column and "family", which goes with it, is not; keep both until both go.',
    ],
    [
      'as an object of fields',
      { profile: json(), homepage: text() },
      [hoist('profile', ['homepage'])],
      [],
      '"profile" is still a column, but the version before shows no such field; drop it.',
    ],
    [
      'as another kind than it was',
      { minutes: integer(), seconds: text() },
      [rename('minutes', 'seconds')],
      [],
      '"minutes" is still a column of integer, and the version before shows text.',
    ],
    [
      'where what takes its place may be null',
      { content: must(), body: text() },
      [rename('content', 'body')],
      [],
      '"content" is never null, and "body", which it is kept true with, may be.',
    ],
    [
      'where it may be null and what takes its place may not',
      { content: text(), body: filled() },
      [rename('content', 'body')],
      [],
      '"body" is never null, and "content", which it is kept true with, may be.',
    ],
    [
      'where a new default looks like another value',
      {
        state: text({ enum: ['on', 'off'] }).notNull(),
        mode: text({ enum: ['on', 'off', 'idle'] })
          .notNull()
          .default('idle'),
      },
      [rename('state', 'mode'), mapValues('mode', {}, { back: { idle: 'off' } })],
      [],
      '"mode" has the default "idle", which the version before shows as "off"; while "state" is still a column, it needs a default that comes back as itself.',
    ],
    [
      'into what another retires into',
      { a: text(), b: text(), c: text() },
      [rename('a', 'b')],
      [rename('b', 'c')],
      '"a" and another column retire into one; drop the older first.',
    ],
  ])('%s', (_, columns, second, third, sentence) => {
    const mistakes = (() => {
      try {
        modelWith(columns, second, third)
        return []
      } catch (error) {
        if (error instanceof ModelError) return error.mistakes
        throw error
      }
    })()
    expect(mistakes.map((each) => each.replace(/^people at 2026-0[23]-01: /, ''))).toContain(sentence)
  })
})
