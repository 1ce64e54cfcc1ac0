import { join } from 'node:path'

import { projectRoot } from './project.ts'

/** A server in a process of its own, as `bun run serve` starts it. */
export interface SpawnedServer {
  readonly url: string
  readonly pid: number
  /** The exit code, or null where a signal ended it. */
  readonly exited: Promise<number | null>
  /** What it has said on stdout and on stderr so far. */
  said(): string
  complaints(): string
  /** Sends the signal and waits for the end. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>
}

export interface SpawnOptions {
  readonly dataDir: string
  /** A command that runs the command it is given, such as `unshare -m`. */
  readonly within?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** The command that serves; `serve` by default. */
  readonly command?: 'serve' | 'primary'
  /** The project whose command it is; this one by default. */
  readonly root?: string
  /** What runs in the place of Bun and that command. */
  readonly program?: readonly string[]
}

/** Before a command: has it end with this process, also where a test that failed has not ended it. */
export const endingWithTests = Bun.which('setpriv') ? ['setpriv', '--pdeathsig', 'KILL'] : []

/** Starts a server over a migrated folder and waits until it says where it is. */
export async function spawnServer(options: SpawnOptions): Promise<SpawnedServer> {
  const { dataDir, within = [], env = {}, command = 'serve', root = projectRoot } = options
  const { program = [process.execPath, join(root, 'src', 'entry', 'commands.ts'), command] } = options
  const child = Bun.spawn([...endingWithTests, ...within, ...program], {
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
  let said = ''
  const url = await addressIn(child.stdout, (text) => {
    said += text
  })
  if (url === null) throw new Error(`the server did not start (${await exited}): ${complaints}`)
  return {
    url,
    pid: child.pid,
    exited,
    said: () => said,
    complaints: () => complaints,
    async end(signal) {
      child.kill(signal)
      return exited
    },
  }
}

/** The address that a starting server prints; `hear` is told all that it prints. */
async function addressIn(output: ReadableStream<Uint8Array>, hear: (text: string) => void): Promise<string | null> {
  const reader = output.getReader()
  let text = ''
  const next = async () => {
    const { done, value } = await reader.read()
    const heard = new TextDecoder().decode(value)
    hear(heard)
    return done ? null : heard
  }
  for (;;) {
    const more = await next()
    if (more === null) return null
    text += more
    const url = /^Perigee is at (\S+)$/m.exec(text)?.[1]
    if (!url) continue
    void (async () => {
      while ((await next()) !== null);
    })()
    return url
  }
}
