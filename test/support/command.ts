import { join } from 'node:path'
import { projectRoot } from './project.ts'

/** What a command of the command line did: its exit code and what it printed. */
export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface CommandOptions {
  /** The project whose command it is; this one by default. */
  readonly root?: string
  /** Settings. Nothing else is taken from the environment of the tests but the path and the home. */
  readonly env?: Record<string, string>
}

const bases = ['PATH', 'HOME', 'TMPDIR'] as const

function spawnCommand(args: readonly string[], { root = projectRoot, env = {} }: CommandOptions) {
  const base = Object.fromEntries(bases.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])))
  return Bun.spawn([process.execPath, join(root, 'src/entry/commands.ts'), ...args], {
    cwd: root,
    env: { ...base, ...env } as Record<string, string>,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Runs a command to its end. */
export async function runCommand(args: readonly string[], options: CommandOptions = {}): Promise<Ran> {
  const child = spawnCommand(args, options)
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, out, err }
}

/** A command that goes on, its lines read as they come. */
export interface Running {
  readonly pid: number
  readonly exited: Promise<number>
  ended(): boolean
  /** Waits for a line of its output that matches, from the last one seen. Throws with all it said when it ends first. */
  line(pattern: RegExp): Promise<RegExpExecArray>
  /** What it has printed so far, both streams. */
  said(): string
  kill(signal: NodeJS.Signals): void
  /** Ends it if it still runs, and waits. */
  end(): Promise<void>
}

export function startCommand(args: readonly string[], options: CommandOptions = {}): Running {
  const child = spawnCommand(args, options)
  return follow(child)
}

/** Follows a process whose output and errors are pipes. */
export function follow(child: Bun.Subprocess<'ignore' | 'pipe', 'pipe', 'pipe'>): Running {
  const lines: string[] = []
  let seen = 0
  let wake = () => {}
  let open = 2
  const read = async (stream: ReadableStream<Uint8Array>) => {
    let rest = ''
    for await (const text of stream.pipeThrough(new TextDecoderStream() as never) as unknown as AsyncIterable<string>) {
      const parts = (rest + text).split('\n')
      rest = parts.pop() ?? ''
      lines.push(...parts)
      wake()
    }
    if (rest !== '') lines.push(rest)
    open--
    wake()
  }
  void read(child.stdout)
  void read(child.stderr)
  return {
    pid: child.pid,
    exited: child.exited,
    ended: () => child.exitCode !== null || child.signalCode !== null,
    said: () => lines.join('\n'),
    kill: (signal) => child.kill(signal),
    async line(pattern) {
      for (;;) {
        while (seen < lines.length) {
          const match = pattern.exec(lines[seen++] ?? '')
          if (match) return match
        }
        if (open === 0) throw new Error(`ended without ${pattern}:\n${lines.join('\n')}`)
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    async end() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}
