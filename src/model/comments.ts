import { foreignKey, index, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import * as z from 'zod'
import { anyOf, anyone, belongsTo, copy, identity, lengthBetween, owner, resource, scope } from '../schema/index.ts'
import { posts } from './posts.ts'
import { users } from './users.ts'

export const comments = sqliteTable(
  'comments',
  {
    ...identity,
    postId: text().notNull(),
    authorId: text().notNull(),
    body: text({ length: 10_000 }).notNull(),
    authorName: text().notNull().default(''),
  },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.postId], foreignColumns: [posts.tenant, posts.id] }).onDelete('cascade'),
    foreignKey({ columns: [t.tenant, t.authorId], foreignColumns: [users.tenant, users.id] }).onDelete('restrict'),
    index('comments_by_post').on(t.tenant, t.postId, t.id),
    index('comments_latest').on(t.tenant, t.postId, t.createdAt),
    index('comments_by_author').on(t.tenant, t.authorId, t.id),
    lengthBetween('comments_body_length', t.body, 1, 10_000),
  ],
)

export const Comments = resource('comments', comments, {
  description: 'What people say about posts.',
  relations: { post: belongsTo(() => posts, 'postId'), author: belongsTo(() => users, 'authorId') },
  derived: { authorName: copy('author', 'name') },
  filter: ['postId', 'authorId'],
  validate: { body: z.string().min(1).max(10_000) },
  access: { read: anyone, write: anyOf(owner('authorId'), scope('editor')) },
})
