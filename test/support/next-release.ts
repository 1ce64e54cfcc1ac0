import type { Project } from './project.ts'

/**
 * The next release of the example: a user has two names in the place of one, and a comment a text in the place of a
 * body. What they were is still in the tables.
 */
export function expandExample(project: Project) {
  const users = 'src/model/users.ts'
  const comments = 'src/model/comments.ts'
  project.edit(
    users,
    '    homepage: text({ length: 500 }),\n',
    "    homepage: text({ length: 500 }),\n    givenName: text({ length: 200 }).notNull().default(''),\n    familyName: text({ length: 200 }),\n",
  )
  project.edit(users, 'name: z.string().min(1).max(200)', 'givenName: z.string().min(1).max(200)')
  project.edit(
    comments,
    "    authorName: text().notNull().default(''),\n",
    "    text: text({ length: 10_000 }).notNull().default(''),\n    authorName: text().notNull().default(''),\n",
  )
  project.edit(comments, 'validate: { body:', 'validate: { text:')
  declareNext(project)
}

/** The version of that release, without a change of the tables. */
export function declareNext(project: Project) {
  const versions = 'src/model/versions.ts'
  project.edit(versions, '  renameResource,\n', '  renameResource,\n  split,\n')
  project.edit(
    versions,
    "      comments: [rename('text', 'body')],\n    },\n  ),\n",
    `      comments: [rename('text', 'body')],
    },
  ),
  version('2027-03-01', { alias: 'v4', notes: 'A user has two names. Comments have a text.' }, {
    users: [split('name', ['givenName', 'familyName'], atFirstSpace)],
    comments: [rename('body', 'text')],
  }),
`,
  )
}

/** The release after that: what went is in the tables no more. */
export function contractExample(project: Project) {
  const users = 'src/model/users.ts'
  const comments = 'src/model/comments.ts'
  project.edit(users, '    name: text({ length: 200 }).notNull(),\n', '')
  project.edit(users, "    lengthBetween('users_name_length', t.name, 1, 200),\n", '')
  project.edit(comments, '    body: text({ length: 10_000 }).notNull(),\n', '')
  project.edit(comments, "    lengthBetween('comments_body_length', t.body, 1, 10_000),\n", '')
  // Nodes of the release before, which did not send them, were what their defaults were for.
  project.edit(
    users,
    "givenName: text({ length: 200 }).notNull().default('')",
    'givenName: text({ length: 200 }).notNull()',
  )
  project.edit(
    comments,
    "text: text({ length: 10_000 }).notNull().default('')",
    'text: text({ length: 10_000 }).notNull()',
  )
  project.edit(comments, "copy('author', 'name')", "copy('author', 'givenName')")
  project.edit('src/model/posts.ts', "copy('author', 'name')", "copy('author', 'givenName')")
}
