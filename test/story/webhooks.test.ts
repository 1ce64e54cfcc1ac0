import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Webhook } from 'standardwebhooks'
import { limits } from '../../src/schema/limits.ts'
import { jitterMax, pausesSeconds } from '../../src/webhook/dispatcher.ts'
import { sweepDeliveries } from '../../src/webhook/queue.ts'
import { type Received, type Receiver, receiver } from '../support/receiver.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

let server: TestServer
let hooks: Receiver
/** Says something to whoever speaks to it, and hangs up. */
let breaking: { readonly origin: string; says: string; stop(): void }
let key: string
/** How far the clock of the dispatcher is turned. */
let turned = 0
beforeAll(async () => {
  hooks = receiver()
  breaking = breakingReceiver()
  server = await testServer(
    { webhookOrigins: [hooks.origin, breaking.origin] },
    { now: () => Date.now() + turned, sendMsMax: 400, resolveHost: async () => [{ address: '8.8.8.8', family: 4 }] },
  )
  key = await server.key({ scopes: ['read', 'write', 'webhooks'] })
})
afterAll(async () => {
  await server.stop()
  await hooks.stop()
  breaking.stop()
})

function breakingReceiver() {
  const socket = {
    data(socket: { write(text: string): number; flush(): void; end(): void }) {
      socket.write(self.says)
      socket.end()
    },
  }
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket })
  const self = { origin: `http://127.0.0.1:${listener.port}`, says: '', stop: () => listener.stop(true) }
  return self
}

/** A path of the receiver for each webhook, so that what it gets is told apart. */
let count = 0
const call = (method: string, path: string, body?: unknown, as = key) => server.call(method, path, { key: as, body })

async function newWebhook(given: object = {}, as = key): Promise<Answer['body']> {
  const answer = await call('POST', '/webhooks', { url: `${hooks.origin}/${count++}`, ...given }, as)
  if (answer.status !== 201) throw new Error(answer.text)
  return answer.body
}

const pathOf = (webhook: { url: string }) => new URL(webhook.url).pathname
const receivedBy = (webhook: { url: string }) => hooks.all.filter(({ path }) => path === pathOf(webhook))

/** Waits until a webhook's receiver has got this many requests. */
async function got(webhook: { url: string }, wanted: number): Promise<Received[]> {
  for (let seen = hooks.all.length; receivedBy(webhook).length < wanted; seen++) await hooks.got(seen + 1)
  return receivedBy(webhook)
}

/** Waits until what the database says of a webhook's deliveries is so. */
async function settled(
  webhook: { id: string },
  isSo: (deliveries: Answer['body'][]) => boolean,
): Promise<Answer['body'][]> {
  for (;;) {
    const { body } = await call('GET', `/webhooks/${webhook.id}/deliveries?limit=100`)
    if (isSo(body.data)) return body.data
    await Bun.sleep(5)
  }
}

const newTag = async () => (await call('POST', '/tags', { name: `tag-${count++}` })).body
const rename = async (tag: { id: string }) => (await call('PATCH', `/tags/${tag.id}`, { name: `tag-${count++}` })).body

async function newPost(status: 'draft' | 'published') {
  const n = count++
  const user = await call('POST', '/users', { handle: `author-${n}`, name: `Ada ${n}` })
  return call('POST', '/posts', { authorId: user.body.id, slug: `post-${n}`, title: `Post ${n}`, status })
}

describe('a webhook', () => {
  test('is made, read, changed and deleted; its secret is told once', async () => {
    const made = await call('POST', '/webhooks', { url: hooks.url, resources: ['tags'] })
    const { secret, ...rest } = made.body
    expect([made.status, made.headers.get('location')]).toEqual([201, `/webhooks/${rest.id}`])
    expect(secret).toMatch(/^whsec_[\w+/]{43}=$/)
    expect(rest).toMatchObject({
      url: hooks.url,
      resources: ['tags'],
      version: '2026-11-01',
      state: 'active',
      reason: null,
    })
    expect((await call('GET', `/webhooks/${rest.id}`)).body).toEqual(rest)
    expect((await call('GET', '/webhooks')).body.data).toContainEqual(rest)
    const changed = await call('PATCH', `/webhooks/${rest.id}`, { state: 'disabled', resources: null })
    expect(changed.body).toMatchObject({ state: 'disabled', reason: 'It was disabled by request.', resources: null })
    expect((await call('DELETE', `/webhooks/${rest.id}`)).status).toBe(204)
    expect((await call('GET', `/webhooks/${rest.id}`)).status).toBe(404)
    const later = [await call('GET', '/changes?after=start'), await call('GET', '/metrics')]
    for (const { text } of later) expect(text).not.toContain(secret)
  })

  test('is made once under an Idempotency-Key, and the answer is the same with its secret', async () => {
    const options = { key, body: { url: hooks.url }, headers: { 'Idempotency-Key': 'one-webhook' } }
    const [first, again] = [
      await server.call('POST', '/webhooks', options),
      await server.call('POST', '/webhooks', options),
    ]
    expect([again.text, again.headers.get('idempotency-replayed')]).toEqual([first.text, 'true'])
    const other = await server.call('POST', '/webhooks', { ...options, body: { url: `${hooks.url}/other` } })
    expect(other.body.type).toBe('/problems/idempotency-key-reused')
    await call('DELETE', `/webhooks/${first.body.id}`)
  })

  test.each([
    [{}, 422, 'invalid-value', '/url'],
    [{ url: 7 }, 422, 'invalid-value', '/url'],
    [{ url: 'https://a.example', resource: ['tags'] }, 422, 'unknown-field', '/resource'],
    [{ url: 'https://a.example', resources: [] }, 422, 'invalid-value', '/resources'],
    [{ url: 'https://a.example', resources: ['tags', 'tags'] }, 422, 'invalid-value', '/resources'],
    [{ url: 'https://a.example', resources: ['tags', 'articles'] }, 422, 'invalid-value', '/resources/1'],
    [{ url: 'https://a.example', version: 'v1' }, 422, 'invalid-value', '/version'],
    [{ url: 'http://a.example' }, 422, 'webhook-url-refused', '/url'],
    [[], 422, 'invalid-value', ''],
  ])('of %j is refused with %d %s at %s', async (body, status, code, pointer) => {
    const answer = await call('POST', '/webhooks', body)
    expect([answer.status, answer.body.type, answer.body.errors[0].pointer]).toEqual([
      ...[status, `/problems/${code}`, pointer],
    ])
  })

  test('takes the scope "webhooks" beside "read" and "write", and no condition', async () => {
    const plain = await server.key({ scopes: ['read', 'write'] })
    const reading = await server.key({ scopes: ['read', 'webhooks'] })
    const statuses = [
      await server.call('GET', '/webhooks', { key: null }),
      await call('GET', '/webhooks', undefined, plain),
      await call('POST', '/webhooks', { url: hooks.url }, plain),
      await call('POST', '/webhooks', { url: hooks.url }, reading),
      await call('GET', '/webhooks', undefined, reading),
      await server.call('POST', '/webhooks', { key, body: { url: hooks.url }, headers: { 'If-Match': '"1"' } }),
    ]
    expect(statuses.map(({ status }) => status)).toEqual([401, 403, 403, 403, 200, 400])
  })

  test('is there for its tenant, and for keys that may at least what its maker may', async () => {
    const scopes = ['read', 'write', 'webhooks']
    const subject = Bun.randomUUIDv7()
    const editor = await server.key({ scopes: [...scopes, 'editor'] })
    const user = await server.key({ scopes, subject })
    const seen = async (id: string, as: string) => (await call('GET', `/webhooks/${id}`, undefined, as)).status
    const [ofEditor, ofUser, plain] = [await newWebhook({}, editor), await newWebhook({}, user), await newWebhook()]
    const stranger = await server.key({ tenant: 'other', scopes: [...scopes, 'editor'] })
    const another = await server.key({ scopes, subject: Bun.randomUUIDv7() })
    expect([await seen(ofEditor.id, editor), await seen(ofEditor.id, key), await seen(ofEditor.id, user)]).toEqual([
      200, 404, 404,
    ])
    expect([await seen(ofUser.id, user), await seen(ofUser.id, key), await seen(ofUser.id, another)]).toEqual([
      200, 200, 404,
    ])
    expect([await seen(plain.id, editor), await seen(plain.id, user), await seen(plain.id, stranger)]).toEqual([
      200, 404, 404,
    ])
    const hidden = `/webhooks/${ofEditor.id}`
    const refused = [
      await call('PATCH', hidden, { url: hooks.url }),
      await call('DELETE', hidden),
      await call('POST', `${hidden}/rotate`),
      await call('POST', `${hidden}/redeliver`, { failed: true }),
      await call('GET', `${hidden}/deliveries`),
    ]
    expect(refused.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404])
    for (const { id } of [ofEditor, ofUser, plain])
      expect((await call('DELETE', `/webhooks/${id}`, undefined, editor)).status).toBe(204)
  })

  test('is one of at most so many of a tenant', async () => {
    const own = await server.key({ tenant: 'many', scopes: ['read', 'write', 'webhooks'] })
    for (let n = 0; n < limits.webhooksPerTenantMax; n++) await newWebhook({}, own)
    const refused = await call('POST', '/webhooks', { url: hooks.url }, own)
    expect([refused.status, refused.body.type]).toEqual([409, '/problems/too-many-webhooks'])
    using database = new Database(server.databaseFile)
    database.run("delete from webhooks where tenant = 'many'")
  })
})

describe('a delivery', () => {
  test('is a signed event that the library of Standard Webhooks verifies, and is what the feed tells', async () => {
    const webhook = await newWebhook({ resources: ['tags'] })
    const tag = await newTag()
    await newPost('published')
    const renamed = await rename(tag)
    await call('DELETE', `/tags/${tag.id}`)
    const received = await got(webhook, 3)
    const verifier = new Webhook(webhook.secret)
    for (const { text, headers } of received) expect(verifier.verify(text, headers.toJSON())).toEqual(JSON.parse(text))
    expect(received.map(({ payload }) => [payload.type, payload.data.record])).toEqual([
      ['tags.create', tag],
      ['tags.update', renamed],
      ['tags.delete', null],
    ])
    const feed = await call('GET', `/changes?after=start&resource=tags&id=${tag.id}`)
    expect(received.map(({ payload }) => payload.data)).toEqual(feed.body.data)
    const done = await settled(webhook, (all) => all.every(({ state }) => state === 'delivered'))
    expect(done.map((each) => each.id)).toEqual(received.map(({ id }) => id).reverse())
    expect(done[0]).toMatchObject({
      resource: 'tags',
      recordId: tag.id,
      attempts: 1,
      nextAt: null,
      status: 200,
      error: null,
    })
    expect(receivedBy(webhook)).toHaveLength(3)
  })

  test('is in the version of its webhook, whatever the default is by then', async () => {
    const webhook = (await call('POST', '/v1/webhooks', { url: `${hooks.origin}/${count++}`, resources: ['articles'] }))
      .body
    const named = await newWebhook({ version: '2026-07-01', resources: ['posts'] })
    const { body: post } = await newPost('published')
    const [event] = await got(webhook, 1)
    expect([webhook.version, event?.payload.type]).toEqual(['2026-03-01', 'articles.create'])
    expect(event?.payload.data.record).toEqual((await call('GET', `/v1/articles/${post.id}`)).body)
    expect((await got(named, 1))[0]?.payload.data.record).toEqual((await call('GET', `/v2/posts/${post.id}`)).body)
  })

  test('is made of what the key may read that made the webhook', async () => {
    const editor = await server.key({ scopes: ['read', 'write', 'webhooks', 'editor'] })
    const user = await server.key({ scopes: ['read', 'webhooks', 'write'], subject: Bun.randomUUIDv7() })
    const all = await newWebhook({ resources: ['posts'] }, editor)
    const some = await newWebhook({ resources: ['posts'] }, user)
    const { body: post } = await newPost('draft')
    for (const status of ['published', 'draft']) await call('PATCH', `/posts/${post.id}`, { status })
    const told = (received: Received[]) =>
      received.map(({ payload: { type, data } }) => `${type} ${data.record?.status ?? ''}`)
    expect(told(await got(all, 3))).toEqual(['posts.create draft', 'posts.update published', 'posts.update draft'])
    expect(told(await got(some, 2))).toEqual(['posts.update published', 'posts.delete '])
  })

  test('is signed with the new and with the old secret for a day after a rotation', async () => {
    const webhook = await newWebhook({ resources: ['tags'] })
    const rotated = await call('POST', `/webhooks/${webhook.id}/rotate`)
    expect(rotated.body.secret).not.toBe(webhook.secret)
    expect(Date.parse(rotated.body.previousSecretUntil) - Date.now()).toBeGreaterThan(23.9 * 3_600_000)
    const tag = await newTag()
    const [both] = await got(webhook, 1)
    for (const { secret } of [webhook, rotated.body])
      new Webhook(secret).verify(both?.text ?? '', both!.headers.toJSON())
    turned += 24 * 3_600_000 + 1_000
    await rename(tag)
    const [, one] = await got(webhook, 2)
    expect(one?.headers.get('webhook-signature')?.split(' ')).toHaveLength(1)
    const shown = await call('GET', `/webhooks/${webhook.id}`)
    expect(JSON.stringify(shown.body)).not.toContain('whsec_')
  })

  test('that fails is tried again after each pause, the same but for its time, and the next of its record waits', async () => {
    const webhook = await newWebhook({ resources: ['tags'] })
    hooks.behave = ({ path }, _) => new Response(null, { status: path === pathOf(webhook) ? 500 : 200 })
    const tag = await newTag()
    await rename(tag)
    const second = await newTag()
    await got(webhook, 2)
    for (const [n, pause] of pausesSeconds.entries()) {
      if (n === 0) continue
      const all = await settled(webhook, (list) => list.filter(({ attempts }) => attempts === n).length === 2)
      const due = all
        .filter(({ attempts }) => attempts === n)
        .map(({ nextAt }) => Date.parse(nextAt) - Date.now() - turned)
      for (const ms of due) expect(ms).toBeLessThanOrEqual(pause * 1000 * (1 + jitterMax))
      if (pause > 60) for (const ms of due) expect(ms).toBeGreaterThan(pause * 1000 - 60_000)
      if (n === pausesSeconds.length - 1) break
      turned += pause * 1000 * (1 + jitterMax)
      await got(webhook, 2 + 2 * n)
    }
    turned += 86_400_000 * (1 + jitterMax)
    const given = await settled(webhook, (list) => list.some(({ state }) => state === 'failed'))
    const { body: ended } = await call('GET', `/webhooks/${webhook.id}`)
    expect(ended).toMatchObject({
      state: 'disabled',
      reason: 'A delivery failed 10 times. At last: The receiver answered 500.',
    })
    expect(new Set(receivedBy(webhook).map(({ payload }) => payload.data.id))).toEqual(new Set([tag.id, second.id]))
    expect(new Set(receivedBy(webhook).map(({ id }) => id)).size).toBe(2)
    expect(given.find(({ state }) => state === 'failed')).toMatchObject({ attempts: 10, status: 500, nextAt: null })
    hooks.behave = () => new Response('thanks')
    // What waited goes on when it is active again; what was given up, when it is asked for.
    expect((await call('PATCH', `/webhooks/${webhook.id}`, { state: 'active' })).body).toMatchObject({ reason: null })
    await settled(webhook, (list) => list.every(({ state }) => state !== 'pending'))
    const again = await call('POST', `/webhooks/${webhook.id}/redeliver`, { failed: true })
    expect([again.status, again.body.queued]).toBeOneOf([
      [202, 1],
      [202, 2],
    ])
    await settled(webhook, (list) => list.every(({ state }) => state === 'delivered'))
    await call('DELETE', `/webhooks/${webhook.id}`)
  })

  test('answered 410 disables at once, and what came meanwhile is sent when it is active again', async () => {
    const webhook = await newWebhook({ resources: ['tags'] })
    hooks.behave = ({ path }) => new Response(null, { status: path === pathOf(webhook) ? 410 : 200 })
    const gone = await newTag()
    await settled(webhook, ([first]) => first?.state === 'failed')
    expect((await call('GET', `/webhooks/${webhook.id}`)).body).toMatchObject({
      ...{ state: 'disabled', reason: 'The receiver answered 410 Gone.' },
    })
    hooks.behave = () => new Response('thanks')
    const missed = await newTag()
    await call('PATCH', `/webhooks/${webhook.id}`, { state: 'active' })
    const [, next] = await got(webhook, 2)
    expect([receivedBy(webhook)[0]?.payload.data.id, next?.payload.data.id]).toEqual([gone.id, missed.id])
  })

  test('is made again by its message id, whatever came of it', async () => {
    const webhook = await newWebhook({ resources: ['tags'] })
    await newTag()
    const [first] = await got(webhook, 1)
    await settled(webhook, ([only]) => only?.state === 'delivered')
    const again = (body: unknown) => call('POST', `/webhooks/${webhook.id}/redeliver`, body)
    expect((await again({ message: first?.id })).body).toEqual({ queued: 1 })
    const [, second] = await got(webhook, 2)
    expect([second?.id, second?.text]).toEqual([first?.id ?? '', first?.text ?? ''])
    expect((await again({ failed: true })).body).toEqual({ queued: 0 })
    const refused = [
      { message: 'msg_other_1' },
      { message: `${first?.id}0` },
      { message: 1 },
      {},
      { failed: true, message: 'x' },
    ]
    const statuses = await Promise.all(refused.map(async (body) => (await again(body)).status))
    expect(statuses).toEqual([404, 404, 422, 422, 422])
  })

  test('is told of in pages, and in the metrics', async () => {
    const webhook = await newWebhook({ resources: ['tags'] })
    for (let n = 0; n < 5; n++) await newTag()
    const all = await settled(webhook, (list) => list.filter(({ state }) => state === 'delivered').length === 5)
    const paged: unknown[] = []
    for (let path: string | undefined = `/webhooks/${webhook.id}/deliveries?limit=2`; path; ) {
      const page = await call('GET', path)
      paged.push(...page.body.data)
      path = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
    }
    expect(paged).toEqual(all)
    const { text } = await call('GET', '/metrics')
    expect(text).toMatch(/^perigee_webhook_tries_total\{outcome="delivered"\} [1-9]\d*$/m)
    expect(text).toMatch(/^perigee_webhook_waiting \d+$/m)
    expect(text).toMatch(/^perigee_webhook_oldest_waiting_seconds [\d.]+$/m)
  })

  test('that ended long ago, or whose webhook is gone, is removed in steps', async () => {
    const [kept, gone] = [await newWebhook({ resources: ['tags'] }), await newWebhook({ resources: ['tags'] })]
    await newTag()
    for (const webhook of [kept, gone]) await settled(webhook, ([only]) => only?.state === 'delivered')
    await call('DELETE', `/webhooks/${gone.id}`)
    using database = new Database(server.databaseFile)
    const left = (id: string) => database.query('select count(*) from deliveries where webhook = ?').values(id)[0]?.[0]
    const { reader, primary } = server.node
    const sweep = async (before: number) => {
      while (await sweepDeliveries(new Date(before).toISOString(), reader, primary));
    }
    await sweep(0)
    expect([left(kept.id), left(gone.id)]).toEqual([1, 0])
    await sweep(Date.now() + turned + 1_000)
    expect(left(kept.id)).toBe(0)
  })
})

describe('a receiver', () => {
  const faults: Record<
    string,
    readonly [answer: () => Response | Promise<Response>, status: number | null, error: string]
  > = {
    'that is slow': [() => new Promise(() => {}), null, 'There was no whole answer within 0.4 seconds.'],
    'whose answer never ends': [() => new Response(drip()), null, 'There was no whole answer within 0.4 seconds.'],
    'that sends on': [() => Response.redirect(`${hooks.origin}/elsewhere`, 301), 301, 'The receiver answered 301.'],
  }

  test.each(Object.keys(faults))('%s has failed, and gets the event again', async (name) => {
    const [answer, status, error] = faults[name]!
    const webhook = await newWebhook({ resources: ['tags'] })
    hooks.behave = ({ path }) => (path === pathOf(webhook) ? answer() : new Response('thanks'))
    await newTag()
    const [failed] = await settled(webhook, ([only]) => only?.attempts === 1)
    expect(failed).toMatchObject({ state: 'pending', status, error })
    hooks.behave = () => new Response('thanks')
    turned += 6_000
    const [first, second] = await got(webhook, 2)
    expect([second?.id, second?.text]).toEqual([first?.id ?? '', first?.text ?? ''])
    expect(hooks.all.filter(({ path }) => path === '/elsewhere')).toEqual([])
  })

  test('that breaks off has failed, before and within its answer', async () => {
    for (const said of ['', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf']) {
      breaking.says = said
      const webhook = await newWebhook({ url: `${breaking.origin}/${count++}`, resources: ['tags'] })
      await newTag()
      const [failed] = await settled(webhook, ([only]) => only?.attempts === 1)
      expect(failed).toMatchObject({ state: 'pending', status: null })
      expect(failed.error).toMatch(/^(The connection failed: ECONNRESET|The answer broke off)\.$/)
      await call('DELETE', `/webhooks/${webhook.id}`)
    }
  })

  test('that answers with 1 GB has answered, and is read no further than the limit', async () => {
    let sent = 0
    const block = new Uint8Array(65_536)
    const flood = () =>
      new ReadableStream<Uint8Array>({
        pull(controller) {
          if (sent >= 2 ** 30) return controller.close()
          sent += block.length
          controller.enqueue(block)
        },
      })
    const webhook = await newWebhook({ resources: ['tags'] })
    hooks.behave = ({ path }) => new Response(path === pathOf(webhook) ? flood() : 'thanks')
    await newTag()
    const [only] = await settled(webhook, ([each]) => each?.attempts === 1)
    expect([only.state, only.status]).toEqual(['delivered', 200])
    expect(sent).toBeLessThan(2 ** 26)
  })

  test('that is away does not hold up another', async () => {
    const [away, there] = [await newWebhook({ resources: ['tags'] }), await newWebhook({ resources: ['tags'] })]
    hooks.behave = ({ path }) => (path === pathOf(away) ? new Promise(() => {}) : new Response('thanks'))
    for (let n = 0; n < 12; n++) await newTag()
    await got(there, 12)
    expect(receivedBy(away).length).toBeLessThanOrEqual(limits.webhookSendsMax)
    hooks.behave = () => new Response('thanks')
  })
})

function drip(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller) {
      controller.enqueue(new TextEncoder().encode('.'))
      await Bun.sleep(50)
    },
  })
}
