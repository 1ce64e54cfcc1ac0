import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { madeChanges } from '../../src/entry/generate.ts'
import { model } from '../../src/model/index.ts'
import { connectionOver } from '../../src/store/bun-sqlite.ts'
import { migrateDatabase } from '../../src/store/migrate.ts'
import { migrationsOf } from '../../src/store/migrations.ts'
import { runCommand } from '../support/command.ts'
import { addMigration, copyProject, keepOneVersion, type Project, projectRoot } from '../support/project.ts'

setDefaultTimeout(60_000)

const migrations = join(projectRoot, 'drizzle')
const generate = (project: Project, name = 'next') => runCommand(['generate', '--name', name], { root: project.root })

describe('the committed migrations', () => {
  test('make the triggers and the views of the model', async () => {
    expect(await madeChanges(migrations, model)).toEqual([])
  })

  test('make the tables of the model, by drizzle-kit', async () => {
    const { generateSQLiteDrizzleJson, generateSQLiteMigration } = await import('drizzle-kit/api')
    const tables = await Promise.all(
      ['model/users', 'model/posts', 'model/comments', 'model/tags', 'model/activity', 'store/tables'].map(
        (file) => import(`../../src/${file}.ts`) as Promise<Record<string, unknown>>,
      ),
    )
    const number = String(migrationsOf(migrations).length - 1).padStart(4, '0')
    const last = JSON.parse(readFileSync(join(migrations, 'meta', `${number}_snapshot.json`), 'utf8'))
    const wanted = await generateSQLiteDrizzleJson(Object.assign({}, ...tables))
    expect(await generateSQLiteMigration(last, wanted)).toEqual([])
  })

  test('are all that is needed: generate writes nothing', async () => {
    const project = copyProject()
    try {
      const before = project.files('drizzle')
      const { code, out } = await generate(project)
      expect(out).toContain('The migrations already make the model.')
      expect([code, project.files('drizzle')]).toEqual([0, before])
    } finally {
      project.remove()
    }
  })

  test('make STRICT tables only, SQLite’s and drizzle’s own apart', async () => {
    using database = new Database(':memory:')
    await migrateDatabase(connectionOver(database), migrations)
    expect(looseTables(database)).toEqual([])
  })
})

function looseTables(database: Database): unknown[] {
  return database
    .query("select name from pragma_table_list where schema = 'main' and type = 'table' and strict = 0")
    .values()
    .flat()
    .filter((name) => !/^(sqlite_|__drizzle_)/.test(String(name)))
}

const time = '2026-01-01T00:00:00.000Z'

/** A database as the committed migrations make it, with two users, three posts and two comments. */
async function databaseWithData(): Promise<Database> {
  const database = new Database(':memory:')
  await migrateDatabase(connectionOver(database), migrations)
  database.run('pragma foreign_keys = on')
  for (const id of ['u1', 'u2'])
    database.run(`insert into users(tenant, id, createdAt, updatedAt, handle, name)
      values ('demo', '${id}', '${time}', '${time}', '${id}', 'User ${id}')`)
  for (const [id, author] of [
    ['p1', 'u1'],
    ['p2', 'u1'],
    ['p3', 'u2'],
  ])
    database.run(`insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title, words, meta)
      values ('demo', '${id}', '${time}', '${time}', '${author}', '${id}', 'Post ${id}', 10, '{"a":1}')`)
  for (const id of ['c1', 'c2'])
    database.run(`insert into comments(tenant, id, createdAt, updatedAt, postId, authorId, body)
      values ('demo', '${id}', '${time}', '${time}', 'p1', 'u2', 'Yes')`)
  return database
}

interface Change {
  /** What the model's author does. */
  readonly what: string
  readonly edit: (project: Project) => void
  /** What the migrated database must answer, beside what it must in every case. */
  readonly holds: readonly (readonly [string, string | number])[]
}

const posts = 'src/model/posts.ts'
const users = 'src/model/users.ts'
const changes: readonly Change[] = [
  {
    what: 'a column is added that may be null',
    edit: (project) => project.edit(posts, 'words: integer()', 'subtitle: text({ length: 80 }),\n    words: integer()'),
    holds: [["select count(*) from posts where subtitle is null and body = ''", 3]],
  },
  {
    what: 'a check is added, so that drizzle-kit makes the table anew',
    edit: (project) =>
      project.edit(
        posts,
        "oneOf('posts_status'",
        "lengthBetween('posts_slug_length', t.slug, 1, 214),\n    oneOf('posts_status'",
      ),
    holds: [['select count(*) from posts where meta = \'{"a":1}\'', 3]],
  },
  {
    what: 'a check and columns are added at once, so that the table made anew has columns that the old one lacks',
    edit: (project) => {
      project.edit(
        posts,
        'words: integer()',
        "subtitle: text(),\n    mood: text().notNull().default('calm'),\n    words: integer()",
      )
      project.edit(
        posts,
        "oneOf('posts_status'",
        "lengthBetween('posts_slug_length', t.slug, 1, 214),\n    oneOf('posts_status'",
      )
    },
    holds: [["select count(*) from posts where subtitle is null and mood = 'calm'", 3]],
  },
  {
    what: 'a column becomes NOT NULL',
    edit: (project) =>
      project.edit(
        users,
        'homepage: text({ length: 500 }),',
        "homepage: text({ length: 500 }).notNull().default('https://example.com'),",
      ),
    holds: [["select count(*) from users where homepage = 'https://example.com'", 2]],
  },
  {
    what: 'a column that the triggers name is dropped',
    edit: (project) => {
      project.edit(posts, "    meta: text({ mode: 'json' }).$type<Record<string, unknown>>(),\n", '')
      project.edit(posts, '    meta: z.record(z.string(), z.unknown()),\n', '')
    },
    holds: [["select count(*) from pragma_table_info('posts') where name = 'meta'", 0]],
  },
  {
    what: 'a derived column is added to records that have what it counts',
    edit: (project) => {
      project.edit(
        users,
        "import { posts } from './posts.ts'",
        "import { comments } from './comments.ts'\nimport { posts } from './posts.ts'",
      )
      project.edit(
        users,
        'postCount: integer()',
        'commentCount: integer().notNull().default(0),\n    postCount: integer()',
      )
      project.edit(
        users,
        "hasMany(() => posts, 'authorId')",
        "hasMany(() => posts, 'authorId'), comments: hasMany(() => comments, 'authorId')",
      )
      project.edit(users, "postCount: count('posts')", "commentCount: count('comments'), postCount: count('posts')")
    },
    holds: [
      ['select group_concat(commentCount) from (select commentCount from users order by id)', '0,2'],
      [
        "select json_extract(image, '$.commentCount') from changes where resource = 'users' and id = 'u2' order by seq desc limit 1",
        2,
      ],
    ],
  },
  {
    what: 'a copy follows another field than it did',
    edit: (project) => project.edit(posts, "copy('author', 'name')", "copy('author', 'handle')"),
    holds: [['select group_concat(authorName) from (select authorName from posts order by id)', 'u1,u1,u2']],
  },
  {
    what: 'an index and a table are added',
    edit: (project) => {
      project.edit(
        posts,
        "index('posts_newest')",
        "index('posts_by_title').on(t.tenant, t.title, t.id),\n    index('posts_newest')",
      )
      project.edit(
        'src/model/versions.ts',
        'import',
        "import { identity } from '../schema/index.ts'\nimport { primaryKey, sqliteTable } from 'drizzle-orm/sqlite-core'\nexport const notes = sqliteTable('notes', { ...identity }, (t) => [primaryKey({ columns: [t.tenant, t.id] })])\nimport",
      )
    },
    holds: [["select count(*) from sqlite_master where name in ('posts_by_title', 'notes')", 2]],
  },
]

describe('generate', () => {
  let project: Project
  beforeEach(() => {
    project = copyProject()
    keepOneVersion(project)
  })
  afterEach(() => project.remove())

  test.each(changes.map((change) => [change.what, change] as const))(
    'when %s: one new migration, the older as they were, the data and its promises kept',
    async (_, change) => {
      const before = project.files('drizzle')
      using database = await databaseWithData()
      const content =
        'select (select count(*) from users), (select count(*) from posts), (select count(*) from comments)'
      expect(database.query(content).values()).toEqual([[2, 3, 2]])

      change.edit(project)
      const { code, out, err } = await generate(project)
      const number = String(migrationsOf(migrations).length).padStart(4, '0')
      expect([code, err]).toEqual([0, ''])
      expect(out).toContain(`Wrote drizzle/${number}_next.sql`)
      const after = project.files('drizzle')
      expect(Object.keys(after).filter((path) => !(path in before))).toEqual([
        `${number}_next.sql`,
        `meta/${number}_snapshot.json`,
      ])
      expect(Object.keys(before).filter((path) => after[path] !== before[path])).toEqual(['meta/_journal.json'])

      await migrateDatabase(connectionOver(database), join(project.root, 'drizzle'))
      database.run('pragma foreign_keys = on')
      expect(database.query(content).values()).toEqual([[2, 3, 2]])
      expect(looseTables(database)).toEqual([])
      expect(database.query('pragma foreign_key_check').all()).toEqual([])
      for (const [sql, answer] of change.holds) expect([sql, one(database, sql)]).toEqual([sql, answer])
      expectPromisesKept(database)
      expect((await generate(project)).out).toContain('The migrations already make the model.')
    },
  )

  test.each([
    [
      'a column without a value for the records that are there',
      (to: Project) => to.edit(posts, 'words: integer()', 'subtitle: text().notNull(),\n    words: integer()'),
      'posts.subtitle: the records that are there would have no value for it; give the column a default, or let it be null.',
    ],
    [
      'the same, in a table that is made anew',
      (to: Project) => {
        to.edit(posts, 'words: integer()', 'subtitle: text().notNull(),\n    words: integer()')
        to.edit(
          posts,
          "oneOf('posts_status'",
          "lengthBetween('posts_slug_length', t.slug, 1, 214),\n    oneOf('posts_status'",
        )
      },
      'posts.subtitle: the records that are there would have no value for it; give the column a default, or let it be null.',
    ],
    [
      'a column that may have been renamed, without a terminal to ask at',
      (to: Project) => {
        to.edit(users, 'homepage: text({ length: 500 })', 'site: text({ length: 500 })')
        to.edit(users, 'homepage: z.url', 'site: z.url')
      },
      'users: the migration does not make site. drizzle-kit asks at a terminal whether a column or table was renamed: run "bun run generate" in one.',
    ],
  ])('refuses %s, and leaves nothing behind', async (_, edit, message) => {
    edit(project)
    const before = project.files('drizzle')
    const { code, err } = await generate(project)
    expect(err).toContain(message)
    expect(err).not.toContain('    at ')
    expect([code, project.files('drizzle')]).toEqual([1, before])
  })

  test('keeps triggers and views that the authors of the model made, through a table made anew', async () => {
    const own = [
      'CREATE VIEW loud AS select upper(title) as title from posts',
      'CREATE TRIGGER shout AFTER INSERT ON tags BEGIN update posts set title = upper(title) where tenant = new.tenant; END',
      'CREATE TRIGGER notes_after_insert AFTER INSERT ON notes BEGIN delete from notes where text is null; END',
    ]
    addMigration(project, 'own', ['CREATE TABLE notes (text)', ...own].join(';\n--> statement-breakpoint\n'))
    project.edit(
      posts,
      "oneOf('posts_status'",
      "lengthBetween('posts_slug_length', t.slug, 1, 214),\n    oneOf('posts_status'",
    )
    expect((await generate(project)).code).toBe(0)
    using database = await databaseWithData()
    await migrateDatabase(connectionOver(database), join(project.root, 'drizzle'))
    const kept = database.query(
      "select sql from sqlite_master where name in ('loud', 'shout', 'notes_after_insert') order by type desc, name desc",
    )
    expect(kept.values()).toEqual(own.map((sql) => [sql]))
  })
})

const one = (database: Database, sql: string) => database.query(sql).values()[0]?.[0]

/** Derived columns follow, versions count, and the log tells what the tables have, after as before. */
function expectPromisesKept(database: Database) {
  const logged = Number(one(database, 'select max(seq) from changes'))
  const version = Number(one(database, "select version from posts where id = 'p1'"))
  database.run(`insert into comments(tenant, id, createdAt, updatedAt, postId, authorId, body)
    values ('demo', 'c9', '${time}', '${time}', 'p1', 'u1', 'No')`)
  expect(one(database, "select commentCount from posts where id = 'p1'")).toBe(3)
  expect(one(database, "select authorName <> '' from comments where id = 'c9'")).toBe(1)
  expect(one(database, "select version from posts where id = 'p1'")).toBe(version + 1)
  expect(Number(one(database, 'select max(seq) from changes'))).toBeGreaterThan(logged)
  database.run("update users set name = 'Renamed', handle = 'renamed' where id = 'u1'")
  expect(one(database, "select count(*) from posts where authorName in ('Renamed', 'renamed')")).toBe(2)
  const image = JSON.parse(
    String(one(database, "select image from changes where resource = 'posts' and id = 'p1' order by seq desc limit 1")),
  )
  const columns = database.query("select name from pragma_table_info('posts') where name <> 'tenant'").values().flat()
  expect(Object.keys(image).sort()).toEqual(columns.map(String).sort())
  expect(() => database.run("update posts set status = 'lost' where id = 'p1'")).toThrow('CHECK constraint failed')
  expect(() => database.run("update posts set words = 'many' where id = 'p1'")).toThrow('cannot store TEXT value')
}
