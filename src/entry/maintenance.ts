import { sweepDeliveries } from '../webhook/queue.ts'
import { compactLog, stepFanout, sweepIdempotency } from '../write/maintenance.ts'
import type { Node } from './node.ts'
import { forgetOthers, keepProjection } from './projections.ts'
import type { Settings } from './settings.ts'

const fanoutPollMs = 250
const sweepPauseMs = 3_600_000
const walkPauseMs = 10

/** How long what is kept is kept, in days. */
export type Retention = Pick<Settings, 'logDays' | 'deliveryDays'>

/**
 * The work that no request waits for: queued fan-outs, and what read models have to read, as soon as there are any;
 * expired idempotency keys, and what the log and the deliveries of webhooks need not keep longer, once an hour. Each step
 * is one small batch between others. A step that fails, of a full disk say, is told and tried again.
 */
export function runMaintenance(
  node: Node,
  { logDays, deliveryDays }: Retention,
): { stop(): void; readonly stopped: Promise<void> } {
  const { model, reader, primary } = node
  const { follow, stop } = pacing()
  const jobs = [
    follow(async () => ((await stepFanout(model, reader, primary)) ? 0 : fanoutPollMs)),
    follow(walk((from) => sweepIdempotency(from, Date.now(), reader, primary))),
    follow(walk((from) => compactLog(from, daysAgo(logDays), reader, primary))),
    follow(async () => ((await sweepDeliveries(daysAgo(deliveryDays), reader, primary)) ? walkPauseMs : sweepPauseMs)),
    ...model.projections.map((each) => follow(keepProjection(each, node, tell))),
    forgetOthers(node).catch(complain),
  ]
  return { stop, stopped: Promise.all(jobs).then(() => undefined) }
}

/** One step of a walk over a table, which answers where to go on or null at its end; walks again after a long pause. */
function walk(step: (from: number) => Promise<number | null>): () => Promise<number> {
  let reached = 0
  return async () => {
    const to = await step(reached)
    reached = to ?? 0
    return to === null ? sweepPauseMs : walkPauseMs
  }
}

/** Takes steps again and again, each after the pause that the one before asked for, until `stop`. */
function pacing(): { follow(step: () => Promise<number>): Promise<void>; stop(): void } {
  let isStopping = false
  const pauses = new Set<() => void>()

  function pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const end = () => {
      clearTimeout(timer)
      pauses.delete(end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    pauses.add(end)
    return promise
  }

  return {
    async follow(step) {
      while (!isStopping) {
        const wait = await step().catch((error: Error) => {
          complain(error)
          return 5_000
        })
        if (!isStopping) await pause(wait)
      }
    },
    stop() {
      isStopping = true
      for (const end of pauses) end()
    },
  }
}

function complain({ message }: Error) {
  tell(`maintenance: ${message}`)
}

function tell(sentence: string) {
  console.error(`perigee: ${sentence}`)
}

function daysAgo(days: number): string {
  return new Date(Date.now() - days * 86_400_000).toISOString()
}
