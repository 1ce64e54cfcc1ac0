import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import { foreignKey, index, integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { z } from 'zod'
import { ModelError } from '../../src/schema/check.ts'
import type { Expression } from '../../src/schema/expression.ts'
import {
  add,
  anyone,
  atFirst,
  atFirstSpace,
  belongsTo,
  buildModel,
  changeDefault,
  changeLimit,
  convert,
  copy,
  hasMany,
  hoist,
  identity,
  instant,
  join,
  lower,
  mapValues,
  match,
  orElse,
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
  upper,
  value,
  version,
  wrap,
} from '../../src/schema/index.ts'
import type { Lens, VersionDeclaration } from '../../src/schema/lens.ts'

const users = sqliteTable('users', { ...identity, name: text().notNull() }, (t) => [
  primaryKey({ columns: [t.tenant, t.id] }),
])
const posts = sqliteTable(
  'posts',
  {
    ...identity,
    authorId: text().notNull(),
    authorName: text().notNull().default(''),
    title: text({ length: 100 }).notNull(),
    subtitle: text(),
    status: text({ enum: ['draft', 'published', 'archived'] })
      .notNull()
      .default('draft'),
    words: integer().notNull().default(0),
    rating: real(),
    isOpen: integer({ mode: 'boolean' }).notNull().default(true),
    at: instant(),
    meta: text({ mode: 'json' }),
    strict: text({ mode: 'json' }),
    list: text({ mode: 'json' }),
    free: text({ mode: 'json' }),
  },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.authorId], foreignColumns: [users.tenant, users.id] }),
    index('posts_by_author').on(t.tenant, t.authorId, t.id),
    index('posts_by_words').on(t.tenant, t.words, t.id),
  ],
)

const open = { description: 'Some.', access: { read: anyone, write: anyone } }
const Users = resource('users', users, { ...open, relations: { posts: hasMany(() => posts, 'authorId') } })
const Posts = resource('posts', posts, {
  ...open,
  relations: { author: belongsTo(() => users, 'authorId') },
  derived: { authorName: copy('author', 'name') },
  filter: ['words'],
  validate: {
    meta: z.record(z.string(), z.unknown()),
    strict: z.object({ language: z.string().max(2).optional() }),
    list: z.array(z.string()),
  },
})

const v1 = version('2026-01-01', { alias: 'v1', notes: 'Old.' })

interface Told {
  readonly versions: readonly VersionDeclaration[]
  readonly defaultVersion?: string
}

function mistakesOf({ versions, defaultVersion = versions.at(-1)?.date ?? '' }: Told): readonly string[] {
  try {
    buildModel({ title: 'Blog', resources: [Users, Posts], versions, defaultVersion })
    return []
  } catch (error) {
    if (error instanceof ModelError) return error.mistakes
    throw error
  }
}

/** Lenses of posts at the second version, as they are declared. */
const lensesOf = (...lenses: readonly Lens[]): Told => ({
  versions: [v1, version('2026-02-01', { alias: 'v2', notes: 'New.' }, { posts: lenses })],
})

const at = 'posts at 2026-02-01'
const long = 'y'.repeat(200)
const fields =
  'id, version, createdAt, updatedAt, authorId, authorName, title, subtitle, status, words, rating, isOpen, at, meta, strict, list, free'
const nameForm = 'letters and digits beginning with a small letter'
const minutes = { kind: 'integer' } as const
const toOldText = { toOld: value, toNew: value }

const tenant: Expression = { op: 'column', name: 'tenant', kind: 'text' }

/** What is declared wrongly, by the lenses that do so, the last of which is the one that is refused. */
const lenses: [what: string, lenses: readonly Lens[], sentence: string][] = [
  [
    'rename of an unknown field',
    [rename('body', 'text')],
    `${at}, rename("body", "text"): there is no field "text" in the version that it leads to; there are ${fields}.`,
  ],
  [
    'add of an unknown field',
    [add('ghost', { fresh: 1 })],
    `${at}, add("ghost"): there is no field "ghost" in the version that it leads to; there are ${fields}.`,
  ],
  [
    'rename of what is the same for ever',
    [rename('key', 'id')],
    `${at}, rename("key", "id"): "id" is the same in every version.`,
  ],
  [
    'rename to a name that is taken',
    [rename('createdAt', 'title')],
    `${at}, rename("createdAt", "title"): there is a "createdAt" already.`,
  ],
  [
    'rename to the name of a relation',
    [rename('author', 'title')],
    `${at}, rename("author", "title"): there is a "author" already.`,
  ],
  [
    'rename of a relation to the name of a field',
    [rename('createdAt', 'author')],
    `${at}, rename("createdAt", "author"): there is a "createdAt" already.`,
  ],
  [
    'a name with a dash',
    [rename('a-b', 'title')],
    `${at}, rename("a-b", "title"): "a-b" is no name; ${nameForm}, and none that queries use.`,
  ],
  [
    'a name that queries use',
    [rename('limit', 'title')],
    `${at}, rename("limit", "title"): "limit" is no name; ${nameForm}, and none that queries use.`,
  ],
  [
    'a name that every object has',
    [remove('constructor', { kind: 'text' }, { stands: '' })],
    `${at}, remove("constructor"): "constructor" is no name; ${nameForm}, and none that queries use.`,
  ],
  [
    'a resource with no name',
    [renameResource('My Posts')],
    `${at}, renameResource("My Posts"): "My Posts" is no name; ${nameForm}, and none that queries use.`,
  ],
  [
    'a resource that has the name of another',
    [renameResource('users')],
    'posts at 2026-01-01: another resource is named "users" there.',
  ],
  [
    'a resource that is a path of the API',
    [renameResource('metrics')],
    'posts at 2026-01-01: "metrics" is no name of a resource; letters and digits beginning with a small letter, and none of batch, changes, docs, problems, metrics, livez, readyz, nudge, versions, changelog, heads, fanout, context, idempotency, keys, retiring, projections, projected, batchResults, mustChange, meta, webhooks, deliveries.',
  ],
  [
    'a resource that is an alias',
    [renameResource('v2')],
    'posts at 2026-01-01: "v2" is the alias of a version, which begins paths.',
  ],
  [
    'a fresh value that the field does not take',
    [add('words', { fresh: 'many' })],
    `${at}, add("words"): "words" does not take "many", what a create of an old client puts there.`,
  ],
  [
    'no fresh value where there must be one',
    [add('title', { fresh: null })],
    `${at}, add("title"): "title" does not take null, what a create of an old client puts there.`,
  ],
  [
    'a fresh value that a newer version does not take',
    [
      add('x', { fresh: `@${long}` }),
      rename('x', 'handle'),
      convert(
        'handle',
        { kind: 'text', schema: z.string().regex(/^@/).max(1_000) },
        { toOld: prefixed(value, '@'), toNew: unprefixed(value, '@') },
      ),
      rename('handle', 'title'),
    ],
    `${at}, add("x"): "handle" does not take "${long}", which is made of the fresh value of "x".`,
  ],
  [
    'a fresh value that makes with nothing beside it what a newer version does not take',
    [
      add('x', { fresh: 'xx' }),
      join(['x', 'y'], 'handle', atFirst('/')),
      convert(
        'handle',
        { kind: 'text', schema: z.string().regex(/^@/) },
        { toOld: prefixed(value, '@'), toNew: unprefixed(value, '@') },
      ),
      rename('handle', 'subtitle'),
    ],
    `${at}, add("x"): "handle" does not take "xx", which is made of the fresh value of "x".`,
  ],
  [
    'what stands in is none of its kind',
    Array.from({ length: 47 }, (_, i) => remove(`gone${i}`, { kind: 'text' }, { stands: '' })),
    'posts at 2026-01-01: it has 64 fields; 63 is the most, because SQLite writes no larger record.',
  ],
  [
    'a value that stands in and is none of the field',
    [remove('featured', { kind: 'boolean' }, { stands: 'no' })],
    `${at}, remove("featured"): "featured" does not take "no", what stands in for it.`,
  ],
  [
    'what stands in is null, and may not be',
    [remove('featured', { kind: 'boolean' }, { stands: null })],
    `${at}, remove("featured"): "featured" does not take null, what stands in for it.`,
  ],
  [
    'mapValues of a text',
    [mapValues('title', { a: 'b' })],
    `${at}, mapValues("title"): "title" is text; this lens is for enum.`,
  ],
  [
    'two old values for a new one, and none to show',
    [mapValues('status', { live: 'published', public: 'published' })],
    `${at}, mapValues("status"): "live" and "public" both become "published" of "status"; tell with "back" which is shown.`,
  ],
  [
    'a value that there is not',
    [mapValues('status', { live: 'shown' })],
    `${at}, mapValues("status"): "shown" is none of the values of "status".`,
  ],
  [
    'a value of both versions',
    [mapValues('status', { draft: 'published' })],
    `${at}, mapValues("status"): "draft" is a value of both versions; tell with "back" as which old value the new one is shown.`,
  ],
  [
    'back to a value that there was not',
    [mapValues('status', {}, { back: { archived: 'gone' } })],
    `${at}, mapValues("status"): "gone", which "back" shows, is no value of the old version.`,
  ],
  [
    'convert that does not come back',
    [convert('words', minutes, { toOld: rounded(over(value, 60)), toNew: times(value, 30) })],
    `${at}, convert("words"): "words": the old 2 becomes 60, which comes back as 1; say with "loses" what old clients lose, or make the two the way back from each other.`,
  ],
  [
    'convert to what the old kind has not',
    [convert('words', minutes, { toOld: over(value, 60), toNew: times(value, 60) })],
    `${at}, convert("words"): "words": the new 1 is shown as 0.016666666666666666, which is no value of the old version.`,
  ],
  [
    'convert of more than the new field takes',
    [
      convert(
        'status',
        { kind: 'boolean' },
        { toOld: match(value, [['draft', false]], true), toNew: match(value, [[true, 'open']], 'draft') },
      ),
    ],
    `${at}, convert("status"): "status": the old true becomes "open", which the field does not take; tell with "schema" what old clients send.`,
  ],
  [
    'convert from a document',
    [convert('title', { kind: 'json' }, toOldText)],
    `${at}, convert("title"): "title" was json; it is to be text, enum, integer, real, boolean, instant.`,
  ],
  [
    'convert of a document',
    [convert('meta', { kind: 'text' }, toOldText)],
    `${at}, convert("meta"): "meta" is json; this lens is for text, enum, integer, real, boolean, instant.`,
  ],
  [
    'convert by another kind',
    [convert('words', { kind: 'text' }, toOldText)],
    `${at}, convert("words"): "toOld" of "words" makes a number; text is no number.`,
  ],
  [
    'arithmetic with a text',
    [convert('title', minutes, { toOld: times(value, 2), toNew: over(value, 2) })],
    `${at}, convert("title"): "times" is for a number, and here it gets a text.`,
  ],
  [
    'letters of a number',
    [convert('words', { kind: 'text' }, { toOld: upper(value), toNew: lower(value) })],
    `${at}, convert("words"): "upper" is for a text, and here it gets a number.`,
  ],
  [
    'a substitute of another kind',
    [convert('words', minutes, { toOld: orElse(value, 'none'), toNew: value })],
    `${at}, convert("words"): "orElse" is for a text, and here it gets a number.`,
  ],
  [
    'nothing to divide by',
    [convert('words', minutes, { toOld: over(value, 0), toNew: value })],
    `${at}, convert("words"): "over" takes a number other than 0, not 0.`,
  ],
  [
    'infinity',
    [convert('words', minutes, { toOld: times(value, 1 / 0), toNew: value })],
    `${at}, convert("words"): "times" takes a number, not Infinity.`,
  ],
  [
    'a prefix with NUL',
    [convert('title', { kind: 'text' }, { toOld: prefixed(value, '\0'), toNew: value })],
    `${at}, convert("title"): a prefix is well-formed text without NUL.`,
  ],
  [
    'a match of another kind',
    [convert('words', { kind: 'text' }, { toOld: match(value, [['a', 'b']]), toNew: value })],
    `${at}, convert("words"): "match" compares with a number; so must each of its cases begin.`,
  ],
  [
    'a match of two kinds',
    [
      convert(
        'words',
        { kind: 'text' },
        {
          toOld: match(value, [
            [1, 'one'],
            [2, true],
          ]),
          toNew: value,
        },
      ),
    ],
    `${at}, convert("words"): "match" makes values of two kinds.`,
  ],
  [
    'an expression that is none of a value',
    [convert('title', { kind: 'text' }, { toOld: tenant, toNew: value })],
    `${at}, convert("title"): "column" is no operation of one value.`,
  ],
  [
    'split with a second that is never null',
    [split('whole', ['subtitle', 'title'], atFirstSpace)],
    `${at}, split("whole", ["subtitle","title"]): "title" must be nullable: it is null where the old text has no separator.`,
  ],
  [
    'split of what callers do not write',
    [split('whole', ['authorName', 'subtitle'], atFirstSpace)],
    `${at}, split("whole", ["authorName","subtitle"]): callers write one of "authorName" and "subtitle", and not the other.`,
  ],
  [
    'split into one',
    [split('whole', ['subtitle', 'subtitle'], atFirstSpace)],
    `${at}, split("whole", ["subtitle","subtitle"]): the two parts have two names.`,
  ],
  [
    'split at a word',
    [split('whole', ['title', 'subtitle'], atFirst(', '))],
    `${at}, split("whole", ["title","subtitle"]): a separator is one character.`,
  ],
  [
    'join at half a character',
    [join(['a', 'b'], 'title', atFirst('\ud800'))],
    `${at}, join(["a","b"], "title"): a separator is one character.`,
  ],
  [
    'join of one',
    [join(['a', 'a'], 'title', atFirstSpace)],
    `${at}, join(["a","a"], "title"): the two parts have two names.`,
  ],
  [
    'join of a first part',
    [join(['c', 'd'], 'a', atFirst('/')), join(['a', 'b'], 'title', atFirstSpace)],
    `${at}, join(["c","d"], "a"): "a" is the first part of a text; it has no parts, or they might hold its separator.`,
  ],
  ['hoist of nothing', [hoist('profile', [])], `${at}, hoist("profile", []): it names no field.`],
  [
    'hoist of one twice',
    [hoist('profile', ['title', 'title'])],
    `${at}, hoist("profile", ["title","title"]): it names a field twice.`,
  ],
  [
    'hoist of a hoisted group',
    [hoist('outer', ['inner']), hoist('inner', ['title'])],
    `${at}, hoist("outer", ["inner"]): "inner" is an object of fields there; name one of its fields.`,
  ],
  [
    'plunge of what a group has not',
    [plunge('other', 'inner', { kind: 'integer' }), hoist('inner', ['title'])],
    `${at}, plunge("other", "inner"): "inner" has no "other".`,
  ],
  [
    'plunge into a text',
    [plunge('language', 'title', { kind: 'text' })],
    `${at}, plunge("language", "title"): "title" is text; this lens is for json.`,
  ],
  [
    'plunge of a document',
    [plunge('language', 'meta', { kind: 'json' })],
    `${at}, plunge("language", "meta"): "language" must be text, integer, real, boolean.`,
  ],
  [
    'plunge into what may be a list',
    [plunge('language', 'free', { kind: 'text' })],
    `${at}, plunge("language", "free"): "free" may be other than an object, which has no members; validate it, as with z.record().`,
  ],
  [
    'plunge of more than the member takes',
    [plunge('language', 'strict', { kind: 'text' })],
    `${at}, plunge("language", "strict"): "strict" takes no "Ada" as its "language"; tell with "schema" what old clients send.`,
  ],
  [
    'wrap of what holds no list',
    [wrap('tag', 'meta', { kind: 'text' })],
    `${at}, wrap("tag", "meta"): "meta" must take a list, also an empty one.`,
  ],
  [
    'an old default that the field does not take',
    [changeDefault('words', { from: 'none' })],
    `${at}, changeDefault("words"): "words" does not take "none", its old default.`,
  ],
  [
    'an old default that a newer version does not take',
    [
      changeDefault('x', { from: 'ab' }),
      join(['x', 'y'], 'handle', atFirst('/')),
      convert(
        'handle',
        { kind: 'text', schema: z.string().regex(/^@/) },
        { toOld: prefixed(value, '@'), toNew: unprefixed(value, '@') },
      ),
      rename('handle', 'subtitle'),
    ],
    `${at}, changeDefault("x"): "handle" does not take "ab", which is made of the old default of "x".`,
  ],
  [
    'a default of what callers do not write',
    [changeDefault('authorName', { from: '' })],
    `${at}, changeDefault("authorName"): "authorName" is not written by callers.`,
  ],
  [
    'a limit of half a character',
    [changeLimit('title', { from: 1.5 })],
    `${at}, changeLimit("title"): a limit is a whole number from 1.`,
  ],
  [
    'a limit that shrank',
    [changeLimit('title', { from: 200 })],
    `${at}, changeLimit("title"): "title" takes up to 100; old clients that send up to 200 would be refused.`,
  ],
  [
    'a page beyond what any may have',
    [changeLimit('pageRowsMax', { from: 101 })],
    `${at}, changeLimit("pageRowsMax"): a page has at most 100 records.`,
  ],
]

const life = (options: { deprecated?: string; sunset?: string }): Told => ({
  versions: [version('2026-01-01', { alias: 'v1', notes: 'Old.', ...options })],
})

const versions: [what: string, told: Told, sentence: string][] = [
  [
    'lenses of an unknown resource',
    { versions: [v1, version('2026-02-01', { alias: 'v2', notes: '' }, { articles: [] })] },
    'Version 2026-02-01: it has lenses for "articles"; there are users, posts.',
  ],
  [
    'lenses on the oldest',
    { versions: [version('2026-01-01', { alias: 'v1', notes: '' }, { posts: [rename('body', 'title')] })] },
    'Version 2026-01-01: it is the oldest, so what its lenses lead back to was never served; move them to the version that made the change.',
  ],
  [
    'a default that is no version',
    { ...lensesOf(), defaultVersion: 'v2' },
    "The model's defaultVersion, which requests get that name none, must be one of 2026-01-01, 2026-02-01.",
  ],
  [
    'a deprecation that is no day',
    life({ deprecated: 'soon' }),
    "Version 2026-01-01: deprecated is a date, YYYY-MM-DD, not before the version's own.",
  ],
  [
    'a sunset that never was',
    life({ deprecated: '2026-02-01', sunset: '2026-02-30' }),
    "Version 2026-01-01: sunset is a date, YYYY-MM-DD, not before the version's own.",
  ],
  [
    'a deprecation before it began',
    life({ deprecated: '2025-12-31' }),
    "Version 2026-01-01: deprecated is a date, YYYY-MM-DD, not before the version's own.",
  ],
  [
    'a sunset before the deprecation',
    life({ deprecated: '2026-03-01', sunset: '2026-02-01' }),
    'Version 2026-01-01: its sunset is before its deprecation (RFC 9745 section 4).',
  ],
  [
    'a sunset without a deprecation',
    life({ sunset: '2026-02-01' }),
    'Version 2026-01-01: it has a sunset; tell from when on it is deprecated, too.',
  ],
]

describe('a history is refused with the sentence that names the version, the lens and the mistake', () => {
  test.each(lenses)('%s', (_, list, sentence) => expect(mistakesOf(lensesOf(...list))).toContain(sentence))
  test.each(versions)('%s', (_, told, sentence) => expect(mistakesOf(told)).toContain(sentence))

  test('a default version that is missing where there are two', () => {
    const { versions: both } = lensesOf()
    const build = () => buildModel({ title: 'Blog', resources: [Users, Posts], versions: both })
    expect(build).toThrow(
      "The model's defaultVersion, which requests get that name none, must be one of 2026-01-01, 2026-02-01.",
    )
  })

  test('and every mistake is told at once, by its lens', () => {
    const mistakes = mistakesOf(
      lensesOf(rename('limit', 'title'), add('ghost', { fresh: 1 }), rename('createdAt', 'words')),
    )
    expect(mistakes.map((each) => each.split(':')[0])).toEqual([
      `${at}, rename("createdAt", "words")`,
      `${at}, add("ghost")`,
      `${at}, rename("limit", "title")`,
    ])
  })

  test('and nothing is refused that is near to a mistake', () => {
    const near = lensesOf(
      rename('writer', 'author'),
      renameResource('articles'),
      add('words', { fresh: 1 }),
      remove('summary', { kind: 'text', nullable: true }, { stands: null }),
      mapValues(
        'status',
        { live: 'published', public: 'published' },
        { back: { published: 'live', archived: 'live' } },
      ),
      convert('rating', { kind: 'integer' }, { toOld: rounded(value), toNew: value, loses: 'Halves.' }),
      join(['givenName', 'familyName'], 'title', atFirst("'")),
      plunge('language', 'strict', { kind: 'text', schema: z.string().max(2) }),
      wrap('tag', 'list', { kind: 'text' }),
      hoist('flags', ['isOpen', 'at']),
      changeLimit('pageRowsMax', { from: 100 }),
    )
    expect(mistakesOf(near)).toEqual([])
  })

  test('and no sentence is left that no case here reaches', () => {
    const folder = joinPath(import.meta.dir, '..', '..', 'src', 'schema')
    const files = ['draft', 'expression-kind', 'older', 'older-convert', 'older-structure', 'versions']
    const source = files.map((name) => readFileSync(joinPath(folder, `${name}.ts`), 'utf8')).join('\n')
    const told = [...lenses, ...versions].map(([, , sentence]) => sentence)
    const literals = [...source.matchAll(/(?:yield|new LensMistake\()\s*(?:`((?:[^`\\]|\\.)*)`|'([^']*)')/g)]
    expect(literals.length).toBeGreaterThan(40)
    const unreached = literals
      .map((match) => match[1] ?? match[2] ?? '')
      .filter((literal) => {
        const parts = literal
          .split(/\$\{(?:[^{}]|\{[^}]*\})*\}/)
          .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        return !told.some((sentence) => new RegExp(`${parts.join('.*')}$`, 's').test(sentence))
      })
    expect(unreached).toEqual([])
  })
})
