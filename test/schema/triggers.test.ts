import type { Database } from 'bun:sqlite'
import { beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { authorActivity } from '../../src/model/activity.ts'
import { comments } from '../../src/model/comments.ts'
import { model } from '../../src/model/index.ts'
import { posts } from '../../src/model/posts.ts'
import { postTags, tags } from '../../src/model/tags.ts'
import { users } from '../../src/model/users.ts'
import { databaseCopies } from '../support/raw.ts'

setDefaultTimeout(60_000)

const time = '2026-01-01T00:00:00.000Z'

describe('what the triggers of a table promise, whoever writes', () => {
  let open: () => Database
  let database: Database
  beforeAll(async () => {
    open = await databaseCopies(model, [users, posts, comments, tags, postTags, authorActivity])
  })
  beforeEach(() => {
    database = open()
    database.run(`insert into users(tenant, id, createdAt, updatedAt, handle, name)
      values ('a', 'u1', '${time}', '${time}', 'ada', 'Ada'), ('a', 'u2', '${time}', '${time}', 'bob', 'Bob')`)
    database.run(`insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title)
      values ('a', 'p1', '${time}', '${time}', 'u1', 'one', 'One'), ('a', 'p2', '${time}', '${time}', 'u2', 'two', 'Two')`)
  })

  const column = (sql: string) => database.query(sql).values().flat()
  const state = () => [
    column('select seq from changes order by seq').length,
    column('select name || version || postCount from users order by id'),
    column('select title || version || authorName from posts order by id'),
  ]

  test.each([
    ["update users set id = 'u9' where id = 'u2'", 'users: the tenant and the id of a record never change'],
    ["update posts set tenant = 'b' where id = 'p1'", 'posts: the tenant and the id of a record never change'],
    ["update users set id = id || 'x', name = 'X'", 'users: the tenant and the id of a record never change'],
    [
      `replace into posts(tenant, id, createdAt, updatedAt, authorId, slug, title) values ('a', 'p1', '${time}', '${time}', 'u2', 'new', 'New')`,
      'posts: REPLACE hides the end of the record it replaces from the log; use ON CONFLICT (tenant, id) DO UPDATE, or PRAGMA recursive_triggers = ON',
    ],
  ])('%s is refused and changes nothing', (sql, message) => {
    const before = state()
    expect(() => database.run(sql)).toThrow(message)
    expect(state()).toEqual(before)
  })

  test('an update that names the key and keeps it goes through', () => {
    database.run("update users set tenant = tenant, id = id, name = 'Ada L.' where id = 'u1'")
    expect(column("select name from users where id = 'u1'")).toEqual(['Ada L.'])
    expect(column("select authorName from posts where id = 'p1'")).toEqual(['Ada L.'])
  })

  test('with recursive triggers on, REPLACE is a deletion and a creation, and the version goes on', () => {
    database.run('pragma foreign_keys = on')
    database.run('pragma recursive_triggers = on')
    database.run(
      "insert into changes(tenant, resource, id, operation, version, time) values ('a', 'none', 'x', 'delete', 9, '')",
    )
    database.run(`replace into posts(tenant, id, createdAt, updatedAt, authorId, slug, title)
      values ('a', 'p1', '${time}', '${time}', 'u2', 'new', 'New')`)
    expect(
      database
        .query("select operation, version from changes where resource = 'posts' and id = 'p1' order by seq")
        .values(),
    ).toEqual([
      ['create', 1],
      ['update', 2],
      ['delete', 3],
      ['create', 4],
      ['update', 5],
    ])
    expect(column('select postCount from users order by id')).toEqual([0, 2])
  })

  test('a record deleted and made again under its id goes on from its last version, so that no ETag means two things', () => {
    database.run("delete from posts where id = 'p1'")
    database.run(`insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title, authorName)
      values ('a', 'p1', '${time}', '${time}', 'u1', 'one', 'One', 'Ada')`)
    expect(column("select version from posts where id = 'p1'")).toEqual([4])
    expect(column("select version from changes where resource = 'posts' and id = 'p1' order by seq")).toEqual([
      1, 2, 3, 4,
    ])
  })

  test.each([
    ["update posts set title = 'New' where id = 'p1'", 3],
    ["update posts set title = 'New', version = version + 1 where id = 'p1'", 3],
    ["update posts set title = 'New', version = 1 where id = 'p1'", 3],
    ["update posts set title = 'New', version = 70 where id = 'p1'", 3],
    ["update posts set title = 'New', version = -version where id = 'p1'", 3],
    ["update posts set title = title where id = 'p1'", 2],
  ])('after %s the version is %p', (sql, version) => {
    database.run(sql)
    expect(column("select version from posts where id = 'p1'")).toEqual([version])
    expect(column("select max(version) from changes where resource = 'posts' and id = 'p1'")).toEqual([version])
  })

  test.each([
    ["update posts set authorName = 'Mallory' where id = 'p1'", 'authorName', 'Ada'],
    ["update posts set authorName = 'Mallory', version = version + 1 where id = 'p1'", 'authorName', 'Ada'],
    ["update posts set authorId = 'u2', authorName = 'Mallory' where id = 'p1'", 'authorName', 'Bob'],
    ["update posts set commentCount = 41 where id = 'p1'", 'commentCount', 0],
    [`update posts set lastCommentAt = '${time}' where id = 'p1'`, 'lastCommentAt', null],
  ])('%s is set right in the same statement: %s is %p', (sql, name, truth) => {
    database.run(sql)
    expect(column(`select ${name} from posts where id = 'p1'`)).toEqual([truth])
    const [image] = column("select image from changes where resource = 'posts' and id = 'p1' order by seq desc limit 1")
    expect(JSON.parse(String(image))[name]).toEqual(truth)
  })

  test('a record whose children came first, foreign keys deferred, counts and is copied', () => {
    database.run('begin')
    database.run('pragma defer_foreign_keys = on')
    database.run(`insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title, words)
      values ('a', 'p3', '${time}', '${time}', 'u3', 'three', 'Three', 5)`)
    database.run(`insert into users(tenant, id, createdAt, updatedAt, handle, name)
      values ('a', 'u3', '${time}', '${time}', 'cy', 'Cy')`)
    database.run('commit')
    expect(database.query("select postCount, wordCount from users where id = 'u3'").values()).toEqual([[1, 5]])
    expect(column("select authorName from posts where id = 'p3'")).toEqual(['Cy'])
  })

  test('a column that is no JSON is refused, because its record could not be answered', () => {
    expect(() => database.run("update posts set meta = '{broken' where id = 'p1'")).toThrow('malformed JSON')
  })

  test('a change is logged under the writer that the context names, and under none where there is none', () => {
    database.run("update context set actor = 'key:1', request = 'r1', time = '2026-05-05T00:00:00.000Z'")
    database.run("update users set name = 'Eve' where id = 'u1'")
    const last = 'select actor, request, time from changes order by seq desc limit 2'
    expect(database.query(last).values()).toEqual([
      ['key:1', 'r1', '2026-05-05T00:00:00.000Z'],
      ['key:1', 'r1', '2026-05-05T00:00:00.000Z'],
    ])
    database.run('delete from context')
    database.run("update tags set name = 'x'")
    database.run("update users set homepage = 'https://example.com' where id = 'u2'")
    const [actor, request, at] = database.query(last).values()[0] ?? []
    expect([actor, request]).toEqual([null, null])
    expect(String(at)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  })
})
