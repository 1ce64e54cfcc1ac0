import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { migrateLibsql, pendingLibsqlMigrations } from '../../src/store/libsql-migrate.ts'
import { openLibsqlReader } from '../../src/store/libsql-reader.ts'
import { migrationsOf } from '../../src/store/migrations.ts'
import { runCommand, startCommand } from '../support/command.ts'
import { addMigration, copyProject, type Project, projectRoot } from '../support/project.ts'
import { call, temporaryFolder } from '../support/server.ts'
import { startSqld, type TestSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

const folder = join(projectRoot, 'drizzle')

async function valuesIn(sqld: TestSqld, sql: string) {
  const reader = openLibsqlReader(sqld)
  try {
    return await reader.rows(sql, [])
  } finally {
    reader.close()
  }
}

describe('migrating a libSQL server', () => {
  let sqld: TestSqld
  let project: Project
  beforeAll(async () => {
    sqld = await startSqld()
  })
  afterAll(() => sqld.remove())
  beforeEach(() => {
    project = copyProject()
  })
  afterEach(() => project.remove())

  test('by several at the same time does it once, with the tables that a file would have', async () => {
    const env = { LIBSQL_URL: sqld.url, LIBSQL_TOKEN: sqld.token }
    const ran = await Promise.all(Array.from({ length: 4 }, () => runCommand(['migrate'], { env })))
    expect(ran.map(({ code, err }) => [code, err])).toEqual(ran.map(() => [0, '']))
    expect(await valuesIn(sqld, 'select count(*) from __drizzle_migrations')).toEqual([[migrationsOf(folder).length]])
    expect(await valuesIn(sqld, 'select name, length(value) from meta order by name')).toEqual([
      ['epoch', 8],
      ['secret', 43],
    ])
    const loose = "select name from pragma_table_list where schema = 'main' and type = 'table' and strict = 0"
    const names = (await valuesIn(sqld, loose)).flat().filter((name) => !/^(sqlite_|__drizzle_)/.test(String(name)))
    expect(names.filter((name) => !/^libsql_/.test(String(name)))).toEqual([])
    expect(await valuesIn(sqld, "select wr from pragma_table_list where name = 'heads'")).toEqual([[1]])
  })

  test.each([
    [
      'makes unique what is not',
      'CREATE UNIQUE INDEX users_by_name ON users(tenant, name);',
      'UNIQUE constraint failed',
    ],
    ['leaves a reference to nothing', "DELETE FROM users WHERE id = 'u1';", 'would leave 1 broken foreign keys'],
    [
      'is no SQL',
      'CREATE TABLE more (id text);--> statement-breakpoint\nMAKE IT SO;',
      '_wrong.sql: SQL string could not be parsed',
    ],
  ])('a migration that %s fails whole: the database is as it was', async (_, sql, message) => {
    await migrateLibsql(sqld, folder)
    addMigration(
      project,
      'rows',
      `insert or ignore into users(tenant, id, createdAt, updatedAt, handle, name)
        values ('demo', 'u1', 't', 't', 'one', 'Same'), ('demo', 'u2', 't', 't', 'two', 'Same');--> statement-breakpoint
      insert or ignore into posts(tenant, id, createdAt, updatedAt, authorId, slug, title)
        values ('demo', 'p1', 't', 't', 'u1', 'p1', 'Post');`,
    )
    const own = join(project.root, 'drizzle')
    await migrateLibsql(sqld, own)
    const tables = "select name, sql from sqlite_master union all select 'users', count(*) from users"
    const before = await valuesIn(sqld, tables)
    addMigration(project, 'wrong', sql)
    await expect(migrateLibsql(sqld, own)).rejects.toThrow(message)
    expect(await valuesIn(sqld, tables)).toEqual(before)
    const pending = await pendingLibsqlMigrations(sqld, own)
    expect(pending.map(({ tag }) => tag.slice(5))).toEqual(['wrong'])
  })
})

describe('a node on a libSQL server', () => {
  let sqld: TestSqld
  let data: ReturnType<typeof temporaryFolder>
  beforeAll(async () => {
    sqld = await startSqld()
    data = temporaryFolder()
  })
  afterAll(async () => {
    await sqld.remove()
    data.remove()
  })

  test('has every command: migrate, keys, import, audit and serve', async () => {
    const env = { LIBSQL_URL: sqld.url, LIBSQL_TOKEN: sqld.token, DATA_DIR: data.path, PORT: '0' }
    const run = async (...args: string[]) => {
      const ran = await runCommand(args, { env })
      expect([args, ran.code, args[0] === 'keys' ? '' : ran.err]).toEqual([args, 0, ''])
      return ran.out
    }
    const unready = await runCommand(['serve'], { env })
    expect([unready.code, unready.err]).toEqual([
      1,
      `The database at ${sqld.url} lacks ${migrationsOf(folder).length} migration(s). Run "bun run migrate".\n`,
    ])
    expect(await run('migrate')).toBe(
      `The database at ${sqld.url} had ${migrationsOf(folder).length} migration(s) applied.\n`,
    )
    expect(await run('migrate')).toBe(`The database at ${sqld.url} is up to date.\n`)
    const key = (await run('keys', 'create', '--tenant', 'demo', '--scopes', 'read,write')).trim()
    expect(await run('keys', 'list')).toContain('\tdemo\tread,write\t')
    const modules = join(data.path, 'node_modules', 'plain')
    mkdirSync(modules, { recursive: true })
    writeFileSync(join(modules, 'package.json'), JSON.stringify({ name: 'plain', version: '1.0.0', author: 'Ada' }))
    writeFileSync(join(modules, 'README.md'), '# Plain\n\nA package.')
    expect(await run('import', join(data.path, 'node_modules'))).toContain('Read 1 packages: wrote 1 posts, 1 users')
    expect(await run('audit', '--repair')).toContain('Every derived column is true.')
    const served = startCommand(['serve'], { env })
    try {
      const [, url] = await served.line(/^Perigee is at (\S+)$/)
      const posts = await call(url ?? '', 'GET', '/posts?include=author', { key })
      expect(posts.body.data.map((post: { author: { name: string } }) => post.author.name)).toEqual(['Ada'])
    } finally {
      served.kill('SIGTERM')
      expect(await served.exited).toBe(0)
    }
  })

  test.each([
    [
      'a token that is none',
      () => ({ LIBSQL_URL: sqld.url, LIBSQL_TOKEN: 'none' }),
      'does not take requests: HTTP 401',
    ],
    ['no token', () => ({ LIBSQL_URL: sqld.url }), 'does not take requests: HTTP 401'],
    [
      'a server that is not there',
      () => ({ LIBSQL_URL: 'http://127.0.0.1:1' }),
      'does not take requests: ECONNREFUSED',
    ],
  ])('with %s is told so, with code 2', async (_, env, message) => {
    for (const command of ['migrate', 'serve', 'keys list']) {
      const ran = await runCommand(command.split(' '), { env: { ...env(), DATA_DIR: data.path, PORT: '0' } })
      expect([command, ran.code, ran.err]).toEqual([command, 2, expect.stringContaining(message)])
      expect(ran.err.trim().split('\n')).toHaveLength(1)
      expect(ran.err).toContain('Check it and LIBSQL_TOKEN')
    }
  })
})
