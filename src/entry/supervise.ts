/** A process of this one's own. */
export interface Child {
  /** How it ended, as a sentence. */
  readonly ended: Promise<string>
  kill(signal: NodeJS.Signals): void
}

/** A spawned process as a child, and the way to send it messages: to one that has ended, or is ending, they go nowhere. */
export function childOf(name: string, spawned: Bun.Subprocess): Child & { send(message: unknown): void } {
  const how = () => (spawned.signalCode ? `by ${spawned.signalCode}` : `with code ${spawned.exitCode}`)
  return {
    ended: spawned.exited.then(() => `${name} ended ${how()}.`),
    kill: (signal) => spawned.kill(signal),
    send(message) {
      try {
        spawned.send(message)
      } catch {
        // A process that ends closes the channel some time before its end is known here, and only then `send` throws.
      }
    },
  }
}

/** Before a command: has it get a signal when this process ends, however that ends. Where the system can do that. */
export function endingWithParent(signal: 'TERM' | 'KILL'): string[] {
  return process.platform === 'linux' && Bun.which('setpriv') ? ['setpriv', '--pdeathsig', signal] : []
}

/** Keeps one child process running. */
export interface Supervisor<C extends Child> {
  /** The one that runs; null between two. */
  child(): C | null
  /** How often another was started in place of one that ended. */
  restarts(): number
  /** Ends the one that runs, where it is `child`, so that another is started. It hangs, and is soon killed. */
  renew(child: C): Promise<void>
  /** Ends the one that runs, which may take `ms` before it is killed, and starts no other. */
  stop(ms?: number): Promise<void>
}

/** A child that ran for as long as this is started again at once. */
const steadyMs = 10_000

/** One that ended sooner is started again at once too, but the next such one after a pause that doubles up to the last. */
const pauseMsMin = 100
const pauseMsMax = 5_000

/** How long a child may take to end on SIGTERM before it is killed; and one that hangs. */
const graceMs = 5_000
const hungGraceMs = 1_000

/** Starts another child whenever one ends, from the first, which runs already. Tells how each of them ended. */
export function supervise<C extends Child>(first: C, start: () => C, tell: (sentence: string) => void): Supervisor<C> {
  const stopping = Promise.withResolvers<void>()
  let isStopping = false
  let restarts = 0
  let child: C | null = first

  async function follow() {
    let quickEnds = 0
    for (let next: C | null = first; next; next = isStopping ? null : startAgain()) {
      const started = performance.now()
      const how = await next.ended
      child = null
      if (isStopping) return
      tell(how)
      quickEnds = performance.now() - started < steadyMs ? quickEnds + 1 : 0
      await Promise.race([Bun.sleep(pauseAfter(quickEnds)), stopping.promise])
    }
  }

  function startAgain(): C {
    child = start()
    restarts++
    return child
  }

  const followed = follow()
  return {
    child: () => child,
    restarts: () => restarts,
    renew: (hung) => (hung === child ? end(hung, hungGraceMs) : Promise.resolve()),
    async stop(ms = graceMs) {
      isStopping = true
      stopping.resolve()
      if (child) await end(child, ms)
      await followed
    },
  }
}

function pauseAfter(quickEnds: number): number {
  return quickEnds < 2 ? 0 : Math.min(pauseMsMax, pauseMsMin * 2 ** (quickEnds - 2))
}

async function end(child: Child, graceMs: number) {
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
  await child.ended
  clearTimeout(timer)
}
