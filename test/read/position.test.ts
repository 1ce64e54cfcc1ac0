import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createTokenSealer, type Epoch, type Seq } from '../../src/log/position.ts'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

const nobody = '0190ffff-0000-7000-8000-000000000000'

describe('a Consistency-Token', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await testServer()
  })
  afterAll(() => server.stop())

  test.each([
    ['a list', '/tags'],
    ['an empty list', '/tags?name=nothing'],
    ['a record that is not here', `/tags/${nobody}`],
    ['the history of a record that is not here', `/tags/${nobody}/history`],
  ])('of a lost epoch, or ahead of the node, is never answered with what is here: %s', async (_, path) => {
    const { epoch, sign } = server.node
    const sealer = createTokenSealer(sign)
    const at = (token: { epoch: Epoch; seq: Seq }) =>
      server.call('GET', path, { headers: { 'Consistency-Token': sealer.seal(token) } })
    const lost = await at({ epoch: 'restored' as Epoch, seq: 1 as Seq })
    expect([lost.status, lost.body.type]).toEqual([409, '/problems/token-from-another-epoch'])
    const ahead = await at({ epoch, seq: 1_000_000 as Seq })
    expect([ahead.status, ahead.body.type]).toEqual([503, '/problems/position-not-reached'])
  })

  test.each([
    ['a record', 200],
    ['no record', 404],
  ])('comes with every answer at the position it was read at: %s', async (_, status) => {
    const made = await server.call('POST', '/tags', { body: { name: `tag ${status}` } })
    const read = await server.call('GET', `/tags/${status === 200 ? made.body.id : nobody}`)
    expect([read.status, read.headers.get('consistency-token')]).toEqual([
      status,
      made.headers.get('consistency-token'),
    ])
  })
})
