import { foreignKey, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import * as z from 'zod'
import {
  anyOf,
  belongsTo,
  copy,
  count,
  hasMany,
  identity,
  instant,
  lengthBetween,
  manyToMany,
  max,
  oneOf,
  owner,
  resource,
  scope,
  when,
} from '../schema/index.ts'
import { comments } from './comments.ts'
import { postTags, tags } from './tags.ts'
import { users } from './users.ts'

export const posts = sqliteTable(
  'posts',
  {
    ...identity,
    authorId: text().notNull(),
    slug: text({ length: 214 }).notNull(),
    title: text({ length: 300 }).notNull(),
    body: text({ length: 200_000 }).notNull().default(''),
    status: text({ enum: ['draft', 'published', 'archived'] })
      .notNull()
      .default('draft'),
    words: integer().notNull().default(0),
    meta: text({ mode: 'json' }).$type<Record<string, unknown>>(),
    authorName: text().notNull().default(''),
    commentCount: integer().notNull().default(0),
    lastCommentAt: instant(),
  },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.authorId], foreignColumns: [users.tenant, users.id] }).onDelete('restrict'),
    uniqueIndex('posts_by_slug').on(t.tenant, t.slug),
    index('posts_by_author').on(t.tenant, t.authorId, t.id),
    index('posts_by_status').on(t.tenant, t.status, t.createdAt, t.id),
    index('posts_newest').on(t.tenant, t.createdAt, t.id),
    index('posts_most_discussed').on(t.tenant, t.commentCount, t.id),
    oneOf('posts_status', t.status),
    lengthBetween('posts_title_length', t.title, 1, 300),
  ],
)

export const Posts = resource('posts', posts, {
  description: 'Articles. Published ones may be read by anyone, the others by their author and by editors.',
  relations: {
    author: belongsTo(() => users, 'authorId'),
    comments: hasMany(() => comments, 'postId'),
    tags: manyToMany(
      () => tags,
      () => postTags,
      'postId',
      'tagId',
    ),
  },
  derived: {
    authorName: copy('author', 'name'),
    commentCount: count('comments'),
    lastCommentAt: max('comments', 'createdAt'),
  },
  filter: ['slug', 'authorId', 'status', 'createdAt', 'commentCount'],
  sort: ['createdAt', 'commentCount'],
  validate: {
    slug: z.string().min(1).max(214),
    title: z.string().min(1).max(300),
    words: z.int().min(0),
    meta: z.record(z.string(), z.unknown()),
  },
  access: {
    read: anyOf(when('status', 'published'), owner('authorId'), scope('editor')),
    write: anyOf(owner('authorId'), scope('editor')),
  },
})
