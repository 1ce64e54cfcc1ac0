/** Runs `start` and starts it again whenever a file under src changes; signals are passed on to it. */
export async function dev(entry: string) {
  const child = Bun.spawn([process.execPath, '--watch', '--no-clear-screen', entry, 'start'], {
    stdio: ['inherit', 'inherit', 'inherit'],
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
  process.exitCode = await child.exited
}
