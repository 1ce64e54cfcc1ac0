/**
 * The data that every server of the benchmark serves: 1,000 users, 100,000 published posts and 300,000 comments, three
 * per post, of the tenant `demo`. The same rows in every run.
 */
import { Database } from 'bun:sqlite'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { databaseFile, fileStore } from '../src/entry/file-store.ts'
import { migrationsFolder, openNode } from '../src/entry/node.ts'
import { rebuildProjection } from '../src/entry/projections.ts'
import { model } from '../src/model/index.ts'
import { jsonObjectSql } from '../src/schema/field.ts'
import { bunSqlite } from '../src/store/bun-sqlite.ts'

export const tenant = 'demo'
const tables = ['users', 'posts', 'comments']
const usersCount = 1_000
const postsCount = 100_000
const commentsPerPost = 3
/** The posts that are asked for: their answers are several times what Perigee keeps. */
const askedFrom = 50_000
const askedCount = 40_000
/** How many are asked for again and again where a cached answer is measured. */
const hotCount = 1_000

export interface BenchData {
  /** A data folder of Perigee. */
  readonly dataDir: string
  /** The same rows in plain tables with the same keys, checks and indexes, without triggers. */
  readonly plainFile: string
  /** Ids of posts in no order, one per line: more than a cache of answers keeps. */
  readonly idsFile: string
  /** The first of them, few enough to be kept. */
  readonly hotIdsFile: string
  /** The instants when those posts were made, one per line. */
  readonly instantsFile: string
  /** A post that is there, and its author. */
  readonly firstId: string
  readonly authorId: string
  /** An instant with more than a page of posts before it. */
  readonly instant: string
  /** The version that every post has. */
  readonly postVersion: number
}

/** Makes the data in `folder`, or takes what an earlier run of the same code left there. */
export async function prepareData(folder: string, report: (line: string) => void): Promise<BenchData> {
  const data: BenchData = {
    dataDir: join(folder, 'perigee'),
    plainFile: join(folder, 'plain.db'),
    idsFile: join(folder, 'ids'),
    hotIdsFile: join(folder, 'hot-ids'),
    instantsFile: join(folder, 'instants'),
    firstId: postId(0),
    authorId: userId(0),
    instant: instant(postTime(5_000)),
    postVersion: 1,
  }
  const stampFile = join(folder, 'stamp')
  const stamp = stampOf()
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return data
  report(`Making ${postsCount} posts and ${postsCount * commentsPerPost} comments in ${folder}.`)
  const start = performance.now()
  for (const path of [stampFile, data.dataDir, data.plainFile]) rmSync(path, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  await fileStore(data.dataDir, bunSqlite).migrate()
  fillPerigee(databaseFile(data.dataDir))
  await makeReadModels(data.dataDir)
  copyPlain(databaseFile(data.dataDir), data.plainFile)
  writeAsked(data)
  writeFileSync(stampFile, stamp)
  report(`Made it in ${((performance.now() - start) / 1000).toFixed(1)} s.`)
  return data
}

/** What the load asks for: posts that lie together in the table, so that all of them stay in memory, in no order. */
function writeAsked(data: BenchData) {
  const random = randomFrom(7)
  const order = Array.from({ length: askedCount }, (_, i) => i + askedFrom)
  for (let i = askedCount - 1; i > 0; i--) {
    const other = random(i + 1)
    ;[order[i], order[other]] = [order[other] ?? 0, order[i] ?? 0]
  }
  const ids = order.map((i) => `${postId(i)}\n`)
  writeFileSync(data.idsFile, ids.join(''))
  writeFileSync(data.hotIdsFile, ids.slice(0, hotCount).join(''))
  writeFileSync(data.instantsFile, order.map((i) => `${instant(postTime(i))}\n`).join(''))
}

/** What the data depends on: this code and the migrations. */
function stampOf(): string {
  const migrations = readdirSync(migrationsFolder).filter((name) => name.endsWith('.sql'))
  const hasher = new Bun.CryptoHasher('sha256')
  for (const file of [import.meta.path, ...migrations.sort().map((name) => join(migrationsFolder, name))])
    hasher.update(readFileSync(file))
  return hasher.digest('hex')
}

/**
 * Fills the tables with their triggers taken away, derived columns true from the start, and then writes what the
 * triggers would have kept: a change for each record, and the heads. With the triggers in place the same takes three
 * times as long and leaves a log of 1 GB.
 */
function fillPerigee(file: string) {
  const database = new Database(file, { readwrite: true, strict: true })
  for (const pragma of ['journal_mode = OFF', 'synchronous = OFF', 'cache_size = -1000000'])
    database.run(`PRAGMA ${pragma}`)
  database.transaction(() => {
    const triggers = database
      .query<{ name: string; sql: string }, []>("select name, sql from sqlite_master where type = 'trigger'")
      .all()
    for (const { name } of triggers) database.run(`drop trigger "${name}"`)
    insertUsers(database)
    insertPosts(database)
    insertComments(database)
    for (const name of tables) logCreates(database, name)
    for (const { sql } of triggers) database.run(sql)
  })()
  database.run('PRAGMA journal_mode = WAL')
  database.close()
}

/** Makes the read models, which a server that has them to make does first, beside the callers that are measured. */
async function makeReadModels(dataDir: string) {
  const onDeath = (error: Error) => {
    throw error
  }
  const node = await openNode(fileStore(dataDir, bunSqlite), model, onDeath)
  for (const projection of model.projections) await rebuildProjection(projection, node)
  await node.close()
}

function logCreates(database: Database, name: string) {
  const fields = [...(model.resources.get(name)?.fields.values() ?? [])]
  database.run(
    `insert into changes(tenant, resource, id, operation, version, image, actor, time)
     select tenant, '${name}', id, 'create', version, ${jsonObjectSql(fields, 't')}, 'bench', createdAt
     from ${name} t order by rowid`,
  )
  database.run(
    `insert into heads(tenant, resource, seq, rows)
     values ('${tenant}', '${name}', (select max(seq) from changes), (select count(*) from ${name}))`,
  )
}

/**
 * The three tables as they are in Perigee, derived columns filled, without its triggers; and the tables that the
 * hand-written server needs for its own creates, as Perigee has them.
 */
function copyPlain(from: string, to: string) {
  const database = new Database(to, { create: true, strict: true })
  database.run('PRAGMA journal_mode = WAL')
  database.run('PRAGMA synchronous = OFF')
  database.run('PRAGMA foreign_keys = OFF')
  database.run('ATTACH ? AS perigee', [from])
  const schema = database
    .query<{ type: string; name: string; sql: string }, []>(
      `select type, name, sql from perigee.sqlite_master where sql is not null and type in ('table', 'index')
       and tbl_name in ('users', 'posts', 'comments', 'changes', 'idempotency') order by type = 'index'`,
    )
    .all()
  database.transaction(() => {
    for (const { sql } of schema) database.run(sql)
    for (const name of tables) database.run(`insert into main.${name} select * from perigee.${name} order by rowid`)
  })()
  database.run('PRAGMA wal_checkpoint(TRUNCATE)')
  database.close()
}

function insertUsers(database: Database) {
  const insert = database.prepare(
    `insert into users(tenant, id, createdAt, updatedAt, handle, name, homepage, postCount, wordCount)
     values (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8)`,
  )
  for (let i = 0; i < usersCount; i++) {
    const handle = `user-${i}`
    const homepage = `https://example.com/people/${handle}`
    const posts = postsCount / usersCount
    insert.run(tenant, userId(i), instant(userTime(i)), handle, userName(i), homepage, posts, posts * wordsOf(i))
  }
}

function insertPosts(database: Database) {
  const insert = database.prepare(
    `insert into posts(tenant, id, createdAt, updatedAt, authorId, slug, title, body, status, words, meta, authorName, commentCount, lastCommentAt)
     values (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, 'published', ?8, ?9, ?10, ${commentsPerPost}, ?11)`,
  )
  const random = randomFrom(1)
  for (let i = 0; i < postsCount; i++) {
    const author = i % usersCount
    const title = capital(words(random(wordsCount), 4 + random(5)))
    const body = words(random(wordsCount), wordsOf(author))
    const meta = JSON.stringify({ source: 'bench', number: i })
    const [time, last] = [instant(postTime(i)), instant(commentTime(i, commentsPerPost - 1))]
    const [id, slug] = [postId(i), `post-${i}`]
    insert.run(tenant, id, time, userId(author), slug, title, body, wordsOf(author), meta, userName(author), last)
  }
}

function insertComments(database: Database) {
  const insert = database.prepare(
    `insert into comments(tenant, id, createdAt, updatedAt, postId, authorId, body, authorName)
     values (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7)`,
  )
  const random = randomFrom(2)
  for (let i = 0; i < postsCount; i++) {
    for (let j = 0; j < commentsPerPost; j++) {
      const time = commentTime(i, j)
      const author = random(usersCount)
      const body = words(random(wordsCount), 10 + random(25))
      const id = uuid(time, 3, i * commentsPerPost + j)
      insert.run(tenant, id, instant(time), postId(i), userId(author), body, userName(author))
    }
  }
}

const firstTime = Date.UTC(2026, 0, 1)
const userTime = (i: number) => firstTime - (usersCount - i) * 60_000
const postTime = (i: number) => firstTime + i * 60_000
const commentTime = (post: number, i: number) => postTime(post) + (i + 1) * 10_000
const instant = (time: number) => new Date(time).toISOString()
const userId = (i: number) => uuid(userTime(i), 1, i)
const postId = (i: number) => uuid(postTime(i), 2, i)
const userName = (i: number) => `${capital(words(i, 1))} ${capital(words(i * 7 + 3, 1))} ${i}`
/** How long the posts of an author are: 40 to 99 words. */
const wordsOf = (author: number) => 40 + (author % 60)

/** A UUID of version 7 of this time, the same in every run. */
function uuid(time: number, kind: number, number: number): string {
  const hex = time.toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${kind}00-8000-${number.toString(16).padStart(12, '0')}`
}

/** Whole numbers below a bound, the same for the same seed (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const vocabulary =
  'edge near copy data write read token log order shard cache page query plan record field index table row version client server region latency commit batch key retry answer request schema model lens view feed cursor limit scope owner tenant draft comment author title body status number'.split(
    ' ',
  )
const wordsCount = 4_096
const text = (() => {
  const random = randomFrom(5)
  return Array.from({ length: wordsCount + 128 }, () => vocabulary[random(vocabulary.length)] ?? '')
})()

/** `count` words of one fixed text, from the word `start` on. */
function words(start: number, count: number): string {
  return text.slice(start % wordsCount, (start % wordsCount) + count).join(' ')
}

const capital = (word: string) => word.slice(0, 1).toUpperCase() + word.slice(1)
