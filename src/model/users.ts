import { integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import * as z from 'zod'
import { anyOf, anyone, count, hasMany, identity, lengthBetween, owner, resource, scope, sum } from '../schema/index.ts'
import { posts } from './posts.ts'

export const users = sqliteTable(
  'users',
  {
    ...identity,
    handle: text({ length: 100 }).notNull(),
    name: text({ length: 200 }).notNull(),
    homepage: text({ length: 500 }),
    postCount: integer().notNull().default(0),
    wordCount: integer().notNull().default(0),
  },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    uniqueIndex('users_by_handle').on(t.tenant, t.handle),
    lengthBetween('users_name_length', t.name, 1, 200),
  ],
)

export const Users = resource('users', users, {
  description: 'People who write posts and comments.',
  relations: { posts: hasMany(() => posts, 'authorId') },
  derived: { postCount: count('posts'), wordCount: sum('posts', 'words') },
  filter: ['handle'],
  sort: ['handle'],
  validate: {
    handle: z
      .string()
      .max(100)
      .regex(/^[a-z0-9][a-z0-9._-]*$/, 'expected a-z, 0-9, dot, dash and underscore'),
    name: z.string().min(1).max(200),
    homepage: z.url({ protocol: /^https?$/ }).max(500),
  },
  access: { read: anyone, write: anyOf(owner('id'), scope('editor')) },
})
