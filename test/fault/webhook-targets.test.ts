import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type Address, isPublic } from '../../src/webhook/target.ts'
import { type Receiver, receiver } from '../support/receiver.ts'
import { type Answer, type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

/** Row 38: every host is where this says, and the canary on the loopback must never hear of it. */
let server: TestServer
let canary: Receiver
let key: string
let turned = 0
const somewhere: Address = { address: '93.184.215.14', family: 4 }
const loopback: Address = { address: '127.0.0.1', family: 4 }
const hosts = new Map<string, () => readonly Address[]>()

beforeAll(async () => {
  canary = receiver()
  server = await testServer(
    { webhookOrigins: [`http://pinned.test:${canary.port}`] },
    {
      now: () => Date.now() + turned,
      sendMsMax: 300,
      resolveHost: async (host) => hosts.get(host)?.() ?? Promise.reject(new Error('there is no such host')),
    },
  )
  key = await server.key({ scopes: ['read', 'write', 'webhooks'] })
})
afterAll(async () => {
  await server.stop()
  await canary.stop()
})

const save = (url: string) => server.call('POST', '/webhooks', { key, body: { url } })
const deliveries = async (id: string): Promise<Answer['body'][]> =>
  (await server.call('GET', `/webhooks/${id}/deliveries`, { key })).body.data

async function tried(id: string, attempts: number): Promise<Answer['body']> {
  for (;;) {
    const [last] = await deliveries(id)
    if (last?.attempts >= attempts) return last
    await Bun.sleep(5)
  }
}

let count = 0
const newTag = () => server.call('POST', '/tags', { key, body: { name: `tag-${count++}` } })

/** 127.0.0.1 and what is as near, as they may be spelt. */
const spellings = [
  ...['127.0.0.1', '127.0.0.1:443', '127.0.0.1.', '127.1', '127.0.1', '127.000.000.001', '0177.0.0.1', '0177.0.0.01'],
  ...[
    '0x7f.0.0.1',
    '0x7f.1',
    '0x7f000001',
    '0X7F000001',
    '2130706433',
    '017700000001',
    '0x7f.0x0.0x0.0x1',
    '127.0.0.2',
  ],
  ...[
    '127.255.255.254',
    '0',
    '0.0.0.0',
    '0x0',
    '1.0.0.127.in-addr.loop',
    '１２７.０.０.１',
    '①②⑦.⓪.⓪.①',
    '127。0。0。1',
  ],
  ...['%31%32%37.0.0.1', '127.0.0.%31', '[::1]', '[0:0:0:0:0:0:0:1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]'],
  ...['[0:0:0:0:0:ffff:127.0.0.1]', '[::127.0.0.1]', '[64:ff9b::127.0.0.1]', '[64:ff9b:1::7f00:1]', '[2002:7f00:1::]'],
  ...['[2001::1]', '[fe80::1]', '[fc00::1]', '[fd00:ec2::254]', '[ff02::1]', '[2001:db8::1]', '[3fff::1]', '[100::1]'],
  ...['10.0.0.1', '10.255.255.255', '172.16.0.1', '172.31.255.255', '192.168.0.1', '169.254.169.254', '0xa9fea9fe'],
  ...['100.64.0.1', '198.18.0.1', '192.0.0.1', '192.0.2.1', '198.51.100.1', '203.0.113.1', '224.0.0.1', '240.0.0.1'],
  ...['255.255.255.255', '192.88.99.1', 'localhost', 'LOCALHOST', 'localhost.', 'a.localhost', 'ｌocalhost'],
]

describe('row 38: a webhook on what only this server can reach', () => {
  test(`is refused at save in ${spellings.length} spellings, by the address that the host is`, async () => {
    for (const name of ['localhost', 'localhost.', 'a.localhost', '1.0.0.127.in-addr.loop'])
      hosts.set(name, () => [loopback])
    expect(spellings.length).toBeGreaterThanOrEqual(60)
    for (const host of spellings) {
      const answer = await save(`https://${host}/hooks`)
      expect([host, answer.status, answer.body.type]).toEqual([host, 422, '/problems/webhook-url-refused'])
      expect(answer.body.errors[0].pointer).toBe('/url')
      expect(answer.body.detail).toContain('is not a host of the public internet')
    }
  })

  test.each([
    ['http://public.test/', 'no https URL on port 443'],
    ['https://public.test:8443/', 'no https URL on port 443'],
    ['https://public.test:80/', 'no https URL on port 443'],
    ['https://user@public.test/', 'a user or a password'],
    ['https://:secret@public.test/', 'a user or a password'],
    ['https://public.test/#part', 'a fragment'],
    ['https://public.test/#', 'a fragment'],
    ['ftp://public.test/', 'no URL'],
    ['file:///etc/passwd', 'no URL'],
    ['javascript:alert(1)', 'no URL'],
    ['public.test', 'no URL'],
    ['', 'no URL'],
    ['https://', 'no URL'],
    ['https://a b/', 'no URL'],
    ['https://256.256.256.256/', 'no URL'],
    ['https://127.0.0.1.5/', 'no URL'],
    ['https://nowhere.test/', 'nowhere.test is not a host of the public internet'],
    ['https://empty.test/', 'empty.test is not a host of the public internet'],
    ['https://half.test/', 'half.test is not a host of the public internet'],
    [`https://public.test/${'x'.repeat(2_100)}`, 'longer than 2048 characters'],
    ['http://pinned.test:1/', 'no https URL on port 443'],
  ])('%p is refused', async (url, why) => {
    hosts.set('public.test', () => [somewhere])
    hosts.set('empty.test', () => [])
    hosts.set('half.test', () => [somewhere, { address: '10.0.0.1', family: 4 }])
    const answer = await save(url)
    expect([answer.status, answer.body.type]).toEqual([422, '/problems/webhook-url-refused'])
    expect(answer.body.detail).toContain(why)
  })

  test('is refused when a webhook is changed', async () => {
    hosts.set('public.test', () => [somewhere])
    const { body } = await save('https://public.test/')
    const path = `/webhooks/${body.id}`
    const changed = await server.call('PATCH', path, { key, body: { url: 'https://127.1/' } })
    expect([changed.status, changed.body.type]).toEqual([422, '/problems/webhook-url-refused'])
    expect((await server.call('GET', path, { key })).body.url).toBe('https://public.test/')
    await server.call('DELETE', path, { key })
  })

  test('is refused at each try where its host has moved there since, and is not reached', async () => {
    let answers: readonly Address[] = [somewhere]
    hosts.set('moving.test', () => answers)
    const { status, body } = await save('https://moving.test/')
    expect(status).toBe(201)
    const moves: readonly Address[][] = [
      [loopback],
      [somewhere, loopback],
      [{ address: '::ffff:127.0.0.1', family: 6 }],
      [],
    ]
    await server.call('PATCH', `/webhooks/${body.id}`, { key, body: { resources: ['tags'] } })
    for (const [n, move] of moves.entries()) {
      answers = move
      if (n === 0) await newTag()
      else turned += 2_000_000
      const last = await tried(body.id, n + 1)
      expect([last.state, last.status, last.error]).toEqual([
        ...['pending', null],
        'The URL is refused. moving.test is not a host of the public internet.',
      ])
    }
    await server.call('DELETE', `/webhooks/${body.id}`, { key })
  })

  test('is never reached: the canary has heard nothing', () => {
    expect(canary.all).toEqual([])
  })
})

describe('an origin that is exempt', () => {
  test('is reached at the address that was checked, by a name that no resolver of this machine knows', async () => {
    const asked: string[] = []
    hosts.set('pinned.test', () => {
      asked.push('pinned.test')
      return [loopback]
    })
    const { body } = await save(`http://pinned.test:${canary.port}/hooks`)
    asked.length = 0
    await newTag()
    const [received] = await canary.got(1)
    expect(received?.headers.get('host')).toBe(`pinned.test:${canary.port}`)
    expect(asked).toEqual(['pinned.test'])
    await server.call('DELETE', `/webhooks/${body.id}`, { key })
  })
})

test('an address is public only where every registry of special purposes lets it be', () => {
  const outside = [
    '8.8.8.8',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '198.17.255.255',
    '223.255.255.255',
  ]
  const outside6 = ['2606:4700::1111', '2a00:1450::1', '2001:200::1', '2003::1']
  expect([...outside, ...outside6].filter((address) => !isPublic(address))).toEqual([])
  const none = [
    '',
    'localhost',
    '8.8.8',
    '8.8.8.8.',
    '::ffff:8.8.8.8',
    '2606:4700::1111%eth0',
    '1::',
    '4000::1',
    'fec0::1',
  ]
  expect(none.filter(isPublic)).toEqual([])
})
