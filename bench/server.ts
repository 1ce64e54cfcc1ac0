/** Servers as processes of their own, each started as its user would start it. */
import { join } from 'node:path'
import { tenant } from './data.ts'
import { cpuSeconds, pinned } from './machine.ts'

export const root = join(import.meta.dir, '..')

/** `perigee-newest` is Perigee's own process once more, asked at the newest version of the API. */
export type ServerName =
  | ('perigee' | 'perigee-newest' | 'constant' | 'bun-sqlite' | 'hono-sqlite' | 'hono-drizzle')
  | ('constant-worker' | 'constant-object')

/** The files of this run, copies of the data that writes may change. */
export interface Files {
  readonly dataDir: string
  readonly plainFile: string
  /** An API key that both Perigee and the hand-written server take. */
  readonly apiKey: string
}

export interface BenchServer {
  readonly name: ServerName
  readonly url: string
  readonly pid: number
  cpuSeconds(): number
  stop(): Promise<void>
}

const running = new Set<{ kill(): void }>()

/** Ends every server that still runs, at once. */
export function killServers() {
  for (const child of running) child.kill()
}

/** Starts a server on a free port and waits until it says where it is. */
export async function startServer(name: ServerName, files: Files, core: number | null): Promise<BenchServer> {
  const script = name === 'perigee' ? ['src/entry/commands.ts', 'serve'] : [`bench/baselines/${name}.ts`]
  const child = Bun.spawn(pinned(core, [process.execPath, ...script]), {
    cwd: root,
    env: {
      ...process.env,
      NODE_ENV: 'production',
      PORT: '0',
      HOST: '127.0.0.1',
      DATA_DIR: files.dataDir,
      // So that no walk through old changes is measured, as README.md says.
      LOG_DAYS: '36500',
      PUBLIC_TENANT: tenant,
      DATA_FILE: files.plainFile,
      API_KEY: files.apiKey,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  running.add(child)
  const url = await urlFrom(child.stdout)
  if (url === null) throw new Error(`${name} ended with code ${await child.exited} before it said where it is`)
  return {
    name,
    url,
    pid: child.pid,
    cpuSeconds: () => cpuSeconds(child.pid),
    async stop() {
      child.kill('SIGTERM')
      await child.exited
      running.delete(child)
    },
  }
}

async function urlFrom(output: ReadableStream<Uint8Array>): Promise<string | null> {
  const reader = output.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const { value, done } = await reader.read()
    text += decoder.decode(value, { stream: true })
    const url = /at (http:\S+)\s/.exec(text)?.[1]
    if (url || done) {
      reader.releaseLock()
      return url ?? null
    }
  }
}

/** The API key of Perigee's data folder, made by its own command. */
export async function makeKey(dataDir: string): Promise<string> {
  return (await runCommand(['keys', 'create', '--tenant', tenant, '--scopes', 'read,write'], dataDir)).trim()
}

/** Runs a command of Perigee on a data folder; answers what it printed. */
export async function runCommand(args: readonly string[], dataDir: string): Promise<string> {
  const child = Bun.spawn([process.execPath, 'src/entry/commands.ts', ...args], {
    cwd: root,
    env: { ...process.env, DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const printed = await new Response(child.stdout).text()
  if ((await child.exited) !== 0) throw new Error(`the command "${args.join(' ')}" failed`)
  return printed
}
