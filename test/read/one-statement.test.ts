import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import type { Resource } from '../../src/schema/model.ts'
import { caughtUp } from '../support/activity.ts'
import { readingApp, watched } from '../support/database.ts'
import { get } from '../support/random-world.ts'
import { readModels } from '../support/resources.ts'
import { type TestServer, testServer } from '../support/server.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const nobody = '0190ffff-0000-7000-8000-000000000000'

/** Every choice of relations down to a depth, each as the paths that `include` takes. */
function includeChoices(resource: Resource, depth: number): string[][] {
  let choices: string[][] = [[]]
  for (const relation of depth === 0 ? [] : resource.relations.values()) {
    const target = model.resources.get(relation.target)!
    const inner = includeChoices(target, depth - 1).map((paths) => [
      relation.name,
      ...paths.map((path) => `${relation.name}.${path}`),
    ])
    choices = choices.flatMap((before) => [before, ...inner.map((paths) => [...before, ...paths])])
  }
  return choices
}

const cases = [...model.resources.values()].map((resource) => [resource.name, includeChoices(resource, 2)] as const)

describe('a read', () => {
  let server: TestServer
  const idOf = new Map<string, string>()
  beforeAll(async () => {
    server = await testServer({ follows: true })
    const posts = [0, 1, 2].map((i) => ({
      authorId: { $ref: 'ada' },
      slug: `post-${i}`,
      title: 'A post',
      status: 'published',
    }))
    const commands = [
      { do: 'create', resource: 'users', as: 'ada', body: { handle: 'ada', name: 'Ada' } },
      { do: 'create', resource: 'users', as: 'eve', body: { handle: 'eve', name: 'Eve' } },
      ...posts.map((body, i) => ({ do: 'create', resource: 'posts', as: `post${i}`, body })),
      ...[0, 0, 1].map((i) => ({
        do: 'create',
        resource: 'comments',
        body: { postId: { $ref: `post${i}` }, authorId: { $ref: 'eve' }, body: 'Yes.' },
      })),
      ...['a', 'b'].map((name) => ({ do: 'create', resource: 'tags', as: name, body: { name } })),
      ...['a', 'b'].map((name) => ({
        do: 'create',
        resource: 'postTags',
        body: { postId: { $ref: 'post0' }, tagId: { $ref: name } },
      })),
    ]
    const answer = await server.call('POST', '/batch', { body: { commands } })
    expect(answer.status).toBe(200)
    for (const { resource, id } of answer.body.results) idOf.set(resource, id)
    await caughtUp(server.node.reader)
    for (const name of readModels) idOf.set(name, (await server.call('GET', `/${name}?limit=1`)).body.data[0].id)
  })
  afterAll(() => server.stop())

  test.each(cases)('of %s is one statement, whatever it includes and whatever it finds', async (name, choices) => {
    const statements: string[] = []
    const reader = watched(server.node.reader, (sql) => statements.push(sql))
    // The clock stands still, so that a key that was checked once is trusted throughout.
    const app = readingApp(model, reader, { now: () => 0 })
    const keys = [undefined, await server.key(), await server.key({ subject: nobody })]
    expect(choices.length).toBeGreaterThan(2)
    for (const key of keys) {
      const cursor = (await get(app, `/${name}?limit=1`, key)).body.next
      for (const paths of choices) {
        const include = paths.length === 0 ? 'fields=id' : `include=${paths.join(',')}`
        const reads: [path: string, status: number][] = [
          [`/${name}/${idOf.get(name)}?${include}`, 200],
          [`/${name}/${nobody}?${include}`, 404],
          [`/${name}?${include}`, 200],
          [`/${name}?${include}&limit=1&count=exact`, 200],
          [`/${name}?${include}&after=${cursor}`, 200],
          [`/${name}?${include}&id=${nobody}`, 200],
        ]
        for (const [path, status] of reads) {
          statements.length = 0
          const answer = await get(app, path, key)
          expect([path, answer.status, statements.length]).toEqual([path, status, 1])
        }
      }
    }
  })
})
