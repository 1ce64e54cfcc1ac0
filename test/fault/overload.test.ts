import { expect, setDefaultTimeout, test } from 'bun:test'
import { Problem } from '../../src/problem.ts'
import { openLibsqlReader } from '../../src/store/libsql-reader.ts'
import { call, testServer } from '../support/server.ts'
import { startSqld } from '../support/sqld.ts'

setDefaultTimeout(60_000)

test('more reads than a database takes are refused at once, the others are answered, and the node says that it lives', async () => {
  const sqld = await startSqld()
  const server = await testServer({ libsql: { url: sqld.url, token: sqld.token, folder: null } })
  const reader = openLibsqlReader({ url: sqld.url, token: sqld.token })
  sqld.signal('SIGSTOP')
  const settled = Array.from({ length: 1_200 }, () =>
    Promise.resolve(reader.rows('select 1', [])).catch((fault) => fault),
  )
  const refused = await Promise.all(settled.slice(1_000))
  for (const fault of refused) {
    expect(fault).toBeInstanceOf(Problem)
    expect([fault.code, fault.details.headers]).toEqual(['overloaded', { 'Retry-After': '1' }])
  }
  expect((await call(server.url, 'GET', '/livez')).status).toBe(200)
  sqld.signal('SIGCONT')
  // In the order in which they came: that the first are is enough to see.
  expect(await Promise.all(settled.slice(0, 50))).toEqual(Array.from({ length: 50 }, () => [[1]]))
  reader.close()
  await server.stop()
  await sqld.remove()
})
