import { join } from 'node:path'
import { type ClusterEdge, type ClusterNode, type ClusterPrimary, type LinkedNode, lackingForClock } from './cluster.ts'
import type { Relay } from './relay.ts'
import { until } from './replicated.ts'
import { temporaryFolder } from './server.ts'
import { inject, whyNoInjection } from './syscalls.ts'

/** Breaks a node or a link of its, for about so many milliseconds, and mends it again. */
export type Fault<N> = (node: N, ms: number) => Promise<void>

/** Why no fault of the disk can happen here, or null. */
export const lackingForDisk = await whyNoInjection()

export const primaryFaults: Readonly<Record<string, Fault<ClusterPrimary>>> = {
  'kill -9 the primary': restart('SIGKILL'),
  'end the primary': restart('SIGTERM'),
  'stop the primary': ({ pid }, ms) => suspended(pid, ms),
  'kill -9 sqld': async (primary) => kill(primary.sqldPid()),
  'stop sqld': (primary, ms) => suspended(primary.sqldPid(), ms),
  'restore the primary from an older backup': restored,
  ...(lackingForDisk === null && {
    'kill -9 sqld at a write of a commit': injected('signal=KILL'),
    'fail a write of a commit of sqld': injected('error=EIO'),
  }),
}

export const edgeFaults: Readonly<Record<string, Fault<ClusterEdge>>> = {
  'kill -9 an edge': restart('SIGKILL'),
  'end an edge': restart('SIGTERM'),
  'stop an edge': ({ pid }, ms) => suspended(pid, ms),
  'kill -9 a replicator': async (edge) => kill(edge.replicatorPid()),
  'stop a replicator': (edge, ms) => suspended(edge.replicatorPid(), ms),
  ...linkFaults('primary'),
  ...linkFaults('database'),
  ...(lackingForClock === null && {
    'turn the clock of an edge back by ten minutes': turned(-600),
    'turn the clock of an edge on by a day': turned(86_400),
  }),
}

export const workerFaults: Readonly<Record<string, Fault<LinkedNode>>> = {
  'kill -9 a Worker': restart('SIGKILL'),
  'stop a Worker': ({ pid }, ms) => suspended(pid, ms),
  ...Object.fromEntries(
    Object.entries({ ...linkFaults('primary'), ...linkFaults('database') }).map(([name, fault]) => [
      name.replace('the link', "a Worker's link").replace(/^lose what (.*) answers$/, 'lose what $1 answers a Worker'),
      fault,
    ]),
  ),
}

function restart(signal: 'SIGKILL' | 'SIGTERM'): Fault<ClusterNode> {
  return async (node, ms) => {
    await node.end(signal)
    await Bun.sleep(ms)
    await node.start()
  }
}

/** What the primary commits while the fault lasts is lost. */
async function restored(primary: ClusterPrimary, ms: number) {
  const folder = temporaryFolder()
  try {
    const backup = join(folder.path, 'backup.db')
    primary.backUp(backup)
    await Bun.sleep(ms)
    await primary.restore(backup)
  } finally {
    folder.remove()
  }
}

/** A commit has about as many writes. */
const commitWrites = 32

function injected(what: string): Fault<ClusterPrimary> {
  return async (primary, ms) => {
    await until(
      () => primary.sqldPid() !== null,
      () => 'there is no sqld',
    )
    const nth = 1 + (Math.floor(ms) % commitWrites)
    const injection = await inject(primary.sqldPid() ?? 0, `pwrite64:${what}:when=${nth}`)
    await Bun.sleep(ms)
    await injection.stop()
  }
}

function linkFaults(to: keyof LinkedNode['links']): Record<string, Fault<LinkedNode>> {
  const during =
    (breakIt: (link: Relay) => void, mend: (link: Relay) => void | Promise<void>): Fault<LinkedNode> =>
    async ({ links }, ms) => {
      breakIt(links[to])
      await Bun.sleep(ms)
      await mend(links[to])
    }
  const carry = (link: Relay, primary: boolean, edge: boolean) => {
    link.towards = { primary, edge }
  }
  const whole = (link: Relay) => carry(link, true, true)
  const delay = (link: Relay, ms: number) => {
    link.delayMs = ms
  }
  return {
    [`reset the link to the ${to}`]: async ({ links }) => links[to].cut(),
    [`refuse the link to the ${to}`]: during(
      (link) => {
        link.refuse()
        link.cut()
      },
      (link) => link.accept(),
    ),
    [`lose all on the link to the ${to}`]: during((link) => carry(link, false, false), whole),
    [`lose what the ${to} answers`]: during((link) => carry(link, true, false), whole),
    [`slow the link to the ${to}`]: during(
      (link) => delay(link, 150),
      (link) => delay(link, 0),
    ),
  }
}

function turned(seconds: number): Fault<ClusterEdge> {
  return async (edge, ms) => {
    edge.turnClock(seconds)
    await Bun.sleep(ms + 1_000) // It is noticed within a second.
    edge.turnClock(0)
  }
}

/** A process that is not there, or has just ended, needs no kill. */
function kill(pid: number | null) {
  signal(pid, 'SIGKILL')
}

async function suspended(pid: number | null, ms: number) {
  signal(pid, 'SIGSTOP')
  await Bun.sleep(ms)
  signal(pid, 'SIGCONT')
}

function signal(pid: number | null, name: NodeJS.Signals) {
  if (pid === null) return
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
