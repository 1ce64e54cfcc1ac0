import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { anyone, belongsTo, fold, identity, projection } from '../schema/index.ts'
import { comments } from './comments.ts'
import { posts } from './posts.ts'
import { users } from './users.ts'

export const authorActivity = sqliteTable(
  'authorActivity',
  {
    ...identity,
    authorId: text().notNull(),
    day: text({ length: 10 }).notNull(),
    posts: integer().notNull().default(0),
    words: integer().notNull().default(0),
    comments: integer().notNull().default(0),
  },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    index('authorActivity_by_author').on(t.tenant, t.authorId, t.day),
    index('authorActivity_by_day').on(t.tenant, t.day, t.id),
  ],
)

/** The day of an instant, YYYY-MM-DD, in UTC. */
const dayOf = (instant: string) => instant.slice(0, 10)

export const AuthorActivity = projection('authorActivity', authorActivity, {
  description: 'What each author has published and said, by the day on which it was created.',
  key: ['authorId', 'day'],
  from: [
    fold(
      () => posts,
      ['authorId', 'status', 'words', 'createdAt'],
      ({ authorId, status, words, createdAt }) =>
        status === 'published' ? { key: { authorId, day: dayOf(createdAt) }, add: { posts: 1, words } } : null,
    ),
    fold(
      () => comments,
      ['authorId', 'createdAt'],
      ({ authorId, createdAt }) => ({ key: { authorId, day: dayOf(createdAt) }, add: { comments: 1 } }),
    ),
  ],
  relations: { author: belongsTo(() => users, 'authorId') },
  filter: ['authorId', 'day'],
  sort: ['day'],
  access: { read: anyone },
})
