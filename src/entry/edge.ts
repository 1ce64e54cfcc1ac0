import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import type { Epoch, Position, Seq } from '../log/position.ts'
import type { Report } from '../replica/replicator.ts'
import { ReplicaSupervisor, type Replicating } from '../replica/supervisor.ts'
import type { Model } from '../schema/model.ts'
import { takeLock } from '../store/lock.ts'
import { EdgeServer, type ServerNews } from './edge-server.ts'
import { startWorkers } from './edge-workers.ts'
import { checkAddress, listen } from './listen.ts'
import { type EdgeSettings, type LibsqlSettings, SettingsError } from './settings.ts'
import { openShared } from './shared.ts'
import { childOf, endingWithParent, supervise } from './supervise.ts'

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
 * above 1 there are others that serve beside it, on the same port. Throws a SettingsError where the port or the folder
 * cannot be had.
 */
export async function startEdge(settings: EdgeSettings, model: Model): Promise<RunningEdge> {
  // Alone: a port that processes share would be shared with those of another node as well.
  await checkAddress(settings)
  const sharing = await openShared(settings)
  const lock = holdFolder(settings.dataDir)
  const supervisor = new ReplicaSupervisor({
    folder: join(settings.dataDir, 'replica'),
    clock: { now: Date.now, elapsed: () => performance.now() },
    replicate: (wanted, hear) => keepReplicator(settings.libsql, wanted, hear),
    primaryPosition: () => positionAt(settings.primaryOrigin),
    onChange(facts) {
      server.learn(facts)
      workers.learn(facts)
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
  const server = new EdgeServer(settings, model, sharing, (news) => queueMicrotask(() => hear(server, news)))
  const listening = listen(settings, server.fetch, settings.workers > 1)
  const workers = startWorkers({ count: settings.workers - 1, port: listening.port, hear, complain })
  supervisor.start()
  return {
    url: listening.url,
    async stop() {
      server.beginStop()
      await Promise.all([listening.stop(), workers.stop()])
      server.close()
      await supervisor.stop()
      lock.release()
    },
  }
}

/** Takes the folder for this node alone: two would remove each other's copies. */
function holdFolder(dataDir: string): { release(): void } {
  let lock: { release(): void } | null
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    lock = takeLock(join(dataDir, 'edge.lock'))
  } catch (error) {
    throw new SettingsError(
      `DATA_DIR=${dataDir} cannot hold a copy: ${(error as Error).message}. Name a folder that can be written.`,
    )
  }
  if (lock) return lock
  throw new SettingsError(`DATA_DIR=${dataDir} holds the copy of an edge that is running. Name another folder.`)
}

/** Keeps a replicator running, in a process of its own. Its log goes nowhere: what matters of it is in its reports. */
export function keepReplicator(
  { url, token }: LibsqlSettings,
  wanted: () => string,
  hear: (file: string, report: Report) => void,
): Replicating {
  const start = () => {
    const file = wanted()
    // It may hang in a sync, and would keep the copy for ever where nobody watches it any more.
    const command = [...endingWithParent('KILL'), process.execPath, join(import.meta.dir, 'replicator.ts'), file]
    const spawned = Bun.spawn(command, {
      env: { ...ofSystem(), LIBSQL_URL: url, ...(token !== null && { LIBSQL_TOKEN: token }) },
      stdio: ['ignore', 'ignore', 'inherit'],
      detached: true, // A Ctrl-C of the terminal is for this process.
      ipc: (report: Report) => hear(file, report),
    })
    return childOf('the replicator', spawned)
  }
  const kept = supervise(start(), start, complain)
  return {
    nudge: () => kept.child()?.send('nudge'),
    kill: () => kept.child()?.kill('SIGKILL'),
    restarts: kept.restarts,
    stop: kept.stop,
  }
}

/** Where programs are, and whose certificates are taken beside the well-known: Bun reads the one, libSQL the other. */
function ofSystem(): Record<string, string> {
  const names = ['PATH', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])))
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
