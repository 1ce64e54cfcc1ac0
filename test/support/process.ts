import { join } from 'node:path'

const commands = join(import.meta.dir, '..', '..', 'src', 'entry', 'commands.ts')

/** A server in a process of its own, as `bun run serve` starts it. */
export interface SpawnedServer {
  readonly url: string
  readonly pid: number
  /** The exit code, or null where a signal ended it. */
  readonly exited: Promise<number | null>
  /** What it has said on stderr so far. */
  complaints(): string
  /** Sends the signal and waits for the end. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>
}

export interface SpawnOptions {
  readonly dataDir: string
  /** A command that runs the command it is given, such as `unshare -m`. */
  readonly within?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Before a command: has it end with this process, also where a test that failed has not ended it. */
export const endingWithTests = Bun.which('setpriv') ? ['setpriv', '--pdeathsig', 'KILL'] : []

/** Starts a server over a migrated folder and waits until it says where it is. */
export async function spawnServer({ dataDir, within = [], env = {} }: SpawnOptions): Promise<SpawnedServer> {
  const child = Bun.spawn([...endingWithTests, ...within, process.execPath, commands, 'serve'], {
    env: { PATH: process.env.PATH ?? '', DATA_DIR: dataDir, PORT: '0', PUBLIC_TENANT: 'demo', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  let complaints = ''
  const listening = (async () => {
    for await (const chunk of child.stderr) complaints += new TextDecoder().decode(chunk)
  })()
  const exited = child.exited.then(async () => {
    await listening
    return child.exitCode
  })
  const url = await addressIn(child.stdout)
  if (url === null) throw new Error(`the server did not start (${await exited}): ${complaints}`)
  return {
    url,
    pid: child.pid,
    exited,
    complaints: () => complaints,
    async end(signal) {
      child.kill(signal)
      return exited
    },
  }
}

/** The address that a starting server prints; its further output is read and dropped. */
async function addressIn(output: ReadableStream<Uint8Array>): Promise<string | null> {
  const reader = output.getReader()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return null
    text += new TextDecoder().decode(value)
    const url = /^Perigee is at (\S+)$/m.exec(text)?.[1]
    if (!url) continue
    void (async () => {
      while (!(await reader.read()).done);
    })()
    return url
  }
}
