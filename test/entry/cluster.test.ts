import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { lackingForWan } from '../../src/entry/wan.ts'
import { type Running, runCommand, startCommand } from '../support/command.ts'
import { call, temporaryFolder } from '../support/server.ts'

setDefaultTimeout(60_000)

const lacking = lackingForWan()
const folder = temporaryFolder()
afterAll(() => folder.remove())

/** The nodes of a cluster by the names that its lines give them, in their order. */
async function nodesOf(running: Running): Promise<Map<string, string>> {
  const nodes = new Map<string, string>()
  while (nodes.size < 4) {
    const [, name = '', url = ''] = await running.line(/^(primary|edge [a-z]+) (http:\/\/\S+)$/)
    nodes.set(name, url)
  }
  return nodes
}

interface Process {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

function processes(): Process[] {
  const { stdout } = Bun.spawnSync(['ps', '-eo', 'pid=,ppid=,args='])
  return [...stdout.toString().matchAll(/^ *(\d+) +(\d+) (.*)$/gm)].map(([, pid, parent, command = '']) => {
    return { pid: Number(pid), parent: Number(parent), command }
  })
}

/** Processes whose command names a path: each sqld and each replicator. */
const processesOn = (path: string) => processes().filter(({ command }) => command.includes(path))

describe('a cluster', () => {
  const dir = join(folder.path, 'kept')

  test('is a primary and three edges that are ready when they are named, and goes when it is told to', async () => {
    const running = startCommand(['cluster', '--dir', dir])
    const nodes = await nodesOf(running)
    expect([...nodes.keys()]).toEqual(['primary', 'edge eu', 'edge us', 'edge ap'])
    const [primary = '', eu = '', us = '', ap = ''] = nodes.values()

    const keyFile = join(dir, 'dev-key')
    expect(statSync(keyFile).mode & 0o777).toBe(0o600)
    const key = readFileSync(keyFile, 'utf8').trim()
    expect((await call(ap, 'GET', '/posts?limit=1')).body.data).toHaveLength(1)

    const first = await call(primary, 'POST', '/users', { key, body: { handle: 'first', name: 'First' } })
    const second = await call(eu, 'POST', '/users', { key, body: { handle: 'second', name: 'Second' } })
    expect([first, second]).toMatchObject([{ status: 201 }, { status: 201 }])
    const headers = { 'Consistency-Token': second.headers.get('consistency-token') ?? '' }
    for (const { body } of [first, second]) {
      const read = await call(us, 'GET', `/users/${body.id}`, { key, headers })
      expect([read.status, read.body]).toEqual([200, body])
    }

    const edge = processes().find(({ parent, command }) => parent === running.pid && command.endsWith(' serve'))
    process.kill(edge?.pid ?? 0, 'SIGKILL')
    await running.line(/^edge (eu|us|ap) ended by SIGKILL\.$/)

    running.kill('SIGTERM')
    expect(await running.exited).toBe(0)
    expect(processesOn(dir)).toEqual([])
    for (const url of nodes.values()) expect(fetch(url)).rejects.toThrow()
  })

  test('finds its data again in the folder it was given, and says why there is no wide network', async () => {
    const running = startCommand(['cluster', '--dir', dir, '--wan'], { env: { PATH: '/nowhere' } })
    await running.line(/^There is no .+ here, which --wan needs: nothing is delayed\.$/)
    const [, , us = ''] = (await nodesOf(running)).values()
    const key = readFileSync(join(dir, 'dev-key'), 'utf8').trim()
    expect((await call(us, 'GET', '/users?handle=second', { key })).body.data).toHaveLength(1)
    running.kill('SIGINT')
    expect(await running.exited).toBe(0)
    expect(processesOn(dir)).toEqual([])
    expect(existsSync(dir)).toBe(true)
  })

  test.skipIf(lacking !== null)(
    `of a wide network is as far apart as it says${lacking === null ? '' : ` (skipped: no ${lacking})`}`,
    async () => {
      const TMPDIR = temporaryFolder() // Of its router.
      const running = startCommand(['cluster', '--dir', dir, '--wan'], { env: { TMPDIR: TMPDIR.path } })
      const [, , , ap = ''] = (await nodesOf(running)).values()
      const key = readFileSync(join(dir, 'dev-key'), 'utf8').trim()
      const timed = async (...request: Parameters<typeof call>) => {
        const start = performance.now()
        const { status } = await call(...request)
        return { status, ms: performance.now() - start }
      }
      const reads = [
        await timed(ap, 'GET', '/users?limit=1', { key }),
        await timed(ap, 'GET', '/posts?limit=1', { key }),
      ]
      const write = await timed(ap, 'POST', '/users', { key, body: { handle: 'far', name: 'Far' } })
      expect([...reads, write].map(({ status }) => status)).toEqual([200, 200, 201])
      expect(write.ms).toBeGreaterThan(200)
      expect(Math.min(...reads.map(({ ms }) => ms))).toBeLessThan(100)
      running.kill('SIGTERM')
      expect(await running.exited).toBe(0)
      expect(processesOn(dir)).toEqual([])
      expect([processesOn(TMPDIR.path), readdirSync(TMPDIR.path)]).toEqual([[], []])
      TMPDIR.remove()
    },
  )

  test('leaves nothing of a temporary folder, also when it is ended while it starts', async () => {
    const TMPDIR = temporaryFolder()
    const running = startCommand(['cluster'], { env: { TMPDIR: TMPDIR.path } })
    while (processesOn(TMPDIR.path).length === 0) await Bun.sleep(20)
    running.kill('SIGTERM')
    expect(await running.exited).toBe(0)
    expect(processesOn(TMPDIR.path)).toEqual([])
    expect(readdirSync(TMPDIR.path)).toEqual([])
    TMPDIR.remove()
  })

  test('says what is wrong with its folder', async () => {
    const { code, err } = await runCommand(['cluster', '--dir', '/dev/null/here'])
    expect([code, err]).toEqual([1, expect.stringContaining('--dir /dev/null/here cannot be used')])
  })
})
