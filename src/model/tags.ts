import { foreignKey, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import * as z from 'zod'
import {
  anyOf,
  anyone,
  belongsTo,
  count,
  hasMany,
  identity,
  manyToMany,
  resource,
  scope,
  service,
} from '../schema/index.ts'
import { posts } from './posts.ts'

export const tags = sqliteTable(
  'tags',
  { ...identity, name: text({ length: 100 }).notNull(), postCount: integer().notNull().default(0) },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    uniqueIndex('tags_by_name').on(t.tenant, t.name),
    index('tags_most_used').on(t.tenant, t.postCount, t.id),
  ],
)

export const Tags = resource('tags', tags, {
  description: 'What posts are about.',
  relations: {
    uses: hasMany(() => postTags, 'tagId'),
    posts: manyToMany(
      () => posts,
      () => postTags,
      'tagId',
      'postId',
    ),
  },
  derived: { postCount: count('uses') },
  filter: ['name', 'postCount'],
  sort: ['name', 'postCount'],
  validate: { name: z.string().min(1).max(100) },
  access: { read: anyone, write: anyOf(service, scope('editor')) },
})

export const postTags = sqliteTable(
  'postTags',
  { ...identity, postId: text().notNull(), tagId: text().notNull() },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.postId], foreignColumns: [posts.tenant, posts.id] }).onDelete('cascade'),
    foreignKey({ columns: [t.tenant, t.tagId], foreignColumns: [tags.tenant, tags.id] }).onDelete('cascade'),
    uniqueIndex('postTags_pair').on(t.tenant, t.postId, t.tagId),
    index('postTags_by_tag').on(t.tenant, t.tagId, t.id),
  ],
)

export const PostTags = resource('postTags', postTags, {
  description: 'Which post has which tag.',
  relations: { post: belongsTo(() => posts, 'postId'), tag: belongsTo(() => tags, 'tagId') },
  filter: ['postId', 'tagId'],
  access: { read: anyone, write: anyOf(service, scope('editor')) },
})
