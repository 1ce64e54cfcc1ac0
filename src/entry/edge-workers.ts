import { join } from 'node:path'
import type { Facts } from '../replica/following.ts'
import type { ServerNews } from './edge-server.ts'
import { drainMsMax } from './listening.ts'
import { type Child, childOf, supervise } from './supervise.ts'

/** More server processes of an edge, on one port. Each is told what is known as fast as it takes it in. */
export interface Workers {
  learn(facts: Facts): void
  /** Lets them finish what is in flight. */
  stop(): Promise<void>
}

export interface WorkersOptions {
  readonly count: number
  readonly port: number
  /** Told what a worker says of itself; of one that has ended, that it holds nothing. */
  readonly hear: (worker: unknown, news: ServerNews) => void
  readonly complain: (sentence: string) => void
}

/** What a worker says when it can take in what is known by now. */
export const ready = 'ready'

/** A worker that takes nothing in for this long hangs. */
const hungMs = 10_000
const watchMs = 1_000

interface Worker extends Child {
  learn(facts: Facts): void
  isHung(): boolean
}

export function startWorkers({ count, port, hear, complain }: WorkersOptions): Workers {
  let known: Facts | undefined
  const start = () => startWorker(port, known, hear)
  const kept = Array.from({ length: count }, () => supervise(start(), start, complain))
  const watch = setInterval(() => {
    for (const each of kept) {
      const worker = each.child()
      if (worker?.isHung()) void each.renew(worker)
    }
  }, watchMs)
  return {
    learn(facts) {
      known = facts
      for (const each of kept) each.child()?.learn(facts)
    },
    async stop() {
      clearInterval(watch)
      await Promise.all(kept.map((each) => each.stop(drainMsMax)))
    },
  }
}

function startWorker(port: number, known: Facts | undefined, hear: WorkersOptions['hear']): Worker {
  let newest = known
  let told: Facts | undefined
  let isReady = false
  let busySince = performance.now()
  const spawned = Bun.spawn([process.execPath, join(import.meta.dir, 'edge-worker.ts')], {
    env: { ...process.env, PORT: String(port) },
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true, // A Ctrl-C of the terminal is for the process that started it.
    ipc(news: ServerNews | typeof ready) {
      if (news !== ready) return hear(spawned, news)
      isReady = true
      tell()
    },
  })
  const child = childOf('a server process', spawned)
  void child.ended.then(() => hear(spawned, { kind: 'holds', files: [] }))

  function tell() {
    if (!isReady || newest === told) return
    isReady = false
    busySince = performance.now()
    told = newest
    child.send(newest)
  }

  return {
    ...child,
    learn(facts) {
      newest = facts
      tell()
    },
    isHung: () => !isReady && performance.now() - busySince > hungMs,
  }
}
