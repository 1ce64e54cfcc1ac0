import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  foreignKey,
  index,
  integer,
  primaryKey,
  type SQLiteColumnBuilderBase,
  sqliteTable,
  text,
} from 'drizzle-orm/sqlite-core'
import { z } from 'zod'
import { checkContracts, publishContracts } from '../../src/entry/contracts.ts'
import type { IdentifiedTable } from '../../src/schema/columns.ts'
import * as language from '../../src/schema/index.ts'
import type { Lens, VersionDeclaration } from '../../src/schema/lens.ts'
import type { ResourceDeclaration } from '../../src/schema/resource.ts'
import { breaksOf } from '../../src/version/compatibility.ts'
import type { Contract } from '../../src/version/contract.ts'
import { temporaryFolder } from '../support/server.ts'

const { add, anyone, belongsTo, buildModel, count, hasMany, hoist, identity, rename, resource, version } = language

const temporary = temporaryFolder()
let folders = 0
const newFolder = () => join(temporary.path, `contracts${folders++}`)
afterAll(() => temporary.remove())

/** What a case changes of the library: columns that are there take another form or, as null, go. */
interface Changes {
  readonly columns?: Record<string, SQLiteColumnBuilderBase | null>
  readonly authorColumns?: Record<string, SQLiteColumnBuilderBase | null>
  readonly options?: Record<string, unknown>
  readonly name?: string
  readonly alias?: string
  readonly more?: readonly ResourceDeclaration[]
}

const columnsOfBooks = {
  authorId: text().notNull(),
  title: text({ length: 100 }).notNull(),
  summary: text({ length: 500 }),
  writer: text().notNull(),
  genre: text({ enum: ['novel', 'essay'] })
    .notNull()
    .default('novel'),
  pages: integer().notNull().default(0),
  isbn: text({ length: 20 }).notNull(),
  printing: text({ mode: 'json' }).$type<object>(),
}
const columnsOfAuthors = { givenName: text().notNull(), familyName: text({ length: 100 }), bookCount: integer().notNull().default(0) }

function changed<T extends object>(columns: T, changes: Record<string, unknown> = {}): never {
  return Object.fromEntries(Object.entries({ ...columns, ...changes }).filter(([, each]) => each !== null)) as never
}

/** A library of authors and books; a case publishes its one version, and changes it. */
function library(
  { columns, authorColumns, options, name = 'books', alias = 'v1', more = [] }: Changes = {},
  versions: readonly VersionDeclaration[] = [version('2026-01-01', { alias, notes: 'The first.' })],
) {
  type Table = IdentifiedTable & Record<string, never>
  const authors = sqliteTable('authors', { ...identity, ...changed(columnsOfAuthors, authorColumns) }, (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
  ]) as Table
  const books = sqliteTable(name, { ...identity, ...changed(columnsOfBooks, columns) }, (t: Table) => [
    primaryKey({ columns: [t.tenant, t.id] as never }),
    foreignKey({ columns: [t.tenant, t.authorId] as never, foreignColumns: [authors.tenant, authors.id] as never }),
    index('books_by_author').on(t.tenant, t.authorId as never),
    index('books_by_title').on(t.tenant, (t.title ?? t.isbn) as never),
    index('books_by_pages').on(t.tenant, t.pages as never),
  ]) as Table
  const resources = [
    resource('authors', authors as never, {
      description: 'Who writes.',
      relations: { books: hasMany(() => books, 'authorId' as never) },
      ...(authorColumns?.givenName === null ? {} : { validate: { givenName: z.string().max(100).regex(/^[^ ]*$/) } }),
      access: { read: anyone, write: anyone },
    }),
    resource(
      name,
      books as never,
      {
        description: 'What is read.',
        relations: { author: belongsTo(() => authors, 'authorId') },
        filter: ['pages'],
        sort: ['pages'],
        validate: { pages: z.int().min(0), printing: z.looseObject({ year: z.int(), place: z.string().optional() }) },
        limits: { pageRowsMax: 50 },
        access: { read: anyone, write: anyone },
        ...options,
      } as never,
    ),
    ...more,
  ]
  const defaultVersion = versions.at(-1)?.date ?? ''
  return buildModel({ title: 'Library', resources: resources as never, versions, defaultVersion })
}

const today = '2026-06-01'
const published = newFolder()
publishContracts(published, library(), today)

const keepIt = 'No lens mends this: keep it as it was, or make the change in a field of another name.'
const declare = (lens: string, table = 'books') => `Declare ${table}: [${lens}] in a new version.`
const printing = z.looseObject({ year: z.int(), place: z.string().optional() })
const validate = (more: Record<string, z.ZodType>) => ({
  options: { validate: { pages: z.int().min(0), printing, ...more } },
})
const reviews = () => {
  const table = sqliteTable('reviews', { ...identity, text: text() }, (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
  ])
  return resource('reviews', table, { description: 'Reviews.', access: { read: anyone, write: anyone } })
}

/** A change, what it breaks, and after `;` what mends it: a lens, which the test then declares. */
const breaking: readonly (readonly [string, Changes, ...string[]])[] = [
  [
    'a field that is gone',
    { columns: { summary: null } },
    `books.summary: the field is gone. ${declare('remove("summary", { kind: "text", nullable: true, schema: z.string().max(500) }, { stands: null })')}`,
  ],
  [
    'a field with another name',
    { columns: { title: null, name: text({ length: 100 }).notNull() } },
    `books.title: the field is gone. ${declare('rename("title", "name")')}`,
  ],
  [
    'a text that became two',
    { columns: { writer: null, first: text().notNull(), last: text() } },
    `books.writer: the field is gone. ${declare('split("writer", ["first", "last"], atFirstSpace)')}`,
  ],
  [
    'two texts that became one',
    { authorColumns: { givenName: null, familyName: null, name: text({ length: 100 }).notNull() } },
    ...['givenName', 'familyName'].map(
      (field) =>
        `authors.${field}: the field is gone. ${declare('join(["givenName", "familyName"], "name", atFirstSpace)', 'authors')}`,
    ),
  ],
  [
    'a value that became a list',
    { columns: { summary: null, summaries: text({ mode: 'json' }) }, ...validate({ summaries: z.array(z.string()) }) },
    `books.summary: the field is gone. ${declare('wrap("summary", "summaries", { kind: "text", nullable: true, schema: z.string().max(500) })')}`,
  ],
  [
    'another type',
    { columns: { pages: text().notNull().default('') }, options: { validate: { printing } } },
    `books.pages: it was integer and is string. ${declare('convert("pages", { kind: "integer", schema: z.int().min(0) }, { toOld: ..., toNew: ... })')}`,
  ],
  [
    'null, where there was none',
    { columns: { writer: text() } },
    `books.writer: it may be null now. ${declare('convert("writer", { kind: "text", nullable: false }, { toOld: orElse(value, ""), toNew: value })')}`,
  ],
  [
    'no null, where there was',
    { columns: { summary: text({ length: 500 }).notNull().default('') } },
    `books.summary: its default is "" now, not null. ${declare('changeDefault("summary", { from: null })')}`,
    `books.summary: null is no longer taken. ${declare('convert("summary", { kind: "text", nullable: true, schema: z.string().max(500) }, { toOld: value, toNew: orElse(value, "") })')}`,
  ],
  [
    'one more value',
    {
      columns: {
        genre: text({ enum: ['novel', 'essay', 'poem'] })
          .notNull()
          .default('novel'),
      },
    },
    `books.genre: it may be "poem" now. ${declare('mapValues("genre", {}, { back: { poem: "novel" } })')}`,
  ],
  [
    'a value with another name',
    {
      columns: {
        genre: text({ enum: ['novel', 'article'] })
          .notNull()
          .default('novel'),
      },
    },
    `books.genre: it may be "article" now. ${declare('mapValues("genre", { essay: "article" })')}`,
    `books.genre: it no longer takes "essay". ${declare('mapValues("genre", { essay: "article" })')}`,
  ],
  [
    'a value that is gone',
    {
      columns: {
        genre: text({ enum: ['novel'] })
          .notNull()
          .default('novel'),
      },
    },
    `books.genre: it no longer takes "essay". ${declare('mapValues("genre", { essay: "novel" }, { back: { novel: "novel" } })')}`,
  ],
  [
    'a longer text',
    { columns: { title: text({ length: 300 }).notNull() } },
    `books.title: its maxLength was 100 and is 300. ${declare('changeLimit("title", { from: 100 })')}`,
  ],
  [
    'a shorter text',
    { columns: { title: text({ length: 50 }).notNull() } },
    `books.title: its maxLength was 100 and is 50, so less is taken. ${keepIt}`,
  ],
  [
    'a higher minimum',
    { options: { validate: { pages: z.int().min(1), printing } }, columns: { pages: integer().notNull().default(1) } },
    `books.pages: its default is 1 now, not 0. ${keepIt}`,
    `books.pages: its minimum was 0 and is 1, so less is taken. ${keepIt}`,
  ],
  [
    'a pattern, where there was none',
    validate({
      isbn: z
        .string()
        .max(20)
        .regex(/^97[89]/),
    }),
    `books.isbn: its pattern was none and is "^97[89]", so less is taken. ${keepIt}`,
  ],
  [
    'a new field that must be sent',
    { columns: { language: text().notNull() } },
    `books.language: it is new and required. ${declare('add("language", { fresh: "" })')}`,
  ],
  [
    'a field that must be sent now',
    { columns: { genre: text({ enum: ['novel', 'essay'] }).notNull() } },
    `books.genre: it is required now. ${declare('changeDefault("genre", { from: "novel" })')}`,
  ],
  [
    'another default',
    {
      columns: {
        genre: text({ enum: ['novel', 'essay'] })
          .notNull()
          .default('essay'),
      },
    },
    `books.genre: its default is "essay" now, not "novel". ${declare('changeDefault("genre", { from: "novel" })')}`,
  ],
  [
    'a member that must be sent now',
    validate({ printing: z.looseObject({ year: z.int(), place: z.string() }) }),
    `books.printing.place: it is required now. ${keepIt}`,
  ],
  [
    'a member that may be missing now',
    validate({ printing: z.looseObject({ year: z.int().optional(), place: z.string().optional() }) }),
    `books.printing.year: it may be missing now. ${keepIt}`,
  ],
  [
    'a filter that is gone',
    { options: { filter: [] } },
    'books.pages: lists cannot be filtered by it. No lens mends this: keep it in "filter", its column as it was.',
  ],
  [
    'a sort that is gone',
    { options: { sort: [] } },
    'books.pages: lists cannot be sorted by it. No lens mends this: keep it in "sort", its column as it was.',
  ],
  [
    'a relation that is gone',
    { options: { relations: {} } },
    'books.author: it cannot be included any more. No lens mends this: keep the relation.',
  ],
  [
    'smaller pages',
    { options: { limits: { pageRowsMax: 20 } } },
    `books: a page has at most 20 records now, not 50. ${declare('changeLimit("pageRowsMax", { from: 50 })')}`,
  ],
  [
    'a resource with another name',
    { name: 'works' },
    `books: the resource is gone. ${declare('renameResource("books")', 'works')}`,
  ],
  ['another alias', { alias: 'one' }, '/v1: its paths begin with /one now. Keep the alias "v1".'],
]

/** The lenses that sentences name, by their tables, as the model's author would copy them. */
function lensesIn(broken: readonly string[]): Record<string, Lens[]> {
  const scope = { ...language, z } as Record<string, unknown>
  const lenses: Record<string, Map<string, Lens>> = {}
  for (const line of broken) {
    const [, table = '', lens = ''] = /Declare (\w+): \[(.*)\] in a new version\.$/.exec(line) ?? []
    if (lens === '' || lens.includes('...')) continue
    lenses[table] ??= new Map()
    lenses[table].set(lens, new Function(...Object.keys(scope), `return ${lens}`)(...Object.values(scope)) as Lens)
  }
  return Object.fromEntries(Object.entries(lenses).map(([table, each]) => [table, [...each.values()]]))
}

describe.each(breaking)('%s', (_, changes, ...expected) => {
  const told = expected.map((text) => text.replace(': ', ' at 2026-01-01 (published): '))

  test('breaks the published contract, and the answer names the field, the version and what mends it', () => {
    expect(checkContracts(published, library(changes), today).broken).toEqual(told)
  })

  test('is mended by the lenses that the answer names, in a new version', () => {
    const versions = [
      version('2026-01-01', { alias: changes.alias ?? 'v1', notes: 'The first.' }),
      version('2026-05-01', { alias: 'v2', notes: 'The second.' }, lensesIn(told)),
    ]
    const { broken } = checkContracts(published, library(changes, versions), today)
    const unmended = told.filter((line) => !line.includes('Declare') || line.includes('...'))
    expect(broken).toEqual(unmended.map((line) => line.replace('a new version', 'version 2026-05-01')))
  })
})
