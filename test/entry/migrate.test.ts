import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { migrateFile, pendingMigrations } from '../../src/store/migrate.ts'
import { migrationsOf } from '../../src/store/migrations.ts'
import { runCommand } from '../support/command.ts'
import { addMigration, copyProject, type Project } from '../support/project.ts'

setDefaultTimeout(60_000)

const time = '2026-01-01T00:00:00.000Z'

describe('migrating a database that has data', () => {
  let project: Project
  let file: string
  let folder: string
  beforeEach(async () => {
    project = copyProject()
    file = join(project.root, 'perigee.db')
    folder = join(project.root, 'drizzle')
    await migrateFile(file, folder, bunSqlite)
    using database = new Database(file)
    database.run(`insert into users(tenant, id, createdAt, updatedAt, handle, name)
      values ('demo', 'u1', '${time}', '${time}', 'one', 'Same'), ('demo', 'u2', '${time}', '${time}', 'two', 'Same')`)
    database.run(`insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title)
      values ('demo', 'p1', '${time}', '${time}', 'u1', 'p1', 'Post')`)
  })
  afterEach(() => project.remove())

  const tables = () => {
    using database = new Database(file, { readonly: true })
    return database.query("select name, sql from sqlite_master union all select 'users', count(*) from users").values()
  }

  test.each([
    [
      'makes unique what is not',
      'CREATE UNIQUE INDEX users_by_name ON users(tenant, name);',
      'UNIQUE constraint failed',
    ],
    [
      'leaves a reference to nothing',
      "DELETE FROM users WHERE id = 'u1';",
      'the migrations would leave 1 broken foreign keys',
    ],
    [
      'is no SQL',
      'CREATE TABLE more (id text);--> statement-breakpoint\nMAKE IT SO;',
      '_wrong.sql: near "MAKE": syntax error',
    ],
  ])('a migration that %s fails whole: the database is as it was', async (_, sql, message) => {
    const before = tables()
    addMigration(project, 'wrong', sql)
    await expect(migrateFile(file, folder, bunSqlite)).rejects.toThrow(message)
    expect(tables()).toEqual(before)
    expect((await pendingMigrations(file, folder, bunSqlite)).map((migration) => migration.tag)).toEqual([
      migrationsOf(folder).at(-1)?.tag ?? '',
    ])
  })

  test('a migration that was committed earlier and merged later is applied all the same', async () => {
    addMigration(project, 'mine', 'CREATE TABLE mine (id text) STRICT;')
    await migrateFile(file, folder, bunSqlite)
    const times = migrationsOf(folder).map((migration) => migration.when)
    addMigration(project, 'theirs', 'CREATE TABLE theirs (id text) STRICT;', Math.max(...times) - 500)
    expect(await pendingMigrations(file, folder, bunSqlite)).toHaveLength(1)
    await migrateFile(file, folder, bunSqlite)
    expect(await pendingMigrations(file, folder, bunSqlite)).toEqual([])
    using database = new Database(file)
    expect(
      database.query("select name from sqlite_master where name in ('mine', 'theirs') order by name").values(),
    ).toEqual([['mine'], ['theirs']])
  })

  test('processes that migrate at the same time wait for each other', async () => {
    const env = { DATA_DIR: join(project.root, 'together') }
    const ran = await Promise.all(Array.from({ length: 4 }, () => runCommand(['migrate'], { env })))
    expect(ran.map(({ code, err }) => [code, err])).toEqual(ran.map(() => [0, '']))
    using database = new Database(join(env.DATA_DIR, 'perigee.db'), { readonly: true })
    expect(database.query('select count(*) from __drizzle_migrations').values()).toEqual([
      [migrationsOf(folder).length],
    ])
    expect(database.query("select count(*) from meta where name in ('epoch', 'secret')").values()).toEqual([[2]])
  })
})
