import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { limits } from '../../src/schema/limits.ts'
import { sweepIdempotency } from '../../src/write/maintenance.ts'
import { type TestServer, testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

describe('idempotency keys', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await testServer()
  })
  afterAll(() => server.stop())

  const body = { handle: 'ada', name: 'Ada' }
  const send = (key: string, handle: string) =>
    server.call('POST', '/users', { body: { ...body, handle }, headers: { 'Idempotency-Key': key } })
  const inDatabase = <T>(work: (database: Database) => T): T => {
    const database = new Database(server.databaseFile)
    database.run('PRAGMA busy_timeout = 5000')
    try {
      return work(database)
    } finally {
      database.close()
    }
  }
  const keys = () =>
    inDatabase((database) => database.query('select key from idempotency order by key').values().flat())

  test('are removed in bounded steps once they have expired, and not before', async () => {
    await send('fresh', 'fresh')
    const now = Date.now()
    const ago = (hours: number) => new Date(now - hours * 3_600_000).toISOString()
    inDatabase((database) => {
      database.run('update idempotency set rowid = 100000')
      const insert = database.prepare(
        'insert into idempotency(rowid, tenant, key, fingerprint, createdAt) values (?, ?, ?, ?, ?)',
      )
      database.transaction(() => {
        for (let i = 1; i <= 1_200; i++) insert.run(i, 'demo', `old ${i}`, 'f', ago(limits.idempotencyHoursKept + 1))
        insert.run(1_201, 'demo', 'almost', 'f', ago(limits.idempotencyHoursKept - 0.1))
      })()
    })
    const left: number[] = []
    for (let to: number | null = 0; to !== null; ) {
      to = await sweepIdempotency(to, now, server.node.reader, server.node.primary)
      left.push(keys().length)
    }
    expect(left).toEqual([702, 202, 2, 2])
    expect(keys()).toEqual(['almost', 'fresh'])
  })

  test('may be used anew once they have expired, also before they are removed', async () => {
    const first = await send('again', 'again')
    const hours = limits.idempotencyHoursKept + 1
    inDatabase((database) =>
      database.run("update idempotency set createdAt = ? where key = 'again'", [
        new Date(Date.now() - hours * 3_600_000).toISOString(),
      ]),
    )
    const second = await send('again', 'another')
    expect([first.status, second.status, second.headers.get('idempotency-replayed')]).toEqual([201, 201, null])
    expect(second.body.id).not.toBe(first.body.id)
    expect((await send('again', 'another')).body.id).toBe(second.body.id)
  })
})
