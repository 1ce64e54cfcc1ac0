import { expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { send } from '../../src/webhook/send.ts'
import { temporaryFolder } from '../support/server.ts'

setDefaultTimeout(60_000)

const openssl = Bun.which('openssl')
if (!openssl) console.error('SKIPPED, a receiver over TLS, because there is no openssl')

test.skipIf(!openssl)('a receiver whose certificate nobody vouches for is sent nothing', async () => {
  const folder = temporaryFolder()
  const [key, cert] = [join(folder.path, 'key.pem'), join(folder.path, 'cert.pem')]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const named = ['-subj', '/CN=hooks.test', '-addext', 'subjectAltName=DNS:hooks.test']
  const made = Bun.spawn([openssl ?? '', 'req', '-x509', ...curve, ...named, '-keyout', key, '-out', cert], {
    stdio: ['ignore', 'ignore', 'ignore'],
  })
  expect(await made.exited).toBe(0)
  let requests = 0
  const tls = { key: Bun.file(key), cert: Bun.file(cert) }
  const server = Bun.serve({
    ...{ port: 0, hostname: '127.0.0.1', tls },
    fetch() {
      requests++
      return new Response()
    },
  })
  const target = {
    url: new URL(`https://hooks.test:${server.port}/`),
    addresses: [{ address: '127.0.0.1', family: 4 }],
  }
  const answer = await send(target, '{}', {}, { msMax: 5_000, signal: new AbortController().signal })
  expect(answer).toEqual({ status: null, error: 'The connection failed: DEPTH_ZERO_SELF_SIGNED_CERT.' })
  expect(requests).toBe(0)
  await server.stop(true)
  folder.remove()
})
