/**
 * Hono, @hono/zod-openapi and Drizzle, as their manuals show them: one record by id, its parameters validated, its
 * answer typed by a schema that is in the OpenAPI document, the query built by Drizzle and prepared once.
 */
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi'
import { and, eq, getTableColumns, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/bun-sqlite'
import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { openDatabase, tenant } from './record.ts'

const posts = sqliteTable(
  'posts',
  {
    tenant: text().notNull(),
    id: text().notNull(),
    version: integer().notNull(),
    createdAt: text().notNull(),
    updatedAt: text().notNull(),
    authorId: text().notNull(),
    slug: text().notNull(),
    title: text().notNull(),
    body: text().notNull(),
    status: text({ enum: ['draft', 'published', 'archived'] }).notNull(),
    words: integer().notNull(),
    meta: text({ mode: 'json' }).$type<Record<string, unknown>>(),
    authorName: text().notNull(),
    commentCount: integer().notNull(),
    lastCommentAt: text(),
  },
  (t) => [primaryKey({ columns: [t.tenant, t.id] })],
)

const Post = z
  .object({
    id: z.uuidv7(),
    version: z.int(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    authorId: z.uuidv7(),
    slug: z.string(),
    title: z.string(),
    body: z.string(),
    status: z.enum(['draft', 'published', 'archived']),
    words: z.int(),
    meta: z.record(z.string(), z.unknown()).nullable(),
    authorName: z.string(),
    commentCount: z.int(),
    lastCommentAt: z.iso.datetime().nullable(),
  })
  .openapi('Post')
const Failure = z.object({ error: z.string() }).openapi('Failure')

const route = createRoute({
  method: 'get',
  path: '/posts/{id}',
  request: { params: z.object({ id: z.uuidv7() }) },
  responses: {
    200: { description: 'The post', content: { 'application/json': { schema: Post } } },
    404: { description: 'No such post', content: { 'application/json': { schema: Failure } } },
  },
})

const database = drizzle(openDatabase())
const { tenant: _, ...columns } = getTableColumns(posts)
const findPost = database
  .select(columns)
  .from(posts)
  .where(and(eq(posts.tenant, tenant), eq(posts.id, sql.placeholder('id')), eq(posts.status, 'published')))
  .prepare()

const app = new OpenAPIHono()
app.openapi(route, (c) => {
  const { id } = c.req.valid('param')
  const found = findPost.get({ id })
  if (!found) return c.json({ error: 'not found' }, 404)
  return c.json(found, 200, { ETag: `"${found.version}"` })
})
app.doc31('/openapi.json', { openapi: '3.1.0', info: { title: 'Posts', version: '1' } })

const server = Bun.serve({
  port: Number(process.env.PORT),
  hostname: '127.0.0.1',
  development: false,
  fetch: app.fetch,
})
console.log(`at http://127.0.0.1:${server.port}`)
