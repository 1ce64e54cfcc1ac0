import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { migrateFile } from '../../src/store/migrate.ts'
import { runCommand, startCommand } from '../support/command.ts'
import { contractExample, expandExample } from '../support/next-release.ts'
import { spawnServer } from '../support/process.ts'
import { copyProject, type Project, projectRoot } from '../support/project.ts'
import { call, temporaryFolder } from '../support/server.ts'

setDefaultTimeout(60_000)

/** This release of the example, the next one, and the one after it, with their migrations. */
let next: Project
let last: Project
let said: { readonly expand: string; readonly contract: string }
const folder = temporaryFolder()
beforeAll(async () => {
  next = copyProject()
  expandExample(next)
  const expand = await runCommand(['generate', '--name', 'expand'], { root: next.root })
  last = copyProject(next.root)
  contractExample(last)
  const contract = await runCommand(['generate', '--name', 'contract'], { root: last.root })
  expect([expand.code, expand.err, contract.code, contract.err]).toEqual([0, '', 0, ''])
  said = { expand: expand.out, contract: contract.out }
})
afterAll(() => {
  next.remove()
  last.remove()
  folder.remove()
})

const migrations = (project: { readonly root: string }) => join(project.root, 'drizzle')
const written = (project: Project, name: string) => {
  const found = Object.entries(project.files('drizzle')).find(([path]) => path.endsWith(`_${name}.sql`))
  return (found?.[1] ?? '').split('--> statement-breakpoint').map((sql) => sql.trim())
}

describe('what generate writes for a change that lenses declare', () => {
  test('adds columns and leaves those that retire, and says that the release before may run', () => {
    const kinds = written(next, 'expand').map((sql) => sql.split(' ').slice(0, 2).join(' '))
    expect([...new Set(kinds)].sort()).toEqual([
      'ALTER TABLE',
      'CREATE TRIGGER',
      'CREATE VIEW',
      'DROP TRIGGER',
      'DROP VIEW',
      'INSERT INTO',
    ])
    expect(written(next, 'expand').filter((sql) => sql.startsWith('ALTER'))).toEqual([
      "ALTER TABLE `comments` ADD `text` text DEFAULT '' NOT NULL;",
      "ALTER TABLE `users` ADD `givenName` text DEFAULT '' NOT NULL;",
      'ALTER TABLE `users` ADD `familyName` text;',
    ])
    expect(said.expand).toContain('users.name, comments.body: kept true for nodes of the release before.')
  })

  test('begins with the question whether all is filled where it drops them, and says who must not run', () => {
    expect(written(last, 'contract').slice(0, 2)).toEqual([
      "DELETE FROM retiring WHERE resource = 'comments' AND field = 'body';",
      "DELETE FROM retiring WHERE resource = 'users' AND field = 'name';",
    ])
    expect(said.contract).toContain('goes. Nodes that have it as a field must have ended.')
  })

  test('is nothing where both are done at once: the two steps are told', async () => {
    const project = copyProject()
    try {
      expandExample(project)
      contractExample(project)
      const before = project.files('drizzle')
      const { code, err } = await runCommand(['generate'], { root: project.root })
      expect(err).toStartWith('users.name: nodes of the release before write this column until the last of them ends.')
      expect([code, project.files('drizzle')]).toEqual([1, before])
    } finally {
      project.remove()
    }
  })
})

const time = '2026-01-01T00:00:00.000Z'
const users = 10_000
const idOf = (n: number) => `0190a000-0000-7000-8000-${String(n).padStart(12, '0')}`

/** A database of this release, in a folder of its own, with that many users; every third has one name. */
async function databaseOfThisRelease(name: string) {
  const dataDir = join(folder.path, name)
  mkdirSync(dataDir)
  const file = join(dataDir, 'perigee.db')
  await migrateFile(file, migrations({ root: projectRoot }), bunSqlite)
  const database = new Database(file, { readwrite: true })
  database.run('pragma busy_timeout = 10000')
  database.run(`insert into users(tenant, id, createdAt, updatedAt, handle, name)
    with recursive n(i) as (select 1 union all select i + 1 from n where i < ${users})
    select 'demo', printf('0190a000-0000-7000-8000-%012d', i), '${time}', '${time}', 'u' || i, iif(i % 3, 'Ada L. ' || i, 'Ada' || i) from n`)
  return { dataDir, file, database, [Symbol.dispose]: () => database.close() }
}

const one = (database: Database, sql: string) => database.query(sql).values()[0]?.[0]
const named = 'name is givenName || coalesce(' + "' ' || familyName, '')"

describe('a database on its way from one release to the next', () => {
  test('is filled in steps by a command that may be killed, and only then served and contracted', async () => {
    using made = await databaseOfThisRelease('steps')
    const { dataDir, file, database } = made
    const env = { DATA_DIR: dataDir, PUBLIC_TENANT: 'demo', PORT: '0' }
    const names = () => database.query('select id, name from v3_users order by id').values()
    const before = names()

    await migrateFile(file, migrations(next), bunSqlite)
    expect(one(database, "select count(*) from retiring where tenant = ''")).toBe(1)
    expect(one(database, `select count(*) from users where not (${named})`)).toBe(users)
    // Who queries the database sees whole records all the same.
    expect(names()).toEqual(before)
    expect(one(database, "select count(*) from v4_users where givenName not like 'Ada%'")).toBe(0)
    const refused = await runCommand(['serve'], { root: next.root, env })
    expect([refused.code, refused.err.trim()]).toEqual([
      1,
      `The database in ${dataDir} is still to be filled with what takes the place of users.name. Run "bun run migrate".`,
    ])
    await expect(migrateFile(file, migrations(last), bunSqlite)).rejects.toThrow(
      '_contract.sql: a column that it drops has not been filled over to those that take its place',
    )
    expect(one(database, "select count(*) from pragma_table_info('users') where name = 'name'")).toBe(1)
    // A node of this release goes on.
    database.run(`update users set name = 'Bob B.' where id = '${idOf(7)}'`)

    const first = startCommand(['migrate'], { root: next.root, env })
    await first.line(/^Filling what takes the place of users\.name: step 1$/)
    await first.end()
    const filled = Number(one(database, `select count(*) from users where ${named}`))
    expect([filled % 1_000, filled >= 1_000, filled < users]).toEqual([0, true, true])
    const second = await runCommand(['migrate'], { root: next.root, env })
    expect([second.code, second.out]).toContain(0)
    expect(second.out).toContain('Filled what takes the place of users.name.')
    expect(one(database, `select count(*) from users where ${named} and version = 2`)).toBe(users)
    expect(one(database, "select count(*) from changes where operation = 'update'")).toBe(users)

    const contracted = await runCommand(['migrate'], { root: last.root, env })
    expect([contracted.code, contracted.err]).toEqual([0, ''])
    expect(one(database, "select count(*) from pragma_table_info('users') where name = 'name'")).toBe(0)
    expect(names()).toEqual(before.map(([id = null, name = null]) => [id, id === idOf(7) ? 'Bob B.' : name]))
    expect((await runCommand(['audit'], { root: last.root, env })).out).toContain('Every derived column is true.')
    await expectHistory(dataDir)
  })

  /** What the log wrote before the columns were there is shown in them. */
  async function expectHistory(dataDir: string) {
    const server = await spawnServer({ dataDir, root: last.root })
    try {
      const path = `/users/${idOf(7)}/history`
      const told = async (alias: string) => (await call(server.url, 'GET', `/${alias}${path}`)).body.data
      const shown = (await told('v4')).map(({ record }: { record: Record<string, unknown> }) => [
        record.givenName,
        record.familyName,
      ])
      expect(shown).toEqual([
        ['Bob', 'B.'],
        ['Ada', 'L. 7'],
      ])
      expect((await told('v4'))[0].changed).toEqual(['givenName', 'familyName'])
      expect((await told('v3'))[0].changed).toEqual(['name'])
      const olds = (await told('v3')).map(({ record }: { record: { name: string } }) => record.name)
      expect(olds).toEqual(['Bob B.', 'Ada L. 7'])
    } finally {
      await server.end('SIGTERM')
    }
  }

  test('is filled at once where there is nothing in it, so that a new one has all migrations in one go', async () => {
    const env = { DATA_DIR: join(folder.path, 'new') }
    const { code, out } = await runCommand(['migrate'], { root: last.root, env })
    expect([code, out]).toEqual([0, expect.stringMatching(/ had \d+ migration\(s\) applied\.\n$/)])
  })
})
