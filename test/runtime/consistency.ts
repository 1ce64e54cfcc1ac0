import { expect } from 'bun:test'
import { type Chapter, refusalOf, tokenOf } from './world.ts'

const strong = { headers: { Consistency: 'strong' } }

export const consistency: Chapter = {
  async 'a token from a write is kept by the reads that bring it: each of 30 writes is read at once, however it is asked for'({
    outside,
    key,
    newUser,
  }) {
    const { id } = await newUser()
    const [ask, other] = [outside(await key()), outside(null)]
    for (let n = 1; n <= 30; n++) {
      const written = await ask('PATCH', `/users/${id}`, { body: { name: `Name ${n}` } })
      const session = { headers: { 'Consistency-Token': tokenOf(written) } }
      const named = { headers: { ...session.headers, Consistency: 'session' } }
      const [read, list, theirs] = await Promise.all([
        ask('GET', `/users/${id}`, session),
        ask('GET', `/users?id=${id}`, named),
        other('GET', `/users/${id}`, session),
      ])
      expect([n, written.status, read.text, list.body.data, theirs.text]).toEqual([
        ...[n, 200, written.text, [written.body], written.text],
      ])
    }
  },

  async 'a writer reads its record at once without a token, also that it is gone'({ outside, key, unique }) {
    const ask = outside(await key())
    for (let n = 0; n < 3; n++) {
      const made = await ask('POST', '/tags', { body: { name: unique() } })
      const path = `/tags/${made.body.id}`
      expect((await ask('GET', path)).text).toBe(made.text)
      const changed = await ask('PATCH', path, { body: { name: unique() } })
      expect((await ask('GET', path)).text).toBe(changed.text)
      expect((await ask('DELETE', path)).status).toBe(204)
      expect((await ask('GET', path)).status).toBe(404)
    }
  },

  async 'strong sees everything that anybody has written'({ outside, key, as, unique }) {
    const [writer, reader] = [await as({}), outside(await key({ scopes: ['read'] }))]
    for (let n = 0; n < 5; n++) {
      const { body } = await writer('POST', '/tags', { body: { name: unique() } })
      expect((await reader('GET', `/tags/${body.id}`, strong)).body).toEqual(body)
      expect((await reader('GET', `/tags?name=${body.name}`, strong)).body.data).toEqual([body])
    }
  },

  async 'bounded and eventual answer from a position, which never goes back'({ outside, key, newTag }) {
    const ask = outside(await key())
    const { id } = await newTag()
    await ask('GET', `/tags/${id}`, strong)
    for (const wanted of ['bounded;max-staleness=60', 'bounded; max-staleness=0', 'eventual', 'session'])
      for (const path of ['/tags?limit=1', `/users/${Bun.randomUUIDv7()}`]) {
        const answer = await ask('GET', path, { headers: { Consistency: wanted } })
        expect([wanted, path, answer.status]).toEqual([wanted, path, path.startsWith('/tags') ? 200 : 404])
        const session = { headers: { 'Consistency-Token': tokenOf(answer) } }
        const next = await ask('GET', path, session)
        expect([wanted, next.status, seqOf(tokenOf(next)) >= seqOf(tokenOf(answer))]).toEqual([
          ...[wanted, answer.status, true],
        ])
      }
  },

  async 'every answer that was read says its position, refusals and 304 among them'({ service, newTag, unique }) {
    const { id, name } = await newTag()
    for (const [method, path, options] of [
      ['GET', `/tags/${id}`, {}],
      ['GET', `/tags/${id}`, { headers: { 'If-None-Match': '*' } }],
      ['GET', '/tags?limit=1', {}],
      ['GET', `/tags/${id}/history`, {}],
      ['GET', `/tags/${Bun.randomUUIDv7()}`, {}],
      ['POST', '/tags', { body: { name } }],
      ['PATCH', `/tags/${id}`, { body: { name: unique() }, headers: { 'If-Match': '"9"' } }],
    ] as const) {
      const answer = await service(method, path, options)
      expect([method, path, answer.status, tokenOf(answer) !== '']).toEqual([method, path, answer.status, true])
    }
  },

  async 'a token that this API never gave is 400, and so is a malformed wish'({ outside, key, newTag }) {
    const ask = outside(await key())
    const { id } = await newTag()
    const token = tokenOf(await ask('GET', '/tags?limit=1'))
    const [epoch, seq, seal = ''] = token.split('.')
    const forged = [`${epoch}.${Number(seq) - 1}.${seal}`, `${epoch}.${seq}.${seal.slice(1)}A`, `x${token}`]
    for (const path of ['/tags?limit=1', `/tags/${id}`, `/tags/${id}/history`]) {
      for (const each of [...forged, 'x', `${token}.`, '1']) {
        const answer = await ask('GET', path, { headers: { 'Consistency-Token': each } })
        expect([each, ...refusalOf(answer)]).toEqual([each, 400, 'invalid-consistency-token'])
      }
      for (const wanted of ['perhaps', 'bounded', 'bounded;max-staleness=-1', 'bounded;max-staleness=x', 'Strong']) {
        const answer = await ask('GET', path, { headers: { Consistency: wanted } })
        expect([wanted, ...refusalOf(answer)]).toEqual([wanted, 400, 'invalid-header', 'Consistency'])
      }
    }
  },

  async 'a token from before a restore is 409 wherever it is brought'({ outside, key, newTag, tokenFromBefore }) {
    const ask = outside(await key())
    const { id } = await newTag()
    const token = await tokenFromBefore()
    const headers = { 'Consistency-Token': token }
    for (const path of ['/tags?limit=1', `/tags/${id}`, `/tags/${id}/history`])
      expect([path, ...refusalOf(await ask('GET', path, { headers }))]).toEqual([path, 409, 'token-from-another-epoch'])
    for (const path of [`/changes?after=${token}`, `/tags?as-of=${token}`])
      expect([path, ...refusalOf(await ask('GET', path))]).toEqual([path, 409, 'token-from-another-epoch'])
    for (const wanted of ['strong', 'eventual'])
      expect((await ask('GET', '/tags?limit=1', { headers: { ...headers, Consistency: wanted } })).status).toBe(200)
  },
}

const seqOf = (token: string) => Number(token.split('.')[1])
