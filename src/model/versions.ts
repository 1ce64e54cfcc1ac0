import {
  add,
  atFirstSpace,
  changeDefault,
  changeLimit,
  hoist,
  join,
  mapValues,
  plunge,
  remove,
  rename,
  renameResource,
  version,
} from '../schema/index.ts'

/**
 * The published versions of the API, oldest first. The tables are those of the newest; what changed at a version is a
 * list of lenses, from which the versions before it follow: docs/versions.md.
 */
export const versions = [
  version('2026-03-01', {
    alias: 'v1',
    notes: 'The first version.',
    deprecated: '2026-11-01',
    sunset: '2030-03-01',
  }),
  version(
    '2026-07-01',
    {
      alias: 'v2',
      notes:
        'Articles are posts, published ones say so, and a homepage is a field of its user. Posts count their words.',
    },
    {
      posts: [
        renameResource('articles'),
        rename('content', 'body'),
        mapValues('status', { live: 'published' }),
        changeDefault('status', { from: 'published' }),
        plunge('language', 'meta', { kind: 'text' }),
        add('words', { fresh: 0 }),
      ],
      users: [hoist('profile', ['homepage'])],
      postTags: [renameResource('articleTags'), rename('articleId', 'postId'), rename('article', 'post')],
      comments: [rename('articleId', 'postId'), rename('article', 'post')],
      tags: [rename('articles', 'posts'), rename('articleCount', 'postCount')],
    },
  ),
  version(
    '2026-11-01',
    {
      alias: 'v3',
      notes: 'A user has one name, a title up to 300 characters. Nothing is featured any more. Comments have a body.',
    },
    {
      users: [join(['givenName', 'familyName'], 'name', atFirstSpace)],
      posts: [changeLimit('title', { from: 120 }), remove('featured', { kind: 'boolean' }, { stands: false })],
      comments: [rename('text', 'body')],
    },
  ),
]

/** What requests get that name no version, with a key that is pinned to none. It never moves by itself. */
export const defaultVersion = '2026-11-01'
