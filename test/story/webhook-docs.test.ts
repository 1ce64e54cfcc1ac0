import { expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { endingWithTests } from '../support/process.ts'
import { projectRoot } from '../support/project.ts'
import { testServer } from '../support/server.ts'

setDefaultTimeout(60_000)

test('the receiver of docs/webhooks.md takes what is signed, and refuses what is not', async () => {
  const guide = await Bun.file(join(projectRoot, 'docs', 'webhooks.md')).text()
  const code = /```ts\n([\s\S]+?)```/.exec(guide)?.[1] ?? ''
  const free = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = free
  free.stop(true)
  const origin = `http://127.0.0.1:${port}`
  const server = await testServer({ webhookOrigins: [origin] })
  const key = await server.key({ scopes: ['read', 'write', 'webhooks'] })
  const { body: made } = await server.call('POST', '/webhooks', { key, body: { url: `${origin}/hooks` } })
  const child = Bun.spawn([...endingWithTests, process.execPath, 'run', '-'], {
    cwd: projectRoot,
    env: { PATH: process.env.PATH ?? '', WEBHOOK_SECRET: made.secret, PORT: String(port) },
    stdio: [new Blob([code]), 'pipe', 'inherit'],
  })
  try {
    const unsigned = () => fetch(`${origin}/hooks`, { method: 'POST', body: '{}' }).catch(() => null)
    let refused = await unsigned()
    while (refused === null && child.exitCode === null) refused = await unsigned()
    expect(refused?.status).toBe(400)
    const tag = await server.call('POST', '/tags', { body: { name: 'told' } })
    const { value } = await child.stdout.getReader().read()
    const said = new TextDecoder().decode(value)
    expect(said).toMatch(/^msg_\w+ \{\s+type: "tags.create",/)
    expect(said).toContain(`id: "${tag.body.id}"`)
  } finally {
    child.kill()
    await child.exited
    await server.stop()
  }
})
