import { join } from 'node:path'
import { z } from 'zod'
import type { Epoch, Position, Seq } from '../log/position.ts'
import type { Facts } from '../replica/following.ts'
import type { Report } from '../replica/replicator.ts'
import { ReplicaSupervisor, type Replicating } from '../replica/supervisor.ts'
import type { Model } from '../schema/model.ts'
import { EdgeServer, type ServerNews } from './edge-server.ts'
import { drainMsMax, type Listening, listen } from './listen.ts'
import type { EdgeSettings, LibsqlSettings } from './settings.ts'
import { type Child, supervise } from './supervise.ts'

export interface RunningEdge {
  readonly url: string
  /** Stops taking requests in every process, finishes those in flight, ends the replicator. */
  stop(): Promise<void>
}

/** A replicator of which nothing is heard or seen for this long hangs. A handshake that fails takes three seconds. */
const silentMsMax = 5_000
/** How long the primary may take to say where it stands. */
const positionMsMax = 2_000

/**
 * Serves a copy of the primary's data, kept in the data folder. This process keeps the copy and serves; with `workers`
 * above 1 there are others that serve beside it, on the same port.
 */
export function startEdge(settings: EdgeSettings, model: Model): RunningEdge {
  const workers: Worker[] = []
  let known: Facts | undefined
  const supervisor = new ReplicaSupervisor({
    folder: join(settings.dataDir, 'replica'),
    clock: { now: Date.now, elapsed: () => performance.now() },
    replicate: (wanted, hear) => keepReplicator(settings.libsql, wanted, hear),
    primaryPosition: () => positionAt(settings.primaryOrigin),
    onChange(facts) {
      known = facts
      server.learn(facts)
      for (const worker of workers) worker.learn(facts)
    },
    complain,
    silentMsMax,
  })
  const hear = (process: unknown, news: ServerNews) => {
    if (news.kind === 'nudge') supervisor.nudge()
    else if (news.kind === 'unfit') supervisor.refuse(news.file)
    else supervisor.holds(process, news.files)
  }
  // Later, because what it says of facts that it is being told would change them meanwhile.
  const server = new EdgeServer(settings, model, (news) => queueMicrotask(() => hear(server, news)))
  const listening = listen(settings, server.fetch, settings.workers > 1)
  supervisor.start()
  for (let n = 1; n < settings.workers; n++) workers.push(startWorker(listening.port, () => known, hear))
  return { url: listening.url, stop: () => stop(server, listening, workers, supervisor) }
}

async function stop(
  server: EdgeServer,
  listening: Listening,
  workers: readonly Worker[],
  supervisor: ReplicaSupervisor,
) {
  server.beginStop()
  await Promise.all([listening.stop(), ...workers.map((worker) => worker.stop())])
  server.close()
  await supervisor.stop()
}

interface Worker {
  learn(facts: Facts): void
  stop(): Promise<void>
}

/** Keeps one more server process on the port. It is told what is known once it says that it listens to it. */
function startWorker(
  port: number,
  known: () => Facts | undefined,
  hear: (process: unknown, news: ServerNews) => void,
): Worker {
  const start = () => {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, 'edge-worker.ts')], {
      env: { ...process.env, PORT: String(port) },
      stdio: ['ignore', 'inherit', 'inherit'],
      ipc(news: ServerNews | 'ready') {
        if (news === 'ready') child.send(known())
        else hear(child, news)
      },
    })
    void child.exited.then(() => hear(child, { kind: 'holds', files: [] }))
    return { ...asChild('a server process', child), learn: (facts: Facts) => child.send(facts) }
  }
  const kept = supervise(start(), start, complain)
  return { learn: (facts) => kept.child()?.learn(facts), stop: () => kept.stop(drainMsMax) }
}

/** Keeps a replicator running, in a process of its own. Its log goes nowhere: what matters of it is in its reports. */
export function keepReplicator(
  { url, token }: LibsqlSettings,
  wanted: () => string,
  hear: (file: string, report: Report) => void,
): Replicating {
  const start = () => {
    const file = wanted()
    const child = Bun.spawn([process.execPath, join(import.meta.dir, 'replicator.ts'), file], {
      env: { PATH: process.env.PATH ?? '', LIBSQL_URL: url, ...(token !== null && { LIBSQL_TOKEN: token }) },
      stdio: ['ignore', 'ignore', 'inherit'],
      ipc: (report: Report) => hear(file, report),
    })
    return { ...asChild('the replicator', child), nudge: () => child.send('nudge') }
  }
  const kept = supervise(start(), start, complain)
  return {
    nudge: () => kept.child()?.nudge(),
    kill: () => kept.child()?.kill('SIGKILL'),
    restarts: kept.restarts,
    stop: kept.stop,
  }
}

function asChild(name: string, child: Bun.Subprocess): Child {
  const how = () => (child.signalCode ? `by ${child.signalCode}` : `with code ${child.exitCode}`)
  return {
    ended: child.exited.then(() => `${name} ended ${how()}.`),
    kill: (signal) => child.kill(signal),
  }
}

function complain(sentence: string) {
  console.error(`perigee: ${sentence}`)
}

const readiness = z.object({ epoch: z.string(), position: z.number() })

/** Where the primary says that it stands. */
export async function positionAt(origin: string): Promise<Position> {
  const response = await fetch(`${origin}/readyz`, { signal: AbortSignal.timeout(positionMsMax) })
  if (!response.ok) throw new Error(`${origin}/readyz answers ${response.status}.`)
  const { epoch, position } = readiness.parse(await response.json())
  return { epoch: epoch as Epoch, seq: position as Seq }
}
