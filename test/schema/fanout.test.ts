import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { audit, type Drift } from '../../src/entry/audit.ts'
import { startServer } from '../../src/entry/bun.ts'
import { databaseFile, fileStore } from '../../src/entry/file-store.ts'
import { type Node, openNode } from '../../src/entry/node.ts'
import { readSettings } from '../../src/entry/settings.ts'
import { model } from '../../src/model/index.ts'
import { limits } from '../../src/schema/limits.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { stepFanout } from '../../src/write/maintenance.ts'
import { follow } from '../support/command.ts'
import { temporaryFolder } from '../support/server.ts'

setDefaultTimeout(60_000)

const bound = limits.fanoutRowsMax
const time = '2026-01-01T00:00:00.000Z'
const author = '019b7707-e800-7000-8000-000000000001'

describe('a change that more copies follow than one transaction may touch', () => {
  let folder: { path: string; remove(): void }
  let database: Database
  beforeEach(async () => {
    folder = temporaryFolder()
    await fileStore(folder.path, bunSqlite).migrate()
    database = new Database(databaseFile(folder.path))
    database.run('pragma foreign_keys = on')
    database.run('pragma busy_timeout = 10000')
    database.run(`insert into users(tenant, id, createdAt, updatedAt, handle, name)
      values ('demo', '${author}', '${time}', '${time}', 'ada', 'Ada'), ('demo', 'other', '${time}', '${time}', 'bob', 'Bob')`)
  })
  afterEach(() => {
    database.close()
    folder.remove()
  })

  const posts = (count: number) =>
    database.run(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count})
      insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title)
      select 'demo', printf('p%05d', i), '${time}', '${time}', '${author}', printf('p%05d', i), 'Title' from n`,
    )
  const rename = (name: string) => database.run(`update users set name = '${name}' where id = '${author}'`)
  const number = (sql: string) => Number(database.query(sql).values()[0]?.[0])
  const named = (name: string) => number(`select count(*) from posts where authorName = '${name}'`)
  const seq = () => number('select max(seq) from changes')
  const queued = () => number('select count(*) from fanout')
  const open = () =>
    openNode(fileStore(folder.path, bunSqlite), model, (error) => {
      throw error
    })

  async function withNode<T>(work: (node: Node) => Promise<T>): Promise<T> {
    const node = await open()
    try {
      return await work(node)
    } finally {
      await node.close()
    }
  }

  async function audited(repair: boolean) {
    const drifts: Drift[] = []
    const result = await withNode((node) =>
      audit(model, node.reader, node.primary, repair, (drift) => drifts.push(drift)),
    )
    return { ...result, columns: drifts.map((drift) => `${drift.resource}.${drift.column}`) }
  }

  test('at the bound, every copy follows in the same transaction', () => {
    posts(bound)
    const before = seq()
    rename('Ada L.')
    expect([named('Ada L.'), queued(), seq() - before]).toEqual([bound, 0, bound + 1])
  })

  test.each([
    [bound + 1, [bound, 1, 0]],
    [2 * bound, [bound, bound, 0]],
    [2 * bound + 1, [bound, bound, 1, 0]],
  ])('of %p copies none follows in it, and all come in steps of the bound at most: %p', async (count, expected) => {
    posts(count)
    const before = seq()
    rename('Ada L.')
    expect([named('Ada L.'), queued(), seq() - before]).toEqual([0, 1, 1])
    await withNode(async (node) => {
      const steps: number[] = []
      for (let last = seq(); await stepFanout(model, node.reader, node.primary); last = seq()) steps.push(seq() - last)
      expect(steps).toEqual(expected)
    })
    expect([named('Ada L.'), queued()]).toEqual([count, 0])
    // Made, given the name that the insert left out, and renamed.
    expect(number('select count(*) from posts where version = 3')).toBe(count)
  })

  test('a change of one field of many does not queue the copies of another', () => {
    posts(bound + 1)
    database.run(`update users set homepage = 'https://example.com' where id = '${author}'`)
    expect(queued()).toBe(0)
  })

  test('copies made, moved away and moved here while it is queued are right at once, and stay right', async () => {
    posts(bound + 1)
    database.run(`insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title)
      values ('demo', 'theirs', '${time}', '${time}', 'other', 'theirs', 'Theirs')`)
    rename('Ada L.')
    database.run(`insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title)
      values ('demo', 'new', '${time}', '${time}', '${author}', 'new', 'New')`)
    database.run("update posts set authorId = 'other' where id = 'p00001'")
    database.run(`update posts set authorId = '${author}' where id = 'theirs'`)
    const names = () =>
      database
        .query("select authorName from posts where id in ('new', 'p00001', 'theirs', 'p00002') order by id")
        .values()
        .flat()
    expect(names()).toEqual(['Ada L.', 'Bob', 'Ada', 'Ada L.'])
    await withNode(async (node) => {
      while (await stepFanout(model, node.reader, node.primary));
    })
    expect(names()).toEqual(['Ada L.', 'Bob', 'Ada L.', 'Ada L.'])
    expect((await audited(false)).drifted).toBe(0)
  })

  test('a second change while the first is queued ends with the second, whatever the first had reached', async () => {
    posts(2 * bound)
    rename('First')
    await withNode((node) => stepFanout(model, node.reader, node.primary))
    rename('Second')
    expect([named('Ada'), named('First'), named('Second'), queued()]).toEqual([bound, bound, 0, 2])
    await withNode(async (node) => {
      while (await stepFanout(model, node.reader, node.primary));
    })
    expect([named('Second'), queued()]).toEqual([2 * bound, 0])
    expect(await audited(false)).toEqual({ drifted: 0, queued: 0, columns: [] })
  })

  test('when so many copies went that the rest are few, a second change needs no queue', () => {
    posts(bound + 1)
    rename('First')
    database.run("delete from posts where id = 'p00001'")
    rename('Second')
    expect([named('Second'), queued()]).toEqual([bound, 1])
  })

  test('a change that is rolled back queues nothing', () => {
    posts(bound + 1)
    database.run('begin')
    rename('Never')
    expect(queued()).toBe(1)
    database.run('rollback')
    expect([queued(), named('Ada')]).toEqual([0, bound + 1])
  })

  test('audit tells what is queued, does not call it drift, and finishes it when it repairs', async () => {
    posts(bound + 1)
    rename('Ada L.')
    database.run("update posts set commentCount = 7, version = version + 1 where id = 'p00003'")
    expect(await audited(false)).toEqual({ drifted: 1, queued: 1, columns: ['posts.commentCount'] })
    expect(await audited(true)).toEqual({ drifted: 1, queued: 0, columns: ['posts.commentCount'] })
    expect(await audited(false)).toEqual({ drifted: 0, queued: 0, columns: [] })
    expect(named('Ada L.')).toBe(bound + 1)
  })

  test('what is queued for a copy that the model no longer has is dropped', async () => {
    database.run(`insert into fanout(tenant, source, target, field) values ('demo', '${author}', 'posts', 'gone')`)
    await withNode(async (node) => expect(await stepFanout(model, node.reader, node.primary)).toBe(true))
    expect(queued()).toBe(0)
  })

  test.each([1, 2, 4])(
    'a process killed after step %p leaves whole steps, and the next goes on from there',
    async (killedAfter) => {
      posts(5 * bound)
      rename('Ada L.')
      const before = seq()
      const worker = () =>
        follow(
          Bun.spawn([process.execPath, join(import.meta.dir, '../support/fanout-steps.ts'), folder.path], {
            stdio: ['ignore', 'pipe', 'pipe'],
          }),
        )
      const first = worker()
      try {
        await first.line(new RegExp(`^step ${killedAfter}$`))
        first.kill('SIGKILL')
        await first.exited
      } finally {
        await first.end()
      }
      const reached = named('Ada L.')
      expect(reached).toBeGreaterThanOrEqual(killedAfter * bound)
      expect([reached % bound, seq() - before]).toEqual([0, reached])
      const second = worker()
      try {
        await second.line(/^done$/)
        expect(await second.exited).toBe(0)
      } finally {
        await second.end()
      }
      // Each copy changed once, in all: no step was done twice and none was left out.
      expect([named('Ada L.'), queued(), seq() - before]).toEqual([5 * bound, 0, 5 * bound])
      expect(database.query('pragma integrity_check').values()).toEqual([['ok']])
    },
  )

  test('a server finishes by itself what was queued before it started and while it runs', async () => {
    posts(bound + 1)
    rename('Before')
    const server = await startServer(
      { ...readSettings({}, null), port: 0, dataDir: folder.path, region: 'test' },
      model,
    )
    try {
      const emptied = async () => {
        while (queued() > 0) await Bun.sleep(5)
      }
      await emptied()
      expect(named('Before')).toBe(bound + 1)
      rename('While')
      await emptied()
      expect(named('While')).toBe(bound + 1)
    } finally {
      await server.stop()
    }
  })
})
