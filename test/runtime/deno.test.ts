import { expect, setDefaultTimeout, test } from 'bun:test'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { dataFolder } from '../support/folder.ts'
import { spawnServer } from '../support/process.ts'
import { projectRoot } from '../support/project.ts'
import { temporaryFolder } from '../support/server.ts'
import { conforms } from './conformance.ts'
import { ownerAt, storyEnv } from './target.ts'

setDefaultTimeout(60_000)

const { scripts } = await Bun.file(join(projectRoot, 'package.json')).json()
const [, ...denoArgs] = scripts.deno.split(' ')
/** As `bun run deno serve` does, without the script of Deno's package that starts its program, and passes no signal on. */
const program: string[] = [createRequire(import.meta.url)('deno/install_api.cjs').runInstall(), ...denoArgs, 'serve']

conforms({
  name: 'Deno standalone',
  skips: {},
  async start() {
    const folder = await dataFolder()
    const server = await spawnServer({ dataDir: folder.path, env: storyEnv, program })
    return {
      url: server.url,
      ...ownerAt(server.url, folder.owner),
      async stop() {
        expect([await server.end('SIGTERM'), server.complaints()]).toEqual([0, ''])
        folder.remove()
      },
    }
  },
})

test('Deno says in words what it cannot serve, and ends as Bun does', async () => {
  const folder = temporaryFolder()
  const run = async (env: Record<string, string>, ...args: string[]) => {
    const child = Bun.spawn([...program.slice(0, -1), ...args], {
      cwd: projectRoot,
      env: { PATH: process.env.PATH ?? '', DATA_DIR: folder.path, PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    return [await child.exited, await new Response(child.stderr).text()]
  }
  const busy = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() })
  expect(await run({}, 'serve')).toEqual([1, expect.stringMatching(/^There is no database in /)])
  expect(await run({}, 'surf')).toEqual([1, expect.stringMatching(/^bun run deno \[serve\]/)])
  expect(await run({ PORT: 'many' }, 'serve')).toEqual([2, expect.stringMatching(/^PORT/)])
  expect(await run({ PORT: String(busy.port) })).toEqual([
    2,
    expect.stringMatching(/ is in use: choose another PORT\.$/m),
  ])
  expect(await run({ LIBSQL_URL: 'http://127.0.0.1:1' }, 'serve')).toEqual([2, expect.stringMatching(/standalone/)])
  await busy.stop(true)
  folder.remove()
})
