import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readEdgeSettings, readSettings, readWorkerSettings, SettingsError } from '../../src/entry/settings.ts'
import { runCommand } from '../support/command.ts'

setDefaultTimeout(60_000)

const port = 'a port from 0 to 65535, such as 8787'
const host = 'a host name or address, such as 127.0.0.1'
const region = '1 to 32 of a-z, 0-9 and dash, such as eu-1'
const tenant = '1 to 63 of a-z, 0-9, _ and -, or nothing for none'
const database = "the URL of the primary's database, such as libsql://db.example.com"
const origins = 'origins such as https://app.example.com, between commas'

/** A setting, a wrong value of it, and what is expected instead. */
const wrong: [string, string, string][] = [
  ...['', 'http', '-1', '65536', '80.5', '0x50', '1e3', ' 80'].map((value): [string, string, string] => [
    'PORT',
    value,
    port,
  ]),
  ...['', 'local host', 'http://localhost'].map((value): [string, string, string] => ['HOST', value, host]),
  ...['', '  '].map((value): [string, string, string] => ['DATA_DIR', value, 'a folder, such as ./data']),
  ...['', 'EU', 'eu west', 'x'.repeat(33)].map((value): [string, string, string] => ['REGION', value, region]),
  ...['Demo', 'a b', '-a', 'x'.repeat(64)].map((value): [string, string, string] => ['PUBLIC_TENANT', value, tenant]),
  ...['app.example.com', 'https://a.example/', 'https://a.example,*', 'null'].map((value): [string, string, string] => [
    'ALLOWED_ORIGINS',
    value,
    origins,
  ]),
]

for (const value of ['', 'db.example.com', 'file:data.db', 'https://db.example.com?authToken=x', 'http://a@b'])
  wrong.push(['LIBSQL_URL', value, database])

for (const value of ['0', '-1', '1.5', 'many'])
  wrong.push(['RATE_LIMIT', value, 'requests in a minute, from 1 to 9999999'])
wrong.push(['TRUSTED_PROXIES', '10.0.0.0/8', 'addresses such as 10.0.0.7, between commas'])
wrong.push(['UPSTASH_REDIS_REST_URL', 'redis://db', 'the URL of a REST API, such as https://db.upstash.io'])

describe('a wrong setting', () => {
  test.each(wrong)('%s=%j is refused with what is expected', (name, value, expected) => {
    const read = () => readSettings({ [name]: value }, null)
    expect(read).toThrow(new SettingsError(`${name}=${JSON.stringify(value)} is wrong: expected ${expected}.`))
  })

  test('is named with every other', () => {
    const read = () => readSettings({ PORT: 'x', REGION: 'y z', HOST: '127.0.0.1' }, null)
    expect(read).toThrow(
      new SettingsError(`PORT="x" is wrong: expected ${port}.\nREGION="y z" is wrong: expected ${region}.`),
    )
  })

  test.each(['start', 'serve', 'migrate', 'keys list', 'audit', 'import .'])(
    'ends "%s" with code 2 and no more than its sentence',
    async (command) => {
      const ran = await runCommand(command.split(' '), { env: { PORT: 'http' } })
      expect(ran).toEqual({ code: 2, out: '', err: `PORT="http" is wrong: expected ${port}.\n` })
    },
  )
})

describe('settings', () => {
  test('name no folder of a sqld that is not named', () => {
    expect(() => readSettings({ LIBSQL_DIR: '/srv/sqld' }, null)).toThrow('LIBSQL_DIR is set without LIBSQL_URL')
  })

  test.each([
    { UPSTASH_REDIS_REST_URL: 'https://db.upstash.io' },
    { UPSTASH_REDIS_REST_TOKEN: 'a token' },
    { UPSTASH_REDIS_REST_URL: 'https://db.upstash.io', UPSTASH_REDIS_REST_TOKEN: '' },
  ])('name both parts of a Redis, %j is one', (environment) => {
    expect(() => readSettings(environment, null)).toThrow('expected both, or none')
    expect(() => readSettings(environment, null)).not.toThrow('a token')
  })

  test('have defaults', () => {
    expect(readSettings({}, 'demo')).toEqual({
      port: 8787,
      host: '127.0.0.1',
      dataDir: './data',
      region: 'local',
      publicTenant: 'demo',
      allowedOrigins: [],
      libsql: null,
      libsqlListen: '127.0.0.1:8788',
      logDays: 90,
      deliveryDays: 7,
      webhookOrigins: [],
      edgeOrigins: [],
      redis: null,
      rateLimits: { perKey: null, perAddress: null, trustedProxies: [] },
    })
  })

  test('are read from the environment', () => {
    const environment = {
      PORT: '0',
      HOST: '::1',
      DATA_DIR: '/srv/data',
      REGION: 'eu-1',
      PUBLIC_TENANT: 'acme_1',
      ALLOWED_ORIGINS: 'https://a.example, http://localhost:3000',
      LIBSQL_URL: 'libsql://db.example.com',
      LIBSQL_TOKEN: 'a token',
      LIBSQL_DIR: '/srv/sqld',
      UPSTASH_REDIS_REST_URL: 'https://db.upstash.io',
      UPSTASH_REDIS_REST_TOKEN: 'another token',
      RATE_LIMIT: '600',
      RATE_LIMIT_ADDRESS: '60',
      TRUSTED_PROXIES: '127.0.0.1, ::1',
      EDGE_ORIGINS: 'https://perigee.example.workers.dev',
    }
    expect(readSettings(environment, 'demo')).toEqual({
      port: 0,
      host: '::1',
      dataDir: '/srv/data',
      region: 'eu-1',
      publicTenant: 'acme_1',
      allowedOrigins: ['https://a.example', 'http://localhost:3000'],
      libsql: { url: 'https://db.example.com', token: 'a token', folder: '/srv/sqld' },
      libsqlListen: '127.0.0.1:8788',
      logDays: 90,
      deliveryDays: 7,
      webhookOrigins: [],
      edgeOrigins: ['https://perigee.example.workers.dev'],
      redis: { url: 'https://db.upstash.io', token: 'another token' },
      rateLimits: { perKey: 600, perAddress: 60, trustedProxies: ['127.0.0.1', '::1'] },
    })
  })

  test.each([
    ['demo', undefined, 'demo'],
    ['demo', '', null],
    ['demo', 'acme', 'acme'],
    [null, undefined, null],
    [null, '', null],
    [null, 'acme', 'acme'],
  ])('with %p by default and PUBLIC_TENANT=%p the public tenant is %p', (byDefault, given, expected) => {
    expect(readSettings({ PUBLIC_TENANT: given }, byDefault).publicTenant).toBe(expected)
  })
})

describe('settings of an edge', () => {
  const edge = { PRIMARY_ORIGIN: 'https://api.example.com', LIBSQL_URL: 'libsql://db.example.com' }

  test('are none without PRIMARY_ORIGIN', () => {
    expect(readEdgeSettings({ LIBSQL_URL: edge.LIBSQL_URL, WORKERS: 'many' })).toBeNull()
  })

  test('are those of any node and three more', () => {
    const more = { primaryOrigin: edge.PRIMARY_ORIGIN, workers: 1, lagMsMax: 60_000 }
    const libsql = { url: 'https://db.example.com', token: null, folder: null }
    expect(readEdgeSettings(edge)).toEqual({ ...readSettings({}, null), ...more, libsql })
    const given = { ...edge, LIBSQL_TOKEN: 'a token', WORKERS: '4', REPLICA_LAG_MAX: '5', PORT: '80' }
    expect(readEdgeSettings(given)).toMatchObject({
      port: 80,
      workers: 4,
      lagMsMax: 5_000,
      libsql: { token: 'a token' },
    })
  })

  test.each([
    ['PRIMARY_ORIGIN', 'https://api.example.com/', 'an origin, such as https://api.example.com'],
    ['PRIMARY_ORIGIN', '', 'an origin, such as https://api.example.com'],
    ['WORKERS', '0', 'a number of processes from 1 to 99'],
    ['WORKERS', '1.5', 'a number of processes from 1 to 99'],
    ['REPLICA_LAG_MAX', '0', 'seconds from 1 to 999999'],
    ['REPLICA_LAG_MAX', '1m', 'seconds from 1 to 999999'],
  ])('%s=%j is refused with what is expected', (name, value, expected) => {
    const read = () => readEdgeSettings({ ...edge, [name]: value })
    expect(read).toThrow(new SettingsError(`${name}=${JSON.stringify(value)} is wrong: expected ${expected}.`))
  })

  test('need the database of the primary', () => {
    expect(() => readEdgeSettings({ PRIMARY_ORIGIN: edge.PRIMARY_ORIGIN })).toThrow(
      new SettingsError("PRIMARY_ORIGIN is set without LIBSQL_URL: expected the URL of the primary's database."),
    )
  })
})

describe('settings of a Worker', () => {
  const worker = { LIBSQL_URL: 'libsql://db.example.com', LIBSQL_TOKEN: 'a token' }

  test('need the database alone: it then commits there itself, in every region that has callers', () => {
    expect(readWorkerSettings(worker)).toEqual({
      ...{ primaryOrigin: null, region: null, publicTenant: null, allowedOrigins: [], lagMsMax: 60_000 },
      libsql: { url: 'https://db.example.com', token: 'a token', folder: null },
      rateLimits: { perKey: null, perAddress: null, trustedProxies: [] },
    })
  })

  test('name a primary, one region and the age of a copy', () => {
    const more = { PRIMARY_ORIGIN: 'https://api.example.com', REGION: 'weur', REPLICA_LAG_MAX: '5' }
    const named = { primaryOrigin: 'https://api.example.com', region: 'weur', lagMsMax: 5_000 }
    expect(readWorkerSettings({ ...worker, ...more })).toMatchObject(named)
  })

  test('say which is missing, and which is wrong', () => {
    expect(() => readWorkerSettings({})).toThrow('LIBSQL_URL is not set: expected')
    expect(() => readWorkerSettings({ ...worker, PRIMARY_ORIGIN: 'api.example.com' })).toThrow('PRIMARY_ORIGIN=')
  })
})
