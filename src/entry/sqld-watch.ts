import type { Primary } from '../store/primary.ts'
import { answering, type Sqld } from './sqld.ts'
import type { Supervisor } from './supervise.ts'

/**
 * The deadlines of a sqld, all here. A group of writes that it has had for longer than `hungMsMax` will not come back:
 * sqld is ended, which cuts the group off with an unknown outcome, before its callers and edges give up by themselves
 * after ten seconds. A machine that stalls for less costs no restart, for which every replica would pay with a whole
 * copy. Where nothing is written for `idleMsMax`, a write that changes nothing is tried. A sqld that starts does not
 * answer until it has recovered, some seconds for each gigabyte, and `startMsMax` at most.
 */
const hungMsMax = 6_000
const idleMsMax = 10_000
export const startMsMax = 300_000

const lookMs = 200

/** To the row that every write sets and clears. */
const probe = { steps: [{ sql: 'update context set time = null where one = 1', args: [] }] }

export interface SqldWatch {
  /** Why nothing can be written just now, as a sentence; null where it can. */
  unready(): string | null
  stop(): void
}

/** Watches that a sqld which has answered goes on to write, and has it replaced where it hangs. */
export function watchSqld(sqld: Supervisor<Sqld>, primary: Primary, tell: (sentence: string) => void): SqldWatch {
  let isStopping = false
  let answered = sqld.child()
  const timer = timerOf(primary)

  async function look() {
    const child = sqld.child()
    if (child && child !== answered) await started(child)
    else if (child && hasHung()) {
      tell(`sqld has not answered a write for ${hungMsMax / 1_000} seconds and is started again.`)
      answered = null
      await sqld.renew(child)
    }
  }

  async function started(child: Sqld) {
    try {
      await answering(child, startMsMax)
      answered = child
    } catch (error) {
      tell((error as Error).message)
      await sqld.renew(child)
    }
  }

  /** Whether the group in flight has been there for too long. Sends one where there has been none for long. */
  function hasHung(): boolean {
    const { isWaiting, ms } = timer()
    if (!isWaiting && ms > idleMsMax) void primary.commit(probe)
    return isWaiting && ms > hungMsMax
  }

  void (async () => {
    for (; !isStopping; await Bun.sleep(lookMs)) await look()
  })()
  return {
    unready: () => (answered && sqld.child() === answered ? null : 'The database is being started again.'),
    stop() {
      isStopping = true
    },
  }
}

/** Says how long the group in flight has been seen there, or for how long there has been none. */
function timerOf(primary: Primary): () => { readonly isWaiting: boolean; readonly ms: number } {
  let [groups, wasWaiting, since] = [0, false, performance.now()]
  return () => {
    const stats = primary.stats()
    const isWaiting = stats.waiting > 0
    if (stats.groups !== groups || isWaiting !== wasWaiting) since = performance.now()
    groups = stats.groups
    wasWaiting = isWaiting
    return { isWaiting, ms: performance.now() - since }
  }
}
