/** Faults at chosen system calls of a running process, through strace, where it is installed and may attach. */
export interface Injection {
  /** Takes the fault away; the process goes on. */
  stop(): Promise<void>
}

const traced = 'pread64,pwrite64,fsync,fdatasync'

/**
 * `what` as strace writes it, such as `fsync:error=EIO:when=1`; to a file where one is named, else to any. Counts begin
 * anew with each injection.
 */
export async function inject(pid: number, what: string, file?: string): Promise<Injection> {
  const options = ['-f', '-p', String(pid), '-o', '/dev/null', '-e', `trace=${traced}`, '-e', `inject=${what}`]
  const strace = Bun.spawn(['strace', ...options, ...(file ? ['-P', file] : [])], {
    ...{ stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' },
  })
  // What it says is read to its end: strace would die of a closed pipe, and take the fault with it, at a new thread.
  const reader = strace.stderr.getReader()
  let said = ''
  while (!said.includes('attached')) {
    const { done, value } = await reader.read()
    if (done) throw new Error(`strace did not attach: ${said}`)
    said += new TextDecoder().decode(value)
  }
  void (async () => {
    while (!(await reader.read()).done);
  })()
  return {
    async stop() {
      strace.kill('SIGINT')
      // strace waits for ever for some processes that its fault has killed.
      const forced = setTimeout(() => strace.kill('SIGKILL'), 1_000)
      await strace.exited
      clearTimeout(forced)
    },
  }
}

/** Why faults cannot be injected here, or null where they can. */
export async function whyNoInjection(): Promise<string | null> {
  if (process.platform !== 'linux') return 'strace is a tool of Linux'
  if (!Bun.which('strace')) return 'strace is not installed'
  const subject = Bun.spawn(['sleep', '60'])
  try {
    const injection = await inject(subject.pid, 'fsync:error=EIO:when=1')
    await injection.stop()
    return null
  } catch (error) {
    return (error as Error).message.trim()
  } finally {
    subject.kill()
  }
}
