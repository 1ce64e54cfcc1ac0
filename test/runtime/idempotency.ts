import { expect } from 'bun:test'
import type { Answer } from '../support/server.ts'
import { type Chapter, refusalOf, tagOf, tokenOf } from './world.ts'

const keyed = (key: string) => ({ 'Idempotency-Key': key })
const isReplay = ({ headers }: Answer) => headers.get('idempotency-replayed') === 'true'
const strong = { headers: { Consistency: 'strong' } }

export const idempotency: Chapter = {
  async 'a request that is sent again under its key gets the first answer, byte for byte, whatever it writes'({
    service,
    newTag,
    unique,
  }) {
    const [patched, deleted] = [await newTag(), await newTag()]
    const create = { do: 'create', resource: 'tags', body: { name: unique() } }
    const requests: [string, string, unknown][] = [
      ['POST', '/tags', { name: unique() }],
      ['PUT', `/tags/${Bun.randomUUIDv7()}`, { name: unique() }],
      ['PATCH', `/tags/${patched.id}`, { name: unique() }],
      ['DELETE', `/tags/${deleted.id}`, undefined],
      ['POST', '/batch', { commands: [create] }],
    ]
    for (const [method, path, body] of requests) {
      const options = { body, headers: keyed(unique()) }
      const [first, again] = [await service(method, path, options), await service(method, path, options)]
      expect([path, first.status < 300, isReplay(first), isReplay(again)]).toEqual([path, true, false, true])
      const told = (answer: Answer) => {
        const lasting = ['location', 'content-type', 'api-version'].map((name) => answer.headers.get(name))
        return [answer.status, answer.text, tagOf(answer), tokenOf(answer), ...lasting]
      }
      expect(told(again)).toEqual(told(first))
    }
  },

  async 'a key that was used with another request is 422, whatever is different'({ service, newTag, unique }) {
    const [tag, headers, name] = [await newTag(), keyed(unique()), unique()]
    expect((await service('POST', '/tags', { body: { name }, headers })).status).toBe(201)
    for (const [method, path, body] of [
      ['POST', '/tags', { name: unique() }],
      ['POST', '/tags', `{ "name": "${name}" }`],
      ['POST', '/v3/tags', { name }],
      ['PUT', `/tags/${tag.id}`, { name }],
      ['DELETE', `/tags/${tag.id}`, undefined],
    ] as const) {
      const refused = await service(method, path, { body, headers })
      expect(refusalOf(refused)).toEqual([422, 'idempotency-key-reused', 'Idempotency-Key'])
    }
    expect((await service('GET', `/tags/${tag.id}`)).body).toEqual(tag)
  },

  async 'twenty equal requests at once have one effect and one answer'({ service, unique }) {
    const [body, headers] = [{ name: unique() }, keyed(unique())]
    const asked = Array.from({ length: 20 }, () => service('POST', '/tags', { body, headers }))
    const answers = await Promise.all(asked)
    expect(new Set(answers.map((each) => `${each.status} ${each.text} ${tokenOf(each)}`)).size).toBe(1)
    expect([answers[0]?.status, answers.filter((each) => !isReplay(each)).length]).toEqual([201, 1])
    const { id } = answers[0]?.body ?? {}
    expect((await service('GET', `/tags/${id}/history`, strong)).body.data).toHaveLength(1)
    expect((await service('GET', `/tags?name=${body.name}&count=exact`, strong)).body.count).toBe(1)
  },

  async 'keys belong to their tenant: another has the same one for itself'({ service, as, unique }) {
    const other = await as({ tenant: 'other' })
    const headers = keyed(unique())
    const [mine, theirs] = [{ name: unique() }, { name: unique() }]
    expect((await service('POST', '/tags', { body: mine, headers })).body.name).toBe(mine.name)
    const answer = await other('POST', '/tags', { body: theirs, headers })
    expect([answer.status, answer.body.name, isReplay(answer)]).toEqual([201, theirs.name, false])
  },

  async 'a key is the same in quotes and bare, and a malformed one is 400'({ service, unique }) {
    const [key, body] = [unique(), { name: unique() }]
    const first = await service('POST', '/tags', { body, headers: keyed(key) })
    const quoted = await service('POST', '/tags', { body, headers: keyed(`"${key}"`) })
    expect([quoted.status, quoted.text, isReplay(quoted)]).toEqual([201, first.text, true])
    for (const malformed of ['a key', '""', '"open', 'k'.repeat(256), `"${'k'.repeat(256)}"`, '"caf\u00e9"']) {
      const refused = await service('POST', '/tags', { body: { name: unique() }, headers: keyed(malformed) })
      expect([malformed, ...refusalOf(refused)]).toEqual([
        ...[malformed, 400, 'invalid-idempotency-key', 'Idempotency-Key'],
      ])
    }
    expect((await service('POST', '/tags', { body: { name: unique() }, headers: keyed('k'.repeat(255)) })).status).toBe(
      201,
    )
  },

  async 'a refused request claims no key: it is free for one that is right'({ service, newTag, unique }) {
    const [tag, headers] = [await newTag(), keyed(unique())]
    expect((await service('POST', '/tags', { body: { name: tag.name }, headers })).status).toBe(409)
    expect((await service('POST', '/tags', { body: { name: '' }, headers })).status).toBe(422)
    const right = await service('POST', '/tags', { body: { name: unique() }, headers })
    expect([right.status, isReplay(right)]).toEqual([201, false])
  },
}
