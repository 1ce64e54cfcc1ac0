import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import {
  blob,
  check,
  foreignKey,
  index,
  integer,
  primaryKey,
  real,
  type SQLiteColumnBuilderBase,
  sqliteTable,
  text,
  unique,
  uniqueIndex,
} from 'drizzle-orm/sqlite-core'
import { z } from 'zod'
import { ModelError } from '../../src/schema/check.ts'
import type { IdentifiedTable } from '../../src/schema/columns.ts'
import {
  anyOf,
  anyone,
  belongsTo,
  buildModel,
  copy,
  count,
  fold,
  hasMany,
  identity,
  instant,
  manyToMany,
  max,
  owner,
  projection,
  rename,
  resource,
  scope,
  sum,
  version,
  when,
} from '../../src/schema/index.ts'
import type { Lens } from '../../src/schema/lens.ts'
import type { ResourceDeclaration } from '../../src/schema/resource.ts'

/**
 * A library of authors and books, right in every way until a case says otherwise: it adds to the columns, the keys and the
 * options of books, or of authors, or takes another list of versions. What a case declares wrongly, the compiler often
 * refuses too; here it is declared as JavaScript would.
 */
interface Wrong {
  readonly name?: string
  readonly table?: string | null
  readonly columns?: Record<string, SQLiteColumnBuilderBase>
  readonly keys?: (t: Columns) => readonly unknown[]
  readonly key?: (t: Columns) => readonly unknown[]
  readonly options?: Record<string, unknown>
  readonly authors?: Record<string, unknown>
  readonly authorColumns?: Record<string, SQLiteColumnBuilderBase>
  readonly authorKeys?: (t: Columns) => readonly unknown[]
  readonly versions?: readonly (readonly [string, string, Record<string, readonly Lens[]>?])[]
  readonly more?: readonly unknown[]
}
type Columns = Record<string, never>

const open = { description: 'Some.', access: { read: anyone, write: anyone } }
const ownKey = (t: Columns) => [primaryKey({ columns: [t.tenant, t.id] as never })]

function tableOf(
  name: string,
  columns: Record<string, SQLiteColumnBuilderBase>,
  keys: (t: Columns) => readonly unknown[],
): IdentifiedTable {
  return sqliteTable(name, columns as never, (t) => keys(t as never) as never) as never
}

const strangers = tableOf('strangers', identity, ownKey)

function library(wrong: Wrong) {
  const authors = tableOf(
    'authors',
    { ...identity, name: text().notNull(), rank: integer(), ...wrong.authorColumns },
    (t) => [...ownKey(t), ...(wrong.authorKeys?.(t) ?? [])],
  )
  const books =
    wrong.table === null
      ? (undefined as never)
      : tableOf(
          wrong.table ?? wrong.name ?? 'books',
          {
            ...identity,
            authorId: text().notNull(),
            title: text().notNull(),
            status: text({ enum: ['lent', 'here'] })
              .notNull()
              .default('here'),
            pages: integer(),
            weight: real(),
            data: text({ mode: 'json' }),
            ...wrong.columns,
          },
          (t) => [
            ...(wrong.key ?? ownKey)(t),
            foreignKey({
              columns: [t.tenant, t.authorId] as never,
              foreignColumns: [authors.tenant, authors.id] as never,
            }),
            index('books_by_author').on(t.tenant as never, t.authorId as never, t.id as never),
            ...(wrong.keys?.(t) ?? []),
          ],
        )
  const Authors = resource('authors', authors, {
    ...open,
    relations: { books: hasMany(() => books, 'authorId' as never) },
    ...wrong.authors,
  } as never)
  const Books = resource(wrong.name ?? 'books', books, {
    ...open,
    relations: { author: belongsTo(() => authors, 'authorId' as never) },
    ...wrong.options,
  } as never)
  return {
    title: 'Library',
    versions: (wrong.versions ?? [['2026-01-01', 'v1']]).map(([date, alias, lenses]) =>
      version(date, { alias, notes: '' }, lenses),
    ),
    resources: [Authors, Books, ...((wrong.more ?? []) as ResourceDeclaration[])],
  }
}

function mistakesOf(wrong: Wrong): readonly string[] {
  try {
    buildModel(library(wrong))
    return []
  } catch (error) {
    if (error instanceof ModelError) return error.mistakes
    throw error
  }
}

/** With a foreign key of the given columns to the given table. */
const refersTo =
  (columns: string[], to: () => unknown, foreign = ['tenant', 'id'], onDelete?: string) =>
  (t: Columns) => {
    const target = to() as Columns
    const key = foreignKey({
      columns: columns.map((name) => t[name]) as never,
      foreignColumns: foreign.map((name) => target[name]) as never,
    })
    return [onDelete ? key.onDelete(onDelete as never) : key]
  }
const other = tableOf('shelves', { ...identity, bookId: text().notNull() }, ownKey)
const manyColumns = Object.fromEntries(Array.from({ length: 54 }, (_, i) => [`field${i}`, text()]))
const reserved =
  'batch, changes, docs, problems, metrics, livez, readyz, nudge, versions, changelog, heads, fanout, context, idempotency, keys, retiring, projections, projected, batchResults, mustChange, meta, webhooks, deliveries'
const nameForm = 'letters and digits beginning with a small letter'

/** A read model of the library, right until a case says otherwise: how many books each author has by status. */
interface WrongReadModel {
  readonly columns?: Record<string, SQLiteColumnBuilderBase>
  readonly keys?: (t: Columns) => readonly unknown[]
  readonly options?: Record<string, unknown>
  /** In place of its one fold, over the table of books. */
  readonly from?: (books: IdentifiedTable, own: IdentifiedTable) => readonly unknown[]
  readonly relations?: (authors: IdentifiedTable) => Record<string, unknown>
  /** What is declared of books and authors, which may name the table of the read model. */
  readonly rest?: (counts: IdentifiedTable) => Wrong
}

function withReadModel({ columns, keys, options, from, relations, rest }: WrongReadModel): readonly string[] {
  const table = tableOf(
    'shelfCounts',
    {
      ...identity,
      authorId: text().notNull(),
      status: text().notNull(),
      books: integer().notNull().default(0),
      ...columns,
    },
    (t) => [...ownKey(t), ...(keys?.(t) ?? [])],
  )
  const base = library(rest?.(table) ?? {})
  const books = base.resources[1]?.table as IdentifiedTable
  const declared = projection('shelfCounts', table, {
    ...{ description: 'Some.', key: ['authorId', 'status'], access: { read: anyone } },
    from: from?.(books, table) ?? [fold(() => books, ['status'] as never, nothing)],
    relations: relations?.(base.resources[0]?.table as IdentifiedTable) ?? {},
    ...options,
  } as never)
  try {
    buildModel({ ...base, resources: [...base.resources, declared as never] })
    return []
  } catch (error) {
    if (error instanceof ModelError) return error.mistakes
    throw error
  }
}

const nothing = () => null
const readModels: [string, WrongReadModel, string][] = [
  [
    'it has no key',
    { options: { key: [] } },
    'shelfCounts: its key names no column; name those that say which row a record counts in.',
  ],
  [
    'a key that is no column',
    { options: { key: ['authorId', 'status', 'ghost'] } },
    'shelfCounts.ghost: key names a field that the table does not have.',
  ],
  [
    'a key that Perigee keeps',
    { options: { key: ['authorId', 'status', 'createdAt'] } },
    'shelfCounts.createdAt: Perigee keeps this column itself; it cannot be in a key.',
  ],
  [
    'a key that has no equality',
    { columns: { data: text({ mode: 'json' }).notNull() }, options: { key: ['authorId', 'status', 'data'] } },
    'shelfCounts.data: a key is text, integer, boolean or instant, which are equal or not; this is json.',
  ],
  [
    'a key that may be null',
    { columns: { status: text() } },
    'shelfCounts.status: a key is never null; add .notNull().',
  ],
  [
    'a key that is named twice',
    { options: { key: ['authorId', 'status', 'status'] } },
    'shelfCounts.status: key names it twice.',
  ],
  [
    'it counts nothing',
    { options: { key: ['authorId', 'status', 'books'] } },
    'shelfCounts: it has no column beside its key; add the totals that it is there for.',
  ],
  [
    'a total that is no sum',
    { columns: { weight: real().notNull().default(0) } },
    'shelfCounts.weight: a column that is not in the key is a total, integer().notNull().default(0).',
  ],
  [
    'a foreign key',
    { keys: refersTo(['tenant', 'authorId'], () => strangers) },
    'shelfCounts.tenant+authorId: a read model has no foreign keys, because it follows the records later, when what they refer to may be gone; a relation needs none here.',
  ],
  [
    'a check',
    { keys: () => [check('few', sql`books < 3`)] },
    'shelfCounts: a read model has no checks ("few"): a row that it refused would stop it.',
  ],
  [
    'unique columns',
    { keys: (t) => [uniqueIndex('one_each').on(t.tenant as never, t.authorId as never)] },
    'shelfCounts.one_each: a read model has no unique columns: there is one row for each key already, and its rows change place one after the other.',
  ],
  [
    'nothing contributes',
    { options: { from: [] } },
    'shelfCounts: nothing contributes to it; name a table with fold().',
  ],
  [
    'it folds a stranger',
    { from: () => [fold(() => strangers, ['id'], nothing)] },
    'shelfCounts: it folds a table that is no resource of the model.',
  ],
  [
    'it folds itself',
    { from: (_, own) => [fold(() => own, ['id'], nothing)] },
    'shelfCounts: it folds shelfCounts, a read model itself; fold what that is made of.',
  ],
  [
    'it folds a table twice',
    { from: (books) => [1, 2].map(() => fold(() => books, ['id'], nothing)) },
    'shelfCounts: it folds books twice; one fold says all that a record adds.',
  ],
  [
    'a fold of no field',
    { from: (books) => [fold(() => books, [], nothing)] },
    'shelfCounts: its fold of books looks at no field.',
  ],
  [
    'a fold of a field that is none',
    { from: (books) => [fold(() => books, ['ghost'] as never, nothing)] },
    'shelfCounts: its fold of books looks at "ghost", which books does not have.',
  ],
  [
    'a fold of a column that retires',
    {
      from: (books) => [fold(() => books, ['name'] as never, nothing)],
      rest: () => ({
        columns: { name: text().notNull().default(''), title: text().notNull().default('') },
        versions: [
          ['2026-01-01', 'v1'],
          ['2026-02-01', 'v2', { books: [rename('name', 'title')] }],
        ],
      }),
    },
    'shelfCounts: its fold of books looks at "name", which a lens took away.',
  ],
  [
    'a link that is no id',
    { relations: (authors) => ({ counted: belongsTo(() => authors, 'books') }) },
    'shelfCounts.counted: shelfCounts.books must be a text(), because ids are.',
  ],
  [
    'a link without an index',
    { relations: (authors) => ({ author: belongsTo(() => authors, 'authorId') }) },
    "shelfCounts.author: no index serves it; add index('shelfCounts_by_authorId').on(t.tenant, t.authorId, t.id) to shelfCounts.",
  ],
  [
    'another refers to it',
    {
      rest: (counts) => ({
        columns: { countId: text().notNull() },
        keys: refersTo(['tenant', 'countId'], () => counts),
      }),
    },
    'books.tenant+countId: it refers to a read model, whose rows come and go; refer to the records that it is made of.',
  ],
  [
    'another derives from it',
    {
      rest: (counts) => ({
        authors: {
          relations: { counts: hasMany(() => counts, 'authorId' as never) },
          derived: { so: count('counts') },
        },
        authorColumns: { so: counted },
      }),
    },
    'authors.so: shelfCounts is a read model, which follows later; derive from what it is made of.',
  ],
]

const versions: [string, Wrong, string][] = [
  ['there is none', { versions: [] }, 'The model declares no version; add one, such as version("2026-11-01", ...).'],
  ['it is no date', { versions: [['v1', 'v1']] }, 'Version v1: a version is a date, YYYY-MM-DD.'],
  [
    'it is a day that never was',
    { versions: [['2026-02-30', 'v1']] },
    'Version 2026-02-30: a version is a date, YYYY-MM-DD.',
  ],
  [
    'they are out of order',
    {
      versions: [
        ['2026-02-01', 'v2'],
        ['2026-01-01', 'v1'],
      ],
    },
    'The versions must stand in the order of their dates, each once.',
  ],
  [
    'two have one alias',
    {
      versions: [
        ['2026-01-01', 'v1'],
        ['2026-02-01', 'v1'],
      ],
    },
    'Two versions have the alias "v1".',
  ],
  [
    'an alias is no word',
    { versions: [['2026-01-01', 'v/1']] },
    `Version 2026-01-01: its alias "v/1" begins paths; ${nameForm}, and not a resource's name.`,
  ],
  [
    'an alias is a resource',
    { versions: [['2026-01-01', 'books']] },
    `Version 2026-01-01: its alias "books" begins paths; ${nameForm}, and not a resource's name.`,
  ],
]

const tables: [string, Wrong, string][] = [
  ...['Books', 'my_books', 'batch', 'keys', 'constructor'].map((name): [string, Wrong, string] => [
    `its name is ${name}`,
    { name },
    `${name}: a resource's name is ${nameForm}, and none of ${reserved}.`,
  ]),
  [
    'its description is empty',
    { options: { description: ' ' } },
    "books: the API's documentation needs a description of it, one sentence.",
  ],
  [
    'another has its name in other letters',
    { more: [resource('booKs', tableOf('booKs', identity, ownKey), open as never)] },
    'books: two resources have this name.',
  ],
  [
    'its table is undefined',
    { table: null },
    'books: its table is undefined; is it exported by the file that it is imported from?',
  ],
  [
    'an index names a column that there is not',
    { keys: (t) => [index('ghosts').on(t.tenant as never, t.ghost as never)] },
    'books: the index "ghosts" names a column that there is not.',
  ],
  [
    'a foreign key names a column that there is not',
    { keys: refersTo(['tenant', 'ghost'], () => strangers) },
    'books: a foreign key names a column that there is not.',
  ],
  [
    'a foreign key names a column that the other table has not',
    { columns: { by: text() }, keys: refersTo(['tenant', 'by'], () => strangers, ['tenant', 'ghost']) },
    'books: a foreign key names a column that there is not.',
  ],
  [
    'the primary key names a column that there is not',
    { key: (t) => [primaryKey({ columns: [t.tenant, t.ghost] as never })] },
    'books: the primary key names a column that there is not.',
  ],
  [
    'its table has another name',
    { table: 'volumes' },
    'books: its table is named "volumes"; resource and table have one name.',
  ],
  [
    'the primary key lacks the tenant',
    { key: (t) => [primaryKey({ columns: [t.id] as never })] },
    'books: the primary key must be (tenant, id), tenant first.',
  ],
  [
    'the primary key begins with the id',
    { key: (t) => [primaryKey({ columns: [t.id, t.tenant] as never })] },
    'books: the primary key must be (tenant, id), tenant first.',
  ],
  [
    'the version is text',
    { columns: { version: text().notNull() } },
    'books.version: every table begins with ...identity.',
  ],
  [
    'the version begins nowhere',
    { columns: { version: integer().notNull() } },
    'books.version: every table begins with ...identity.',
  ],
  [
    'the time may be null',
    { columns: { createdAt: instant() } },
    'books.createdAt: every table begins with ...identity.',
  ],
  [
    'the time is plain text',
    { columns: { updatedAt: text().notNull() } },
    'books.updatedAt: every table begins with ...identity.',
  ],
  ['the id is a number', { columns: { id: integer().notNull() } }, 'books.id: every table begins with ...identity.'],
  ['the tenant may be null', { columns: { tenant: text() } }, 'books.tenant: every table begins with ...identity.'],
  [
    'it has too many columns',
    { columns: manyColumns },
    'books: it has 65 columns; 64 is the most, because SQLite writes a record of 63 fields at most.',
  ],
]

const columns: [string, Wrong, string][] = [
  [
    'is named twice',
    { columns: { isbn: text('isbn_13') } },
    'books.isbn: the column is named "isbn_13"; leave its name out, so that both are one.',
  ],
  [
    'is no word',
    { columns: { _isbn: text() } },
    `books._isbn: a field's name is ${nameForm}, and none that every object has.`,
  ],
  [
    'is what every object has',
    { columns: { constructor: text() } as never },
    `books.constructor: a field's name is ${nameForm}, and none that every object has.`,
  ],
  ...['sort', 'limit', 'after', 'before', 'include', 'fields', 'count'].map((name): [string, Wrong, string] => [
    `is named ${name}`,
    { columns: { [name]: integer() } },
    `books.${name}: queries use this name; choose another.`,
  ]),
  [
    'differs from another in case only',
    { columns: { Title: text(), tITLE: text() } },
    'books.tITLE: another field differs from it in the case of letters only.',
  ],
  [
    'is a blob',
    { columns: { cover: blob() } },
    'books.cover: columns of type SQLiteBlobBuffer are not served; use text, integer, real, boolean, instant or json.',
  ],
  [
    'is a timestamp',
    { columns: { at: integer({ mode: 'timestamp' }) } },
    'books.at: columns of type SQLiteTimestamp are not served; use text, integer, real, boolean, instant or json.',
  ],
  [
    'is generated',
    { columns: { loud: text().generatedAlwaysAs(sql`upper(title)`) } },
    'books.loud: a generated column is not served; make it derived, or let callers write it.',
  ],
  [
    'has an $onUpdate',
    { columns: { seen: text().$onUpdate(() => 'now') } },
    'books.seen: $onUpdate runs in no database; use a derived column.',
  ],
  [
    'has a default that JavaScript makes',
    { columns: { isbn: text().$defaultFn(() => 'x') } },
    'books.isbn: a default must be a plain value, so that the API can document it.',
  ],
  [
    'has a default that SQL makes',
    { columns: { isbn: text().default(sql`lower(hex(randomblob(4)))`) } },
    'books.isbn: a default must be a plain value, so that the API can document it.',
  ],
  [
    'has a default that is none of its values',
    { columns: { mood: text({ enum: ['good'] }).default('bad' as never) } },
    'books.mood: its default, "bad", is no value that a caller could send.',
  ],
  [
    'has a default that validate refuses',
    { columns: { isbn: text().default('') }, options: { validate: { isbn: z.string().min(10) } } },
    'books.isbn: its default, "", is no value that a caller could send.',
  ],
]

const keys: [string, Wrong, string][] = [
  [
    'a foreign key lacks the tenant',
    { columns: { shelfId: text() }, keys: refersTo(['shelfId'], () => other, ['id']), more: [] },
    "books.shelfId: a foreign key begins with the tenant on both sides, so that no record can refer to another tenant's.",
  ],
  [
    'a column refers by itself',
    { columns: { shelfId: text().references((() => other.id) as never) } },
    "books.shelfId: a foreign key begins with the tenant on both sides, so that no record can refer to another tenant's.",
  ],
  [
    'a foreign key is not to an id',
    { columns: { shelfId: text() }, keys: refersTo(['tenant', 'shelfId'], () => other, ['tenant', 'bookId']) },
    'books.tenant+shelfId: a foreign key is (tenant, column) to (tenant, id), because records are referred to by their ids.',
  ],
  [
    'a foreign key is to no resource',
    { columns: { by: text() }, keys: refersTo(['tenant', 'by'], () => strangers) },
    'books.tenant+by: it refers to the table "strangers", which is no resource of the model.',
  ],
  [
    'a foreign key is a number',
    {
      columns: { shelfId: integer() },
      keys: refersTo(['tenant', 'shelfId'], () => other),
      more: [resource('shelves', other, open as never)],
    },
    'books.tenant+shelfId: ids are text; make shelfId a text().',
  ],
  ...['set null', 'set default'].map((action): [string, Wrong, string] => [
    `a foreign key is ${action} on delete`,
    {
      columns: { shelfId: text() },
      keys: refersTo(['tenant', 'shelfId'], () => other, ['tenant', 'id'], action),
      more: [resource('shelves', other, open as never)],
    },
    `books.tenant+shelfId: on delete ${action} would take the tenant away too; use cascade or restrict.`,
  ]),
  [
    'no index serves a foreign key',
    {
      columns: { shelfId: text() },
      keys: refersTo(['tenant', 'shelfId'], () => other),
      more: [resource('shelves', other, open as never)],
    },
    "books.tenant+shelfId: no index serves this foreign key, so that deleting one of shelves would read all of books; add index('books_by_shelfId').on(t.tenant, t.shelfId, t.id).",
  ],
  [
    'a unique index lacks the tenant',
    { keys: (t) => [uniqueIndex('books_by_title').on(t.title as never)] },
    'books.title: what is unique begins with the tenant, or one tenant could tell what another has; use uniqueIndex(...).on(t.tenant, ...).',
  ],
  [
    'a unique constraint lacks the tenant',
    { keys: (t) => [unique('books_by_title').on(t.title as never, t.pages as never)] },
    'books.title+pages: what is unique begins with the tenant, or one tenant could tell what another has; use uniqueIndex(...).on(t.tenant, ...).',
  ],
  [
    'a column is unique by itself',
    { columns: { isbn: text().unique() } },
    'books.isbn: what is unique begins with the tenant, or one tenant could tell what another has; use uniqueIndex(...).on(t.tenant, ...).',
  ],
  [
    'a derived column is unique',
    {
      columns: { authorName: text().notNull() },
      keys: (t) => [uniqueIndex('books_by_name').on(t.tenant as never, t.authorName as never)],
      options: { derived: { authorName: copy('author', 'name') } },
    },
    "books.tenant+authorName: authorName is derived, so it cannot be unique: other records' writes would fail by it.",
  ],
  [
    'an index has the name of another table’s',
    { authorKeys: (t) => [index('BOOKS_by_author').on(t.tenant as never, t.name as never)] },
    'books: the index "books_by_author" has the name of an index of authors; names of indexes are of the whole database.',
  ],
  [
    'an index has a name as views have',
    { keys: (t) => [index('v1_title').on(t.tenant as never, t.title as never)] },
    'books: the index "v1_title" begins as the names of the views of v1 do; give it another.',
  ],
  [
    'an index has the name of a table',
    { keys: (t) => [index('authors').on(t.tenant as never, t.title as never)] },
    'books: the index "authors" has the name of a table or an index of the engine; names of indexes are of the whole database.',
  ],
]

const served: [string, Wrong, string][] = [
  [
    'a filter is a column that retires',
    {
      columns: { name: text() },
      keys: (t) => [index('books_by_name').on(t.tenant as never, t.name as never)],
      options: { filter: ['name'] },
      versions: [
        ['2026-01-01', 'v1'],
        ['2026-02-01', 'v2', { books: [rename('name', 'title')] }],
      ],
    },
    'books.name: a lens says that it went, so it is no field any more; filter cannot name it.',
  ],
  [
    'a filter is unknown',
    { options: { filter: ['ghost'] } },
    'books.ghost: filter names a field that the table does not have.',
  ],
  [
    'a filter is the tenant',
    { options: { filter: ['tenant'] } },
    'books.tenant: filter names a field that the table does not have.',
  ],
  [
    'a sort is unknown',
    { options: { sort: ['toString'] } },
    'books.toString: sort names a field that the table does not have.',
  ],
  [
    'no index serves a filter',
    { options: { filter: ['title'] } },
    "books.title: no index serves this filter; add index('books_by_title').on(t.tenant, t.title, t.id).",
  ],
  [
    'an index has the filter in another place only',
    {
      options: { filter: ['pages'] },
      keys: (t) => [index('x').on(t.tenant as never, t.title as never, t.pages as never)],
    },
    "books.pages: no index serves this filter; add index('books_by_pages').on(t.tenant, t.pages, t.id).",
  ],
  [
    'a partial index serves a filter',
    {
      options: { filter: ['title'] },
      keys: (t) => [
        index('x')
          .on(t.tenant as never, t.title as never)
          .where(sql`pages > 1`),
      ],
    },
    "books.title: no index serves this filter; add index('books_by_title').on(t.tenant, t.title, t.id).",
  ],
  [
    'no index serves a derived filter',
    {
      authorColumns: { bookCount: integer().notNull().default(0) },
      authors: { derived: { bookCount: count('books') }, filter: ['bookCount'] },
    },
    "authors.bookCount: no index serves this filter; add index('authors_by_bookCount').on(t.tenant, t.bookCount, t.id).",
  ],
  [
    'a sort may be null',
    { options: { sort: ['pages'] }, keys: (t) => [index('x').on(t.tenant as never, t.pages as never)] },
    'books.pages: a sort needs a field that is never null; add .notNull().',
  ],
  [
    'a derived sort may be null',
    {
      authorColumns: { latest: instant() },
      authorKeys: (t) => [index('x').on(t.tenant as never, t.latest as never)],
      authors: { derived: { latest: max('books', 'createdAt') }, sort: ['latest'] },
      keys: (t) => [index('y').on(t.tenant as never, t.authorId as never, t.createdAt as never)],
    },
    'authors.latest: a sort needs a field that is never null; add .notNull().',
  ],
  ...(['filter', 'sort'] as const).map((use): [string, Wrong, string] => [
    `a ${use} is json`,
    { options: { [use]: ['data'] }, keys: (t) => [index('x').on(t.tenant as never, t.data as never)] },
    `books.data: a json field has no order and no equality; it cannot be a ${use}.`,
  ]),
  ...[0, 101, 1.5, Number.NaN].map((pageRowsMax): [string, Wrong, string] => [
    `pageRowsMax is ${pageRowsMax}`,
    { options: { limits: { pageRowsMax } } },
    'books: pageRowsMax must be a whole number from 1 to 100.',
  ]),
  [
    'validate is unknown',
    { options: { validate: { ghost: z.string() } } },
    'books.ghost: validate names a field that the table does not have.',
  ],
  [
    'validate is of a field of every record',
    { options: { validate: { createdAt: z.string() } } },
    'books.createdAt: validate names a field that Perigee keeps and callers cannot write.',
  ],
  [
    'validate is of a derived field',
    {
      columns: { authorName: text().notNull() },
      options: { derived: { authorName: copy('author', 'name') }, validate: { authorName: z.string() } },
    },
    'books.authorName: validate names a field that Perigee keeps and callers cannot write.',
  ],
]

const write = (rule: unknown): Wrong => ({ options: { access: { read: anyone, write: rule } } })
const access: [string, Wrong, string][] = [
  [
    'an owner is in no field',
    write(owner('ghost')),
    'books.ghost: an access rule names a field that the table does not have.',
  ],
  [
    'an owner is the tenant',
    write(anyOf(owner('tenant'))),
    'books.tenant: an access rule names a field that the table does not have.',
  ],
  [
    'a rule within rules is wrong',
    write(anyOf(anyone, anyOf(when('ghost', 1)))),
    'books.ghost: an access rule names a field that the table does not have.',
  ],
  ['an owner is a number', write(owner('pages')), "books.pages: owner() compares a user's id, which is text, with it."],
  [
    'a scope is no word',
    write(scope('Chief Editor')),
    'books: no key can have the scope "Chief Editor"; a scope is small letters, digits, ":", "_" and "-".',
  ],
  [
    'a value is none of the enum',
    write(when('status', 'lost')),
    'books.status: when() compares it with "lost", which it never is.',
  ],
  [
    'a text is compared with a number',
    write(when('title', 1)),
    'books.title: when() compares it with 1, which it never is.',
  ],
  [
    'a number is compared with a text',
    write(when('pages', '1')),
    'books.pages: when() compares it with "1", which it never is.',
  ],
  [
    'an integer is compared with a fraction',
    write(when('pages', 1.5)),
    'books.pages: when() compares it with 1.5, which it never is.',
  ],
  [
    'a real is compared with a text',
    write(when('weight', '1')),
    'books.weight: when() compares it with "1", which it never is.',
  ],
  ['json is compared', write(when('data', '{}')), 'books.data: when() compares it with "{}", which it never is.'],
  [
    'a boolean is compared with 2',
    { columns: { old: integer({ mode: 'boolean' }) }, ...write(when('old', 2)) },
    'books.old: when() compares it with 2, which it never is.',
  ],
]

const relations: [string, Wrong, string][] = [
  [
    'it has the name of a field',
    { options: { relations: { title: belongsTo(() => strangers, 'authorId' as never) } } },
    'books.title: a relation and a field have the same name.',
  ],
  [
    'its name is no word',
    { options: { relations: { the_author: belongsTo(() => strangers, 'authorId' as never) } } },
    `books.the_author: a relation's name is ${nameForm}, and none that every object has.`,
  ],
  [
    'its table is no resource',
    { options: { relations: { owner: belongsTo(() => strangers, 'authorId' as never) } } },
    'books.owner: its table is no resource of the model.',
  ],
  [
    'its table is undefined',
    { options: { relations: { owner: belongsTo(() => undefined as never, 'authorId' as never) } } },
    'books.owner: its table is no resource of the model.',
  ],
  [
    'its joining table is no resource',
    {
      options: {
        relations: {
          shelves: manyToMany(
            () => other,
            () => strangers,
            'id',
            'id',
          ),
        },
      },
      more: [resource('shelves', other, open as never)],
    },
    'books.shelves: its joining table is no resource of the model.',
  ],
  [
    'its joining table is undefined',
    {
      options: {
        relations: {
          shelves: manyToMany(
            () => other,
            () => undefined as never,
            'a' as never,
            'b' as never,
          ),
        },
      },
      more: [resource('shelves', other, open as never)],
    },
    'books.shelves: its joining table is no resource of the model.',
  ],
  [
    'it joins by one column twice',
    {
      options: {
        relations: {
          shelves: manyToMany(
            () => other,
            () => strangers,
            'id',
            'id',
          ),
        },
      },
      more: [resource('shelves', other, open as never)],
    },
    'books.shelves: both its columns are id; name the one that refers to books, then the one to shelves.',
  ],
  [
    'its column has no foreign key',
    {
      authors: { relations: { books: hasMany(() => strangers, 'id') } },
      more: [resource('strangers', strangers, open as never)],
    },
    'authors.books: strangers.id needs a foreign key (tenant, id) to authors (tenant, id).',
  ],
  [
    'its column is not there',
    {
      authors: { relations: { books: hasMany(() => strangers, 'ghost' as never) } },
      more: [resource('strangers', strangers, open as never)],
    },
    'authors.books: strangers.ghost needs a foreign key (tenant, ghost) to authors (tenant, id).',
  ],
]

const counted = integer().notNull().default(0)
const aggregate = (derived: unknown, column: SQLiteColumnBuilderBase = counted): Wrong => ({
  authorColumns: { so: column },
  authors: { derived: { so: derived } },
})
const copied = (derived: unknown, column: SQLiteColumnBuilderBase = text()): Wrong => ({
  columns: { so: column },
  options: { derived: { so: derived } },
})
const selfish = tableOf('nodes', { ...identity, parentId: text(), children: counted }, (t) => [
  ...ownKey(t),
  foreignKey({ columns: [t.tenant, t.parentId] as never, foreignColumns: [t.tenant, t.id] as never }),
  index('nodes_by_parent').on(t.tenant as never, t.parentId as never),
])
const indexOn =
  (...names: string[]) =>
  (t: Columns) => [index('x').on(t.tenant as never, ...(names.map((name) => t[name]) as never[]))]

const derived: [string, Wrong, string][] = [
  [
    'there is no such column',
    { options: { derived: { so: copy('author', 'name') } } },
    'books.so: a derived column is a real column; add it to the table.',
  ],
  [
    'it is a column of every table',
    { authors: { derived: { version: count('books') } } },
    'authors.version: Perigee keeps this column itself; derive into another.',
  ],
  [
    'it is a foreign key',
    { options: { derived: { authorId: copy('author', 'name') } } },
    'books.authorId: a foreign key cannot be derived.',
  ],
  [
    'its relation is unknown',
    aggregate(count('ghosts')),
    'authors.so: count names the relation "ghosts", which authors does not declare.',
  ],
  [
    'its relation is what every object has',
    aggregate(count('constructor')),
    'authors.so: count names the relation "constructor", which authors does not declare.',
  ],
  [
    'a copy follows a list',
    aggregate(copy('books', 'title'), text()),
    'authors.so: copy follows a belongsTo relation; "books" is hasMany.',
  ],
  [
    'a count follows one record',
    copied(count('author'), counted),
    'books.so: count follows a hasMany relation; "author" is belongsTo.',
  ],
  [
    'it follows its own resource',
    {
      more: [
        resource('nodes', selfish, {
          ...open,
          relations: { below: hasMany(() => selfish, 'parentId' as never) },
          derived: { children: count('below') },
        } as never),
      ],
    },
    'nodes.children: a derived column cannot follow a relation of nodes to itself.',
  ],
  ...[0, 0.5, Number.NaN].map((fanoutRowsMax): [string, Wrong, string] => [
    `fanoutRowsMax is ${fanoutRowsMax}`,
    copied(copy('author', 'name', { fanoutRowsMax })),
    'books.so: fanoutRowsMax must be a whole number from 1.',
  ]),
  [
    'a count may be null',
    aggregate(count('books'), integer().default(0)),
    'authors.so: a count is integer().notNull().default(0).',
  ],
  [
    'a count begins at 1',
    aggregate(count('books'), integer().notNull().default(1)),
    'authors.so: a count is integer().notNull().default(0).',
  ],
  [
    'a sum is a fraction',
    aggregate(sum('books', 'pages'), real().notNull().default(0)),
    'authors.so: a sum is integer().notNull().default(0).',
  ],
  ['its field is unknown', aggregate(sum('books', 'ghost')), 'authors.so: books has no field "ghost".'],
  ['its field is the tenant', copied(copy('author', 'tenant')), 'books.so: authors has no field "tenant".'],
  [
    'its field is the version',
    aggregate(sum('books', 'version')),
    'authors.so: books.version moves with every change and cannot be derived from; use updatedAt.',
  ],
  [
    'its field is derived itself',
    {
      columns: { so: text().notNull() },
      options: { derived: { so: copy('author', 'name') } },
      authorColumns: { of: text() },
      authors: { derived: { of: max('books', 'so') } },
      keys: indexOn('authorId', 'so'),
    },
    'authors.of: books.so is derived itself; derive from the field it comes from.',
  ],
  [
    'a sum is over fractions',
    aggregate(sum('books', 'weight')),
    'authors.so: sum takes an integer field; sums of fractions drift.',
  ],
  [
    'no index finds the greatest',
    aggregate(max('books', 'pages'), integer()),
    'authors.so: keeping it true needs an index; add index(...).on(t.tenant, t.authorId, t.pages) to books.',
  ],
  [
    'the greatest cannot be null',
    { ...aggregate(max('books', 'pages'), integer().notNull()), keys: indexOn('authorId', 'pages') },
    'authors.so: it may be null (no record to take it from, or a null there); take .notNull() away.',
  ],
  [
    'a copy of what may be null cannot be',
    copied(copy('author', 'rank'), integer().notNull()),
    'books.so: it may be null (no record to take it from, or a null there); take .notNull() away.',
  ],
  [
    'the greatest of json',
    { ...aggregate(max('books', 'data'), text({ mode: 'json' })), keys: indexOn('authorId', 'data') },
    'authors.so: books.data is json, which has no order; max takes another field.',
  ],
  [
    'a copy has another type',
    copied(copy('author', 'rank')),
    'books.so: its type is text, that of authors.rank is integer.',
  ],
  [
    'a copy of a time is plain text',
    copied(copy('author', 'createdAt')),
    'books.so: its type is text, that of authors.createdAt is instant.',
  ],
]

describe('a model is refused with the sentence that names the mistake', () => {
  test.each(versions)('a version: %s', (_, wrong, sentence) => expect(mistakesOf(wrong)).toContain(sentence))
  test.each(tables)('a table: %s', (_, wrong, sentence) => expect(mistakesOf(wrong)).toContain(sentence))
  test.each(columns)('a column %s', (_, wrong, sentence) => expect(mistakesOf(wrong)).toContain(sentence))
  test.each(keys)('a key: %s', (_, wrong, sentence) => expect(mistakesOf(wrong)).toContain(sentence))
  test.each(served)('a list: %s', (_, wrong, sentence) => expect(mistakesOf(wrong)).toContain(sentence))
  test.each(access)('access: %s', (_, wrong, sentence) => expect(mistakesOf(wrong)).toContain(sentence))
  test.each(relations)('a relation: %s', (_, wrong, sentence) => expect(mistakesOf(wrong)).toContain(sentence))
  test.each(readModels)('a read model: %s', (_, wrong, sentence) => expect(withReadModel(wrong)).toContain(sentence))
  test.each(derived)('a derived column: %s', (_, wrong, sentence) => expect(mistakesOf(wrong)).toContain(sentence))
})

describe('the checks', () => {
  test('refuse nothing of the library itself', () => expect(mistakesOf({})).toEqual([]))

  test('refuse nothing that is allowed and near to what is not', () => {
    const wrong: Wrong = {
      columns: {
        authorName: text().notNull(),
        old: integer({ mode: 'boolean' }).notNull().default(false),
        at: instant(),
      },
      keys: (t) => [
        uniqueIndex('books_by_title').on(t.tenant as never, t.title as never),
        index('books_by_old').on(t.tenant as never, t.old as never),
      ],
      options: {
        filter: ['title', 'old', 'authorId'],
        sort: ['title', 'old'],
        access: {
          read: anyOf(when('status', 'lent'), when('old', 1), when('weight', 0.5)),
          write: anyOf(owner('title'), scope('a:b')),
        },
        limits: { pageRowsMax: 100 },
      },
    }
    expect(mistakesOf(wrong)).toEqual([])
  })

  test('let through a read model that is right', () => {
    const keys = (t: Columns) => [index('counts_by_author').on(t.tenant as never, t.authorId as never)]
    const relations = (authors: IdentifiedTable) => ({ author: belongsTo(() => authors, 'authorId') })
    const rest = (counts: IdentifiedTable) => ({
      authors: { relations: { counts: hasMany(() => counts, 'authorId' as never) } },
    })
    expect(withReadModel({ keys, relations, rest, options: { filter: ['authorId'] } })).toEqual([])
  })

  test('tell every mistake at once', () => {
    const mistakes = mistakesOf({
      columns: { sort: text(), cover: blob() },
      options: { filter: ['ghost'], derived: { so: copy('author', 'name') } },
      versions: [['soon', 'v1']],
    })
    expect(mistakes).toHaveLength(5)
    expect(new ModelError(mistakes).message).toBe(
      `The model has 5 mistake(s):\n${mistakes.map((each) => `  - ${each}`).join('\n')}`,
    )
  })

  test('have no sentence that no case here reaches', () => {
    const folder = join(import.meta.dir, '..', '..', 'src', 'schema')
    const source = readdirSync(folder)
      .filter((name) => /^check.*\.ts$/.test(name))
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('\n')
    const told = [
      ...versions,
      ...tables,
      ...columns,
      ...keys,
      ...served,
      ...access,
      ...relations,
      ...derived,
      ...readModels,
    ].map(([, , sentence]) => sentence)
    const literals = [...source.matchAll(/(?:yield|return \[|=>)\s*(?:`((?:[^`\\]|\\.)*)`|'([^']*)')/g)].map(
      (match) => match[1] ?? match[2] ?? '',
    )
    const sentences = literals.filter((literal) => !literal.startsWith('  - '))
    expect(sentences.length).toBeGreaterThan(50)
    const unreached = sentences.filter((literal) => {
      const parts = literal
        .split(/\$\{(?:[^{}]|\{[^}]*\})*\}/)
        .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      return !told.some((sentence) => new RegExp(`^${parts.join('.*')}$`, 's').test(sentence))
    })
    expect(unreached).toEqual([])
  })
})
