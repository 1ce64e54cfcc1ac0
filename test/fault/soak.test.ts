import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { follow } from '../support/command.ts'
import { projectRoot } from '../support/project.ts'
import { temporaryFolder } from '../support/server.ts'

setDefaultTimeout(60_000)

const folder = temporaryFolder()
afterAll(() => folder.remove())

function soak(...args: readonly string[]) {
  const command = [process.execPath, join(projectRoot, 'test/soak.ts'), ...args]
  const env = { PATH: process.env.PATH ?? '', TMPDIR: folder.path }
  return follow(Bun.spawn(command, { env, stdio: ['ignore', 'pipe', 'pipe'] }))
}

test.each([
  [[], '--minutes is missing'],
  [['--minutes', 'ten'], '--minutes ten is not a number of minutes'],
  [['--minutes', '0'], '--minutes 0 is not a number of minutes'],
  [['--minutes', '1', '--edges', '0'], '--edges 0 is not a number from 1 to 9'],
  [['--minutes', '1', '--callers', '0'], '--callers 0 is not a number from 1 to 999'],
  [['--minutes', '1', '--seed', '-1'], 'ambiguous'],
  [['--minutes', '1', '--tokens', 'no'], '--tokens no is neither on nor off'],
  [['1'], "Unexpected argument '1'"],
])('a soak of %p says what is wrong, and how it is to be told', async (args, says) => {
  const running = soak(...args)
  expect(await running.exited).toBe(2)
  expect(running.said()).toContain(says)
  expect(running.said()).toContain('bun run soak --minutes N')
})

test('a soak that is told to stop leaves no process and no file', async () => {
  const running = soak('--minutes', '5', '--edges', '1', '--seed', '7')
  await running.line(/^seed 7, 1 edges, tokens on$/)
  const processes = () => Bun.spawnSync(['pgrep', '-f', folder.path]).stdout.toString()
  while (processes() === '') await Bun.sleep(20)
  running.kill('SIGINT')
  expect(await running.exited).toBe(130)
  expect(processes()).toBe('')
  expect(readdirSync(folder.path)).toEqual([])
})
