import { expect, setDefaultTimeout, test } from 'bun:test'
import { dataFolder } from '../support/folder.ts'
import { type SpawnedServer, spawnServer } from '../support/process.ts'
import { replicated } from '../support/replicated.ts'
import { checkSkips, conforms } from './conformance.ts'
import { ownerAt, storyEnv } from './target.ts'

setDefaultTimeout(60_000)

async function endInPeace(server: SpawnedServer) {
  expect([await server.end('SIGTERM'), server.complaints()]).toEqual([0, ''])
}

conforms({
  name: 'Bun standalone',
  skips: {},
  async start() {
    const folder = await dataFolder()
    const server = await spawnServer({ dataDir: folder.path, env: storyEnv })
    return {
      url: server.url,
      ...ownerAt(server.url, folder.owner),
      async stop() {
        await endInPeace(server)
        folder.remove()
      },
    }
  },
})

conforms({
  name: 'Bun edge',
  skips: {},
  async start() {
    const primary = await replicated()
    const edge = await primary.edge(storyEnv)
    await edge.ready()
    // An edge that sent everything on would tell the story as well.
    expect((await edge.call('GET', '/tags')).headers.get('replica-age')).toBeString()
    return {
      url: edge.url,
      ...ownerAt(edge.url, primary.owner),
      async stop() {
        await endInPeace(edge)
        await primary.stop()
      },
    }
  },
})

test('a skip must name a sentence of the story, and why', () => {
  const sentences = ['is read', 'is written']
  expect(() => checkSkips({ 'is read': 'there is no disk' }, sentences)).not.toThrow()
  expect(() => checkSkips({ 'is red': 'there is no disk' }, sentences)).toThrow('no sentence of the story: "is red"')
  expect(() => checkSkips({ 'is read': ' ' }, sentences)).toThrow('no reason: "is read"')
  expect(() => checkSkips({}, [...sentences, 'is read'])).toThrow('says twice: is read')
})
