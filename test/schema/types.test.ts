import { describe, expect, expectTypeOf, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import type { AuthorActivity } from '../../src/model/activity.ts'
import type { Comments } from '../../src/model/comments.ts'
import { Posts, posts } from '../../src/model/posts.ts'
import type { PostTags, Tags } from '../../src/model/tags.ts'
import { type Users, users } from '../../src/model/users.ts'
import {
  anyone,
  belongsTo,
  copy,
  type FilterOf,
  hasMany,
  type IncludeOf,
  type InputOf,
  manyToMany,
  owner,
  type PatchOf,
  type RecordOf,
  resource,
  type SortOf,
  when,
} from '../../src/schema/index.ts'
import type { FilterTerm } from '../../src/schema/resource.ts'

setDefaultTimeout(60_000)

/**
 * What a typed client is told follows from the model alone. These are assertions of the compiler: `bun run check` runs
 * them, and the first test here, so that `bun test` alone fails too when they do not hold.
 */
type Identity = 'id' | 'version' | 'createdAt' | 'updatedAt'
type Status = 'draft' | 'published' | 'archived'

interface PostRecord {
  id: string
  version: number
  createdAt: string
  updatedAt: string
  authorId: string
  slug: string
  title: string
  body: string
  status: Status
  words: number
  meta: Record<string, unknown> | null
  authorName: string
  commentCount: number
  lastCommentAt: string | null
}

interface PostInput {
  authorId: string
  slug: string
  title: string
  body?: string | undefined
  status?: Status | undefined
  words?: number | undefined
  meta?: Record<string, unknown> | null | undefined
}

describe('the types of the default model', () => {
  test('hold, by the compiler', async () => {
    const root = join(import.meta.dir, '..', '..')
    const tsc = join(root, 'node_modules', '.bin', 'tsc')
    const file = join('test', 'schema', 'types.test.ts')
    const config = JSON.parse(await Bun.file(join(root, 'tsconfig.json')).text()) as { compilerOptions: object }
    const options = Object.entries(config.compilerOptions).flatMap(([name, value]) => [`--${name}`, String(value)])
    const child = Bun.spawn([process.execPath, tsc, ...options, '--ignoreConfig', file], { cwd: root, stdout: 'pipe' })
    expect(await new Response(child.stdout).text()).toBe('')
    expect(await child.exited).toBe(0)
  })

  test('a record has every field but the tenant, and null where the column may be', () => {
    expectTypeOf<RecordOf<typeof Posts>>().toEqualTypeOf<PostRecord>()
    expectTypeOf<RecordOf<typeof Users>['homepage']>().toEqualTypeOf<string | null>()
    expectTypeOf<keyof RecordOf<typeof PostTags>>().toEqualTypeOf<Identity | 'postId' | 'tagId'>()
    // @ts-expect-error: the tenant comes from the key and is in no record.
    const tenant: keyof RecordOf<typeof Posts> = 'tenant'
    expect(String(tenant)).toBe('tenant')
  })

  test('an input has what callers write: nothing derived, nothing that Perigee keeps', () => {
    expectTypeOf<InputOf<typeof AuthorActivity>>().toBeNever()
    expectTypeOf<SortOf<typeof AuthorActivity>>().toEqualTypeOf<'day' | '-day' | 'id' | '-id'>()
    expectTypeOf<InputOf<typeof Posts>>().toEqualTypeOf<PostInput>()
    expectTypeOf<InputOf<typeof Users>>().toEqualTypeOf<{
      handle: string
      name: string
      homepage?: string | null | undefined
    }>()
    expectTypeOf<InputOf<typeof Comments>>().toEqualTypeOf<{ postId: string; authorId: string; body: string }>()
    // @ts-expect-error: the title has no default.
    const untitled: InputOf<typeof Posts> = { authorId: 'a', slug: 's' }
    // @ts-expect-error: a count is derived.
    const counted: InputOf<typeof Posts> = { authorId: 'a', slug: 's', title: 't', commentCount: 1 }
    // @ts-expect-error: the version is Perigee's.
    const versioned: InputOf<typeof Posts> = { authorId: 'a', slug: 's', title: 't', version: 1 }
    // @ts-expect-error: a status is one of three.
    const lost: InputOf<typeof Posts> = { authorId: 'a', slug: 's', title: 't', status: 'lost' }
    expect([untitled, counted, versioned, lost]).toHaveLength(4)
  })

  test('a patch has any part of an input, null where a value is taken away', () => {
    expectTypeOf<PatchOf<typeof Posts>>().toEqualTypeOf<{
      readonly authorId?: string | null
      readonly slug?: string | null
      readonly title?: string | null
      readonly body?: string | null | undefined
      readonly status?: Status | null | undefined
      readonly words?: number | null | undefined
      readonly meta?: Record<string, unknown> | null | undefined
    }>()
    // @ts-expect-error: a patch cannot write what an input cannot.
    const counted: PatchOf<typeof Posts> = { commentCount: 1 }
    // @ts-expect-error: nor give a field another type.
    const wordy: PatchOf<typeof Posts> = { words: 'many' }
    expect([counted, wordy]).toHaveLength(2)
  })

  test('a filter has the declared fields and the id, each with the operators of its values', () => {
    expectTypeOf<keyof FilterOf<typeof Posts>>().toEqualTypeOf<
      'id' | 'slug' | 'authorId' | 'status' | 'createdAt' | 'commentCount'
    >()
    expectTypeOf<FilterOf<typeof Posts>['status']>().toEqualTypeOf<FilterTerm<Status> | undefined>()
    expectTypeOf<FilterOf<typeof Posts>['commentCount']>().toEqualTypeOf<FilterTerm<number> | undefined>()
    expectTypeOf<keyof FilterOf<typeof Comments>>().toEqualTypeOf<'id' | 'postId' | 'authorId'>()
    const right: FilterOf<typeof Posts> = {
      status: 'draft',
      commentCount: { gte: 3 },
      slug: { in: ['a'], null: false },
    }
    // @ts-expect-error: the title is not declared as a filter.
    const titled: FilterOf<typeof Posts> = { title: 'x' }
    // @ts-expect-error: a status is one of three, also within an operator.
    const lost: FilterOf<typeof Posts> = { status: { in: ['lost'] } }
    // @ts-expect-error: there is no such operator.
    const near: FilterOf<typeof Posts> = { commentCount: { near: 3 } }
    expect([right, titled, lost, near]).toHaveLength(4)
  })

  test('includes are the relations, sorts the declared fields and the id, both ways', () => {
    expectTypeOf<IncludeOf<typeof Posts>>().toEqualTypeOf<'author' | 'comments' | 'tags'>()
    expectTypeOf<IncludeOf<typeof Users>>().toEqualTypeOf<'posts'>()
    expectTypeOf<SortOf<typeof Posts>>().toEqualTypeOf<
      'id' | '-id' | 'createdAt' | '-createdAt' | 'commentCount' | '-commentCount'
    >()
    expectTypeOf<SortOf<typeof Tags>>().toEqualTypeOf<'id' | '-id' | 'name' | '-name' | 'postCount' | '-postCount'>()
    expectTypeOf<SortOf<typeof PostTags>>().toEqualTypeOf<'id' | '-id'>()
    expectTypeOf(Posts.name).toEqualTypeOf<'posts'>()
  })

  test('a declaration that names what is not there does not compile', () => {
    const open = { description: 'Some.', access: { read: anyone, write: anyone } }
    const wrong = [
      // @ts-expect-error: no such field to filter by.
      resource('posts', posts, { ...open, filter: ['ghost'] }),
      // @ts-expect-error: no such field to sort by.
      resource('posts', posts, { ...open, sort: ['ghost'] }),
      // @ts-expect-error: the tenant is no field.
      resource('posts', posts, { ...open, filter: ['tenant'] }),
      // @ts-expect-error: no such field to belong by.
      resource('posts', posts, { ...open, relations: { author: belongsTo(() => users, 'ghost') } }),
      // @ts-expect-error: no such column to derive.
      resource('posts', posts, { ...open, derived: { ghost: copy('author', 'name') } }),
      // @ts-expect-error: no such field to validate.
      resource('posts', posts, { ...open, validate: { ghost: undefined } }),
      // @ts-expect-error: no such field of an owner.
      resource('posts', posts, { ...open, access: { read: anyone, write: owner('ghost') } }),
      // @ts-expect-error: no such field of a condition.
      resource('posts', posts, { ...open, access: { read: when('ghost', 1), write: anyone } }),
      // @ts-expect-error: no such column of the other table.
      hasMany(() => posts, 'ghost'),
      // @ts-expect-error: no such column of the joining table.
      manyToMany(() => posts, () => users, 'ghost', 'name'), // biome-ignore format: the comment above is of one line.
    ]
    expect(wrong).toHaveLength(10)
  })
})
