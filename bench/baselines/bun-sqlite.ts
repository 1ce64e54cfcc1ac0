/**
 * Bun.serve and bun:sqlite by hand, each answer with the fewest statements that can make it:
 * - GET /posts/{id}: one statement, SQLite makes the JSON; 304 by the version.
 * - GET /posts?limit=20&before=INSTANT: the newest posts before it, each with its author and its first 3 comments, in
 *   one statement.
 * - POST /users, POST /posts: the key checked, the body validated, then one transaction per request, durable before it
 *   answers: the idempotency key claimed with the answer that it stands for, the row, its row in the log. A post also
 *   counts for its author, whose change is logged too. Tables and indexes are Perigee's own.
 */
import { z } from 'zod'
import { commentJson, type FoundPost, findPostSql, idForm, openDatabase, postJson, tenant, userJson } from './record.ts'

const database = openDatabase()
const json = { 'Content-Type': 'application/json' }
const problem = (status: number, error: string) => new Response(JSON.stringify({ error }), { status, headers: json })

const findPost = database.prepare<FoundPost, [string]>(findPostSql)

function getPost(request: Request & { params: { id: string } }): Response {
  const { id } = request.params
  if (!idForm.test(id)) return problem(400, 'invalid id')
  const found = findPost.get(id)
  if (!found) return problem(404, 'not found')
  const etag = `"${found.version}"`
  if (request.headers.get('if-none-match') === etag) return new Response(null, { status: 304, headers: { ETag: etag } })
  return new Response(found.json, { headers: { 'Content-Type': 'application/json', ETag: etag } })
}

const newest = database.prepare<unknown, [string, number]>(`
  select ${postJson},
    (select ${userJson} from users u where u.tenant = p.tenant and u.id = p.authorId),
    (select group_concat(json, ',') from (
      select ${commentJson} as json from comments c where c.tenant = p.tenant and c.postId = p.id order by c.id limit 3))
  from posts p where p.tenant = '${tenant}' and p.status = 'published' and p.createdAt < ?
  order by p.createdAt desc, p.id desc limit ?`)

function listPosts(request: Request): Response {
  const query = new URL(request.url).searchParams
  const limit = Number(query.get('limit') ?? 20)
  if (!(limit >= 1 && limit <= 100)) return problem(400, 'invalid limit')
  const rows = newest.values(query.get('before') ?? '9', limit) as [string, string, string | null][]
  const records = rows.map(
    ([post, author, comments]) => `${post.slice(0, -1)},"author":${author},"comments":[${comments ?? ''}]}`,
  )
  return new Response(`{"data":[${records.join(',')}]}`, { headers: json })
}

const User = z.strictObject({
  handle: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,99}$/),
  name: z.string().min(1).max(200),
  homepage: z
    .url({ protocol: /^https?$/ })
    .max(500)
    .nullish(),
})
const Post = z.strictObject({
  authorId: z.string().regex(idForm),
  slug: z.string().min(1).max(214),
  title: z.string().min(1).max(300),
  body: z.string().max(200_000).default(''),
  status: z.enum(['draft', 'published', 'archived']).default('draft'),
  words: z.int().min(0).default(0),
  meta: z.record(z.string(), z.unknown()).nullish(),
})

const claim = database.prepare(
  `insert into idempotency(tenant, key, fingerprint, createdAt, status, id, version, body) values ('${tenant}', ?, ?, ?, 201, ?, 1, ?) on conflict do nothing`,
)
const claimed = database.prepare<{ fingerprint: string; body: string }, [string]>(
  `select fingerprint, body from idempotency where tenant = '${tenant}' and key = ?`,
)
const log = database.prepare(
  `insert into changes(time, tenant, resource, id, operation, version, image, changed, actor, request) values (?, '${tenant}', ?, ?, ?, ?, ?, ?, 'bench', ?)`,
)
const insertUser = database.prepare(
  `insert into users(tenant, id, version, createdAt, updatedAt, handle, name, homepage) values ('${tenant}', ?1, 1, ?2, ?2, ?3, ?4, ?5)`,
)
const insertPost = database.prepare(
  `insert into posts(tenant, id, version, createdAt, updatedAt, authorId, slug, title, body, status, words, meta, authorName) values ('${tenant}', ?1, 1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)`,
)
const nameOf = database.prepare<{ name: string }, [string]>(
  `select name from users where tenant = '${tenant}' and id = ?`,
)
const countPost = database.prepare<{ version: number; json: string }, [number, string]>(
  `update users as u set postCount = postCount + 1, wordCount = wordCount + ?, version = version + 1 where tenant = '${tenant}' and id = ? returning version, ${userJson.replaceAll('u.', '')} as json`,
)

/** What a create puts into the transaction after its claim; it throws where it cannot. */
interface Create {
  readonly id: string
  readonly body: string
  apply(request: string): void
}

function createUser(input: z.infer<typeof User>, now: string): Create {
  const { handle, name, homepage = null } = input
  const id = Bun.randomUUIDv7()
  const identity = { id, version: 1, createdAt: now, updatedAt: now }
  const body = JSON.stringify({ ...identity, handle, name, homepage, postCount: 0, wordCount: 0 })
  return {
    id,
    body,
    apply(request) {
      insertUser.run(id, now, handle, name, homepage)
      log.run(now, 'users', id, 'create', 1, body, null, request)
    },
  }
}

function createPost(input: z.infer<typeof Post>, now: string): Create | null {
  const { authorId, slug, title, body: text, status, words, meta = null } = input
  const author = nameOf.get(authorId)
  if (!author) return null
  const id = Bun.randomUUIDv7()
  const identity = { id, version: 1, createdAt: now, updatedAt: now }
  const given = { authorId, slug, title, body: text, status, words, meta }
  const body = JSON.stringify({ ...identity, ...given, authorName: author.name, commentCount: 0, lastCommentAt: null })
  return {
    id,
    body,
    apply(request) {
      const stored = meta === null ? null : JSON.stringify(meta)
      insertPost.run(id, now, authorId, slug, title, text, status, words, stored, author.name)
      log.run(now, 'posts', id, 'create', 1, body, null, request)
      const changed = countPost.get(words, authorId)
      if (!changed) throw new Error('the author is gone')
      log.run(now, 'users', authorId, 'update', changed.version, changed.json, '["postCount","wordCount"]', request)
    },
  }
}

const commit = database.transaction((key: string, fingerprint: string, now: string, create: Create) => {
  const { changes } = claim.run(key, fingerprint, now, create.id, create.body)
  if (changes === 0) return claimed.get(key)
  create.apply(Bun.randomUUIDv7())
  return null
})

const authorization = `Bearer ${process.env.API_KEY}`

function creates<T>(schema: z.ZodType<T>, make: (input: T, now: string) => Create | null) {
  return async (request: Request): Promise<Response> => {
    if (request.headers.get('authorization') !== authorization) return problem(401, 'unauthorized')
    const key = request.headers.get('idempotency-key')
    if (key === null || key.length > 255) return problem(400, 'an Idempotency-Key is needed')
    const text = await request.text()
    const input = schema.safeParse(parse(text))
    if (!input.success) return problem(422, input.error.message)
    const fingerprint = new Bun.CryptoHasher('sha256').update(request.url).update(text).digest('base64url')
    const now = new Date().toISOString()
    const create = make(input.data, now)
    if (!create) return problem(422, 'there is no such author')
    try {
      const earlier = commit.immediate(key, fingerprint, now, create)
      if (earlier && earlier.fingerprint !== fingerprint) return problem(422, 'the key stands for another request')
      return new Response(earlier?.body ?? create.body, { status: 201, headers: { ...json, ETag: '"1"' } })
    } catch (error) {
      return problem(409, String(error))
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const server = Bun.serve({
  port: Number(process.env.PORT),
  hostname: '127.0.0.1',
  development: false,
  routes: {
    '/posts/:id': { GET: getPost },
    '/posts': { GET: listPosts, POST: creates(Post, createPost) },
    '/users': { POST: creates(User, createUser) },
  },
})
console.log(`at http://127.0.0.1:${server.port}`)
