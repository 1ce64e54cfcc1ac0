import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv2020 from 'ajv/dist/2020'
import addFormats from 'ajv-formats'
import type { Contract } from '../../src/version/contract.ts'
import { projectRoot } from '../support/project.ts'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.stop())

const contracts = ['2026-03-01', '2026-07-01', '2026-11-01'].map((date): Contract => {
  return JSON.parse(readFileSync(join(projectRoot, `src/model/contracts/${date}.json`), 'utf8')).contract
})

function mistakesOf(schema: object, value: unknown): string[] {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats(ajv)
  ajv.validate(schema, value)
  return (ajv.errors ?? []).map((error) => `${error.instancePath} ${error.message}`)
}

/** What a client of the newest version writes that is hard to show to those of older ones. */
const long = 'An essay that is longer than any title of old '.repeat(6)
const bodies = [
  ['users', { handle: 'ada', name: 'Ada King Lovelace', homepage: 'https://example.com/ada' }],
  ['users', { handle: 'plato', name: 'Plato' }],
  ['posts', { slug: 'one', title: long, body: 'x'.repeat(100_000), status: 'published', words: 7 }],
  ['posts', { slug: 'two', title: 'Two', status: 'archived', meta: { language: 'en', deep: { list: [null, 1] } } }],
  ['posts', { slug: 'three', title: 'Three', meta: { language: 7 } }],
  ['tags', { name: 'essay' }],
  ['comments', { body: 'Well said.' }],
  ['postTags', {}],
] as const

test('every version serves and takes what its published contract says, whoever wrote it', async () => {
  const ids = new Map<string, string>()
  for (const [resource, body] of bodies) {
    const references = {
      ...(['posts', 'comments'].includes(resource) && { authorId: ids.get('users') }),
      ...(['comments', 'postTags'].includes(resource) && { postId: ids.get('posts') }),
      ...(resource === 'postTags' && { tagId: ids.get('tags') }),
    }
    const made = await server.call('POST', `/v3/${resource}`, { body: { ...body, ...references } })
    expect(made.status).toBe(201)
    ids.set(resource, made.body.id)
  }
  let records = 0
  for (const { alias, resources } of contracts) {
    for (const [name, { record, input, patch }] of Object.entries(resources)) {
      const { status, body } = await server.call('GET', `/${alias}/${name}`)
      expect(status).toBe(200)
      for (const each of body.data) {
        records++
        expect([alias, name, ...mistakesOf(record, each)]).toEqual([alias, name])
        // What is served can be sent back, but for what Perigee keeps.
        const taken = Object.keys(input.properties as object)
        const sent = Object.fromEntries(Object.entries(each).filter(([field]) => taken.includes(field)))
        expect([alias, name, ...mistakesOf(input, sent), ...mistakesOf(patch, sent)]).toEqual([alias, name])
        expect((await server.call('PATCH', `/${alias}/${name}/${each.id}`, { body: sent })).status).toBe(200)
      }
    }
  }
  expect(records).toBe(3 * bodies.length)
})
