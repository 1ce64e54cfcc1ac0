import { afterAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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

const { anyone, belongsTo, buildModel, hasMany, hoist, identity, rename, resource, version } = language

const temporary = temporaryFolder()
let folders = 0
const newFolder = () => join(temporary.path, `contracts${folders++}`)
afterAll(() => temporary.remove())

/** What a case changes of the library: columns that are there take another form or, as null, go. */
interface Changes {
  readonly columns?: Record<string, SQLiteColumnBuilderBase | null>
  readonly authorColumns?: Record<string, SQLiteColumnBuilderBase | null>
  readonly options?: Record<string, unknown>
  /** More relations from books to authors, by their columns. */
  readonly relations?: Record<string, string>
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
const columnsOfAuthors = {
  givenName: text().notNull(),
  familyName: text({ length: 100 }),
  bookCount: integer().notNull().default(0),
}

type Columns = Record<string, SQLiteColumnBuilderBase>

function changed(columns: Columns, changes: Record<string, SQLiteColumnBuilderBase | null> = {}): Columns {
  const entries = Object.entries({ ...columns, ...changes })
  return Object.fromEntries(entries.filter((each): each is [string, SQLiteColumnBuilderBase] => each[1] !== null))
}

/** A library of authors and books; a case publishes its one version, and changes it. */
function library(
  {
    columns,
    authorColumns,
    options,
    relations = { author: 'authorId' },
    name = 'books',
    alias = 'v1',
    more = [],
  }: Changes = {},
  versions: readonly VersionDeclaration[] = [version('2026-01-01', { alias, notes: 'The first.' })],
) {
  type Table = IdentifiedTable & Record<string, never>
  const authors = sqliteTable(
    'authors',
    { ...identity, ...changed(columnsOfAuthors, authorColumns) } as never,
    (t: Table) => [primaryKey({ columns: [t.tenant, t.id] })],
  ) as unknown as Table
  const books = sqliteTable(name, { ...identity, ...changed(columnsOfBooks, columns) } as never, (t: Table) => [
    primaryKey({ columns: [t.tenant, t.id] as never }),
    foreignKey({ columns: [t.tenant, t.authorId] as never, foreignColumns: [authors.tenant, authors.id] as never }),
    index('books_by_author').on(t.tenant, t.authorId as never),
    index('books_by_title').on(t.tenant, (t.title ?? t.isbn) as never),
    index('books_by_pages').on(t.tenant, t.pages as never),
  ]) as unknown as Table
  const resources = [
    resource('authors', authors as never, {
      description: 'Who writes.',
      relations: { books: hasMany(() => books, 'authorId' as never) },
      ...(authorColumns?.givenName === null
        ? {}
        : {
            validate: {
              givenName: z
                .string()
                .max(100)
                .regex(/^[^ ]*$/),
            },
          }),
      access: { read: anyone, write: anyone },
    }),
    resource(
      name,
      books as never,
      {
        description: 'What is read.',
        relations: Object.fromEntries(
          Object.entries(relations).map(([each, column]) => [each, belongsTo(() => authors, column as 'authorId')]),
        ),
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
    { relations: {} },
    'books.author: it cannot be included any more. No lens mends this: keep the relation.',
  ],
  [
    'a relation with another name',
    { relations: { maker: 'authorId' } },
    `books.author: it cannot be included any more. ${declare('rename("author", "maker")')}`,
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

const safe: readonly (readonly [string, Changes])[] = [
  ['a new field that may be left out', { columns: { subtitle: text({ length: 200 }) } }],
  ['a new field with a default', { columns: { copies: integer().notNull().default(1) } }],
  ['a new resource', { more: [reviews()] }],
  ['a new filter', { options: { filter: ['pages', 'title'] } }],
  ['a new sort', { options: { sort: ['pages', 'title'] } }],
  ['a new relation', { relations: { author: 'authorId', maker: 'authorId' } }],
  ['larger pages', { options: { limits: { pageRowsMax: 100 } } }],
  ['a field that may be left out now', { columns: { isbn: text({ length: 20 }).notNull().default('') } }],
  [
    'a check written as a function',
    validate({
      isbn: z
        .string()
        .max(20)
        .refine((isbn) => isbn !== '0'),
    }),
  ],
  [
    'a member that callers may send beside the others',
    validate({ printing: printing.extend({ run: z.int().optional() }) }),
  ],
  ['another description', { options: { description: 'Everything that can be read.' } }],
  ['another rule of access', { options: { access: { read: anyone, write: language.service } } }],
]

test.each(safe)('%s breaks nothing', (_, changes) => {
  const present = library(changes)
  expect(checkContracts(published, present, today)).toEqual({ compared: 1, broken: [], hints: [] })
})

describe('what a model cannot take away and an engine could', () => {
  const read = (): Contract => JSON.parse(readFileSync(join(published, '2026-01-01.json'), 'utf8')).contract
  const at = { version: null, tableOf: (name: string) => name }

  test('a method that is gone is a break', () => {
    const contract = read()
    const paths = { ...contract.paths, '/books/{id}': ['get'] }
    expect([...breaksOf(contract, { ...contract, paths }, at)]).toEqual([
      {
        place: '/books/{id}',
        version: '2026-01-01',
        text: 'it no longer answers PUT, PATCH, DELETE. No lens mends this: keep answering it.',
      },
    ])
  })

  test('a field that can only be read now is a break', () => {
    const contract = read()
    const books = contract.resources.books as Contract['resources'][string]
    const { pages: _, ...properties } = books.input.properties as Record<string, unknown>
    const changed = { ...books, input: { ...books.input, properties }, patch: { ...books.patch, properties } }
    const present = { ...contract, resources: { ...contract.resources, books: changed } }
    expect([...breaksOf(contract, present, at)]).toEqual([
      {
        place: 'books.pages',
        version: '2026-01-01',
        text: 'it is no longer taken, it can only be read. No lens mends this: keep it as it was.',
      },
    ])
  })
})

describe('several published versions', () => {
  const first = version('2026-01-01', { alias: 'v1', notes: 'The first.' })
  const second = version(
    '2026-03-01',
    { alias: 'v2', notes: 'A book has a title.' },
    { books: [rename('name', 'title')] },
  )
  const grouped = version(
    '2026-03-01',
    { alias: 'v2', notes: 'An author is no more in two parts.' },
    { authors: [hoist('person', ['givenName', 'familyName'])] },
  )
  const third = version('2026-05-01', { alias: 'v3', notes: 'The third.' })

  test('are all compared, and the newest is told first', () => {
    const folder = newFolder()
    publishContracts(folder, library({}, [first, second]), today)
    const { broken } = checkContracts(folder, library({ columns: { summary: null } }, [first, second]), today)
    const lens = 'remove("summary", { kind: "text", nullable: true, schema: z.string().max(500) }, { stands: null })'
    expect(broken).toEqual([
      `books.summary at 2026-03-01 (published): the field is gone. ${declare(lens)}`,
      `books.summary at 2026-01-01 (published): the field is gone. ${declare(lens)}`,
      'Mend the newest version first: what is right there is right in those before it, through their lenses.',
    ])
  })

  test('a version that is not published may change, and holds the lens that mends the ones before it', () => {
    const folder = newFolder()
    publishContracts(folder, library({}, [first]), today)
    const { broken, hints } = checkContracts(folder, library({ columns: { summary: null } }, [first, third]), today)
    expect(broken).toHaveLength(1)
    expect(broken[0]).toEndWith('in version 2026-05-01.')
    expect(hints).toEqual([
      '2026-05-01 is not published yet, and may still change: "bun run contracts publish" fixes it.',
    ])
    expect(checkContracts(folder, library({}, [first, third]), today).broken).toEqual([])
  })

  test('a change of the members of a group is a break', () => {
    const folder = newFolder()
    publishContracts(folder, library({}, [first, grouped]), today)
    const other = { ...grouped, lenses: { authors: [hoist('person', ['givenName'])] } }
    expect(checkContracts(folder, library({}, [first, other]), today).broken).toEqual([
      'authors.person.familyName at 2026-01-01 (published): the field is gone. No lens mends this: keep it as it was.',
    ])
    expect(checkContracts(folder, library({}, [first]), today).broken).toEqual(
      [
        'authors.person at 2026-01-01 (published): the field is gone. Declare authors: [hoist("person", ["givenName", "familyName"])] in a new version.',
        '2026-03-01 (published): the version is gone, and no sunset was announced for it. Keep version("2026-03-01", { alias: "v2", ... }) until its sunset has passed.',
      ]
        .toReversed()
        .concat(
          'Mend the newest version first: what is right there is right in those before it, through their lenses.',
        ),
    )
  })
})

describe('the end of a version', () => {
  const ending = (sunset: string | null) => [
    { ...version('2026-01-01', { alias: 'v1', notes: 'The first.', deprecated: '2026-03-01' }), sunset },
    version('2026-03-01', { alias: 'v2', notes: 'The second.' }),
  ]
  const [, second] = ending(null) as [VersionDeclaration, VersionDeclaration]

  test('is announced when it is published, and may be put off but not brought forward', () => {
    const folder = newFolder()
    publishContracts(folder, library({}, ending(null)), today)
    const declared = library({}, ending('2027-01-01'))
    expect(checkContracts(folder, declared, today).hints).toEqual([
      '2026-01-01 has a sunset to announce: "bun run contracts publish" does.',
    ])
    expect(publishContracts(folder, declared, today)).toContain('Announced the sunset of 2026-01-01: 2027-01-01.')
    expect(checkContracts(folder, declared, today)).toEqual({ compared: 2, broken: [], hints: [] })
    const earlier = library({}, ending('2026-12-01'))
    const mistake =
      '2026-01-01 (published): its sunset was announced as 2027-01-01, and is 2026-12-01 now. Put it off or leave it.'
    expect(checkContracts(folder, earlier, today).broken).toEqual([mistake])
    expect(() => publishContracts(folder, earlier, today)).toThrow(mistake)
    expect(checkContracts(folder, library({}, ending('2028-01-01')), today).broken).toEqual([])
  })

  test('lets the version go on its day, and not before', () => {
    const folder = newFolder()
    publishContracts(folder, library({}, ending('2027-01-01')), today)
    const without = library({}, [second])
    expect(checkContracts(folder, without, '2026-12-31').broken).toEqual([
      '2026-01-01 (published): the version is gone, and its sunset is 2027-01-01. Keep version("2026-01-01", { alias: "v1", ... }) until its sunset has passed.',
    ])
    expect(checkContracts(folder, without, '2027-01-01').broken).toEqual([])
  })
})

describe('the files', () => {
  const filesOf = (folder: string) =>
    Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]))

  test('are the same however often they are published', () => {
    const folder = newFolder()
    expect(publishContracts(folder, library(), today)).toEqual([
      'Wrote src/model/contracts/2026-01-01.json and 2026-01-01.openapi.json. Commit them.',
    ])
    const files = filesOf(folder)
    expect(Object.keys(files).sort()).toEqual(['2026-01-01.json', '2026-01-01.openapi.json'])
    expect(publishContracts(folder, library(), today)).toEqual(['2026-01-01 is published already.'])
    expect(publishContracts(folder, library(), today, '2026-01-01')).toEqual(['2026-01-01 is published already.'])
    expect(filesOf(folder)).toEqual(files)
  })

  test('are not written again where the version promises more now', () => {
    const folder = newFolder()
    publishContracts(folder, library(), today)
    const files = filesOf(folder)
    const more = library({ columns: { subtitle: text() } })
    expect(() => publishContracts(folder, more, today, '2026-01-01')).toThrow(
      '2026-01-01 is published, and its contract would be another now: /resources/books/record/properties/subtitle, /resources/books/record/required, /resources/books/input/properties/subtitle, /resources/books/patch/properties/subtitle. A published contract is never edited: what is new is promised by a new version.',
    )
    expect(publishContracts(folder, more, today)).toEqual(['2026-01-01 is published already.'])
    expect(filesOf(folder)).toEqual(files)
  })

  test('none is written where a published one is broken', () => {
    const folder = newFolder()
    publishContracts(folder, library(), today)
    const files = filesOf(folder)
    const next = [
      version('2026-01-01', { alias: 'v1', notes: 'The first.' }),
      version('2026-05-01', { alias: 'v2', notes: 'The second.' }),
    ]
    expect(() => publishContracts(folder, library({ columns: { summary: null } }, next), today)).toThrow(
      'books.summary at 2026-01-01 (published): the field is gone.',
    )
    expect(filesOf(folder)).toEqual(files)
  })

  const edits: readonly (readonly [string, string, (text: string) => string])[] = [
    ['a bound', '2026-01-01.json', (text) => text.replace('"maxLength":100', '"maxLength":300')],
    ['a whole field', '2026-01-01.json', (text) => text.replaceAll(/^.*"title": .*\n/gm, '')],
    ['the date', '2026-01-01.json', (text) => text.replace('"version": "2026-01-01"', '"version": "2026-01-02"')],
    ['the document', '2026-01-01.openapi.json', (text) => text.replace('What is read.', 'What is written.')],
    ['the braces', '2026-01-01.json', (text) => text.slice(1)],
  ]
  test.each(edits)('an edit by hand of %s is noticed', (_, name, edit) => {
    const folder = newFolder()
    publishContracts(folder, library(), today)
    const text = readFileSync(join(folder, name), 'utf8')
    expect(edit(text)).not.toBe(text)
    writeFileSync(join(folder, name), edit(text))
    const mistake = `src/model/contracts/${name} is not as it was published. A published contract is never edited: bring it back from git.`
    expect(checkContracts(folder, library(), today).broken).toEqual([mistake])
    expect(() => publishContracts(folder, library(), today)).toThrow(mistake)
    // How the text is laid out is not what it says.
    writeFileSync(join(folder, name), JSON.stringify(JSON.parse(text), null, 4))
    expect(checkContracts(folder, library(), today).broken).toEqual([])
  })

  test('a document that is missing is noticed, and a folder that is missing is none', () => {
    const folder = newFolder()
    expect(checkContracts(folder, library(), today).compared).toBe(0)
    publishContracts(folder, library(), today)
    rmSync(join(folder, '2026-01-01.openapi.json'))
    expect(checkContracts(folder, library(), today).broken[0]).toStartWith(
      'src/model/contracts/2026-01-01.openapi.json is not',
    )
  })
})
