import { describe, expect, test } from 'bun:test'
import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { z } from 'zod'
import {
  add,
  anyone,
  atFirst,
  atFirstSpace,
  buildModel,
  changeDefault,
  changeLimit,
  convert,
  hoist,
  identity,
  join,
  mapValues,
  match,
  over,
  plunge,
  prefixed,
  remove,
  rename,
  renameResource,
  resource,
  rounded,
  split,
  times,
  unprefixed,
  value,
  version,
  wrap,
} from '../../src/schema/index.ts'
import { changesAt } from '../../src/version/changelog.ts'

const films = sqliteTable(
  'films',
  {
    ...identity,
    label: text({ length: 200 }).notNull(),
    given: text(),
    family: text(),
    name: text(),
    homepage: text(),
    phone: text(),
    note: text(),
    state: text({ enum: ['shown', 'draft', 'kept'] })
      .notNull()
      .default('draft'),
    seconds: integer().notNull(),
    code: text().notNull(),
    stars: integer(),
    isLoud: integer({ mode: 'boolean' }).notNull().default(true),
    cast: text({ mode: 'json' }),
    meta: text({ mode: 'json' }),
    score: integer().notNull().default(0),
  },
  (t) => [primaryKey({ columns: [t.tenant, t.id] })],
)

/** Each lens, and what is said of it. They are applied together, so that none may undo another. */
const lenses = [
  [renameResource('movies'), '`movies` are now `films`, also in paths: `/films`.'],
  [rename('title', 'label'), '`title` of movies is now `label` of films.'],
  [add('score', { fresh: 7 }), '`score` of films is new. Older versions create records with `7` in it.'],
  [
    remove('hue', { kind: 'text' }, { stands: 'grey' }),
    '`hue` of movies is gone. Older versions read `"grey"` in it, whatever they send.',
  ],
  [
    mapValues('state', { live: 'shown' }, { back: { kept: 'draft' } }),
    'In `state` of films, `"live"` is now `"shown"`. Older versions see `"kept"` as `"draft"`.',
  ],
  [
    changeDefault('state', { from: 'shown' }),
    'Where nothing is sent for `state` of films, it is no longer `"shown"`, but `"draft"`.',
  ],
  [
    changeDefault('isLoud', { from: false }),
    'Where nothing is sent for `isLoud` of films, it is no longer `false`, but `true`.',
  ],
  [
    convert(
      'seconds',
      { kind: 'integer' },
      {
        ...{ toOld: rounded(over(value, 60)), toNew: times(value, 60) },
        loses: 'Seconds are rounded to minutes.',
      },
    ),
    '`seconds` of films is told in another way: what older versions have becomes `seconds * 60`, and they are shown `rounded(seconds / 60)`. Seconds are rounded to minutes.',
  ],
  [
    convert(
      'code',
      { kind: 'text' },
      { toOld: prefixed(value, 'F-'), toNew: unprefixed(value, 'F-'), loses: 'All begin with F-.' },
    ),
    '`code` of films is told in another way: what older versions have becomes `code without "F-" before it`, and they are shown `"F-" before code`. All begin with F-.',
  ],
  [
    convert(
      'stars',
      { kind: 'text' },
      {
        ...{
          toOld: match(
            value,
            [
              [1, 'one'],
              [2, 'two'],
            ],
            'many',
          ),
          toNew: match(
            value,
            [
              ['one', 1],
              ['two', 2],
            ],
            3,
          ),
        },
        loses: 'More than two are many.',
      },
    ),
    '`stars` of films is told in another way: what older versions have becomes `1 for "one", 2 for "two", else 3`, and they are shown `"one" for 1, "two" for 2, else "many"`. More than two are many.',
  ],
  [
    split('director', ['given', 'family'], atFirstSpace),
    '`director` of movies is now `given` and `family`, divided at the first space.',
  ],
  [
    join(['first', 'rest'], 'name', atFirst(',')),
    '`first` and `rest` of movies are now `name`, with a `","` between them.',
  ],
  [
    hoist('contact', ['homepage', 'phone']),
    '`homepage` and `phone` of films are no longer in `contact`, but beside the other fields.',
  ],
  [plunge('mood', 'meta', { kind: 'text' }), '`mood` of movies is now in `meta`.'],
  [
    wrap('lead', 'cast', { kind: 'text' }),
    '`lead` of movies is now a list, `cast`. Older versions see and change its first.',
  ],
  [
    changeLimit('label', { from: 80 }),
    '`label` of films may be longer than 80 characters. Older versions see the first 80.',
  ],
  [changeLimit('pageRowsMax', { from: 50 }), 'A page of films has up to 100 records; in older versions up to 50.'],
] as const

describe('the changelog', () => {
  const model = buildModel({
    title: 'Cinema',
    resources: [
      resource('films', films, {
        description: 'Films.',
        validate: { meta: z.record(z.string(), z.unknown()) },
        access: { read: anyone, write: anyone },
      }),
    ],
    versions: [
      version('2026-01-01', { alias: 'v1', notes: 'First.' }),
      version('2026-02-01', { alias: 'v2', notes: 'Second.' }, { films: lenses.map(([lens]) => lens) }),
      version('2026-03-01', { alias: 'v3', notes: 'Third.' }, { films: [rename('remark', 'note')] }),
    ],
    defaultVersion: '2026-03-01',
  })
  const changes = changesAt(model, '2026-02-01')

  test.each(lenses.map(([lens, sentence], i) => [lens.kind, sentence, i] as const))(
    'says of %s: %s',
    (kind, text, i) => {
      expect(changes[i]).toEqual({ resource: 'films', kind, text })
    },
  )

  test('has one sentence for each lens, and none at the first version', () => {
    expect(changes.length).toBe(lenses.length)
    expect(changesAt(model, '2026-01-01')).toEqual([])
    expect(changesAt(model, '2026-03-01')).toEqual([
      { resource: 'films', kind: 'rename', text: '`remark` of films is now `note`.' },
    ])
  })
})
