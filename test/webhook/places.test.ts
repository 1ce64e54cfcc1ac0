import { afterEach, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { Webhook } from 'standardwebhooks'
import { testEdge } from '../support/edge.ts'
import { type Receiver, receiver } from '../support/receiver.ts'
import { testServer } from '../support/server.ts'
import { startSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

const scopes = ['read', 'write', 'webhooks']
let hooks: Receiver
beforeEach(() => {
  hooks = receiver()
})
afterEach(() => hooks.stop())

test('over sqld webhooks are made once, told of changes, changed and asked to deliver again', async () => {
  const sqld = await startSqld()
  const server = await testServer({
    libsql: { url: sqld.url, token: sqld.token, folder: null },
    webhookOrigins: [hooks.origin],
  })
  try {
    const key = await server.key({ scopes })
    const options = { key, body: { url: hooks.url }, headers: { 'Idempotency-Key': 'once' } }
    const made = await server.call('POST', '/webhooks', options)
    expect((await server.call('POST', '/webhooks', options)).text).toBe(made.text)
    const path = `/webhooks/${made.body.id}`
    const tag = await server.call('POST', '/tags', { body: { name: 'one' } })
    await server.call('PATCH', `/tags/${tag.body.id}`, { body: { name: 'two' } })
    const [first, second] = await hooks.got(2)
    for (const { text, headers } of [first!, second!]) new Webhook(made.body.secret).verify(text, headers.toJSON())
    expect([first?.payload.data.record, second?.payload.type]).toEqual([tag.body, 'tags.update'])
    const again = await server.call('POST', `${path}/redeliver`, { key, body: { message: first?.id } })
    expect([again.status, again.body]).toEqual([202, { queued: 1 }])
    expect((await hooks.got(3))[2]?.text).toBe(first?.text ?? '')
    expect((await server.call('POST', `${path}/redeliver`, { key, body: { message: 'msg_a_1' } })).status).toBe(404)
    expect((await server.call('PATCH', path, { key, body: { state: 'disabled' } })).body.state).toBe('disabled')
    expect((await server.call('DELETE', path, { key })).status).toBe(204)
    expect((await server.call('DELETE', path, { key })).status).toBe(404)
  } finally {
    await server.stop()
    await sqld.remove()
  }
})

test('an edge sends writes of webhooks on, and reads them from its copy, or strongly from the primary', async () => {
  const server = await testServer({ webhookOrigins: [hooks.origin] })
  const key = await server.key({ scopes })
  const edge = await testEdge(server)
  try {
    const made = await edge.call('POST', '/webhooks', { key, body: { url: hooks.url } })
    expect([made.status, made.headers.get('location')]).toEqual([201, `/webhooks/${made.body.id}`])
    const path = `/webhooks/${made.body.id}`
    const read = (headers = {}) => edge.call('GET', path, { key, headers })
    expect((await read()).status).toBe(404)
    expect((await read({ Consistency: 'strong' })).status).toBe(200)
    edge.replica.catchUp()
    const { secret, ...shown } = made.body
    expect(secret).toStartWith('whsec_')
    expect((await read()).body).toEqual(shown)
    expect((await edge.call('POST', '/tags', { body: { name: 'told' } })).status).toBe(201)
    expect((await hooks.got(1))[0]?.payload.type).toBe('tags.create')
    expect((await edge.call('DELETE', path, { key })).status).toBe(204)
    expect(edge.faults).toEqual([])
  } finally {
    await edge.stop()
    await server.stop()
  }
})
