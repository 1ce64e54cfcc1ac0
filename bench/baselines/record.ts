/** What the hand-written servers share: one post as SQL, its members as JSON, and as SQLite makes that JSON. */
import { Database } from 'bun:sqlite'

export const tenant = 'demo'

const postFields =
  'id version createdAt updatedAt authorId slug title body status words meta authorName commentCount lastCommentAt'
export const postJson = jsonObject('p', postFields)
export const userJson = jsonObject('u', 'id version createdAt updatedAt handle name homepage postCount wordCount')
export const commentJson = jsonObject('c', 'id version createdAt updatedAt postId authorId body authorName')

function jsonObject(alias: string, fields: string): string {
  const members = fields.split(' ').map((field) => {
    const column = `${alias}."${field}"`
    return `'${field}', ${field === 'meta' ? `json(${column})` : column}`
  })
  return `json_object(${members.join(', ')})`
}

/** The file of DATA_FILE with the settings that a durable server has. */
export function openDatabase(): Database {
  const database = new Database(process.env.DATA_FILE ?? '', { readwrite: true, strict: true })
  for (const pragma of ['journal_mode = WAL', 'synchronous = FULL', 'foreign_keys = ON', 'busy_timeout = 5000'])
    database.run(`PRAGMA ${pragma}`)
  database.run('PRAGMA cache_size = -65536')
  return database
}

/** SQLite makes the JSON text: that is faster here than an object and JSON.stringify. */
export const findPostSql = `select ${postJson} as json, version from posts p where tenant = '${tenant}' and id = ? and status = 'published'`
export type FoundPost = { json: string; version: number }

export const idForm = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
