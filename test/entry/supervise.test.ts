import { expect, setDefaultTimeout, test } from 'bun:test'
import { type Child, childOf, supervise } from '../../src/entry/supervise.ts'

setDefaultTimeout(60_000)

/** A real child that runs a shell script; `spoke` ends when it has said something. */
function shell(script: string): Child & { readonly pid: number; readonly spoke: Promise<unknown> } {
  const child = Bun.spawn(['sh', '-c', script], { stdio: ['ignore', 'pipe', 'ignore'] })
  const ended = child.exited.then(() => `ended by ${child.signalCode ?? child.exitCode}`)
  return { pid: child.pid, spoke: child.stdout.getReader().read(), ended, kill: (signal) => child.kill(signal) }
}

async function until(isSo: () => boolean) {
  while (!isSo()) await Bun.sleep(5)
}

test('a child that ends is followed by another at once, and each end is told', async () => {
  const told: string[] = []
  const start = () => shell('exec sleep 60')
  const first = start()
  const supervisor = supervise(first, start, (how) => void told.push(how))
  const began = performance.now()
  first.kill('SIGKILL')
  await until(() => supervisor.restarts() === 1)
  expect(performance.now() - began).toBeLessThan(90)
  expect(supervisor.child()?.pid).not.toBe(first.pid)
  await supervisor.stop()
  expect([told, supervisor.child(), supervisor.restarts()]).toEqual([['ended by SIGKILL'], null, 1])
})

test('one that ends again and again is started ever more seldom, and a stop does not wait for the next', async () => {
  const start = () => shell('exit 3')
  const starts: number[] = []
  const supervisor = supervise(start(), start, () => void starts.push(performance.now()))
  await until(() => supervisor.restarts() === 5)
  const pauses = starts.slice(1).map((at, i) => at - (starts[i] ?? 0))
  // None before the first of them, then 100 ms, 200 and 400.
  expect(pauses.slice(1, 4).map((ms, i) => ms >= 100 * 2 ** i)).toEqual([true, true, true])
  const began = performance.now()
  await supervisor.stop()
  expect(performance.now() - began).toBeLessThan(700)
})

test('one that hangs and ignores SIGTERM is killed after a second; a child of before is let be', async () => {
  const start = () => shell("trap '' TERM; echo deaf; while :; do sleep 0.05; done")
  const first = start()
  const supervisor = supervise(first, start, () => {})
  await first.spoke
  const began = performance.now()
  await supervisor.renew(first)
  expect(performance.now() - began).toBeWithin(900, 2_000)
  await until(() => supervisor.restarts() === 1)
  const second = supervisor.child()
  await supervisor.renew(first)
  expect(supervisor.child()).toBe(second)
  second?.kill('SIGKILL')
  await until(() => supervisor.restarts() === 2)
  supervisor.child()?.kill('SIGKILL')
  await supervisor.stop()
})

test('what is sent to a child goes nowhere once its channel is closed, and also before its end is known', async () => {
  const closed = Promise.withResolvers<void>()
  const script = 'process.disconnect(); setInterval(() => {}, 1_000)'
  const spawned = Bun.spawn([process.execPath, '-e', script], { ipc() {}, onDisconnect: () => closed.resolve() })
  const child = childOf('it', spawned)
  try {
    child.send('early')
    await closed.promise
    expect(spawned.exitCode).toBeNull()
    child.send('too late')
  } finally {
    child.kill('SIGKILL')
  }
  expect(await child.ended).toBe('it ended by SIGKILL.')
  child.send('far too late')
})
