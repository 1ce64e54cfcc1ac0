/** Hono and bun:sqlite: one record by id. The same statement and answer as bun-sqlite.ts, routed by Hono. */
import { Hono } from 'hono'
import { type FoundPost, findPostSql, idForm, openDatabase } from './record.ts'

const findPost = openDatabase().prepare<FoundPost, [string]>(findPostSql)
const app = new Hono()

app.get('/posts/:id', (c) => {
  const id = c.req.param('id')
  if (!idForm.test(id)) return c.json({ error: 'invalid id' }, 400)
  const found = findPost.get(id)
  if (!found) return c.json({ error: 'not found' }, 404)
  const etag = `"${found.version}"`
  if (c.req.header('if-none-match') === etag) return c.body(null, 304, { ETag: etag })
  return c.body(found.json, 200, { 'Content-Type': 'application/json', ETag: etag })
})

const server = Bun.serve({
  port: Number(process.env.PORT),
  hostname: '127.0.0.1',
  development: false,
  fetch: app.fetch,
})
console.log(`at http://127.0.0.1:${server.port}`)
