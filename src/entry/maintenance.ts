import { sweepDeliveries } from '../webhook/queue.ts'
import { compactLog, stepFanout, sweepIdempotency } from '../write/maintenance.ts'
import type { Node } from './node.ts'
import { forgetOthers, keepProjection } from './projections.ts'
import type { Settings } from './settings.ts'

const fanoutPollMs = 250
const sweepPauseMs = 3_600_000

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

  async function follow(step: () => Promise<number>) {
    while (!isStopping) {
      const wait = await step().catch((error: Error) => {
        tell(`maintenance: ${error.message}`)
        return 5_000
      })
      if (!isStopping) await pause(wait)
    }
  }

  let sweptTo = 0
  const fanout = follow(async () => ((await stepFanout(node.model, node.reader, node.primary)) ? 0 : fanoutPollMs))
  const sweep = follow(async () => {
    const to = await sweepIdempotency(sweptTo, Date.now(), node.reader, node.primary)
    sweptTo = to ?? 0
    return to === null ? sweepPauseMs : 10
  })
  let compactedTo = 0
  const compaction = follow(async () => {
    const to = await compactLog(compactedTo, daysAgo(logDays), node.reader, node.primary)
    compactedTo = to ?? 0
    return to === null ? sweepPauseMs : 10
  })
  const deliveries = follow(async () =>
    (await sweepDeliveries(daysAgo(deliveryDays), node.reader, node.primary)) ? 10 : sweepPauseMs,
  )
  const forgetting = forgetOthers(node).catch((error: Error) => tell(`maintenance: ${error.message}`))
  const projections = node.model.projections.map((each) => follow(keepProjection(each, node, tell)))
  const stop = () => {
    isStopping = true
    for (const end of pauses) end()
  }
  return {
    stop,
    stopped: Promise.all([fanout, sweep, compaction, deliveries, forgetting, ...projections]).then(() => undefined),
  }
}

function tell(sentence: string) {
  console.error(`perigee: ${sentence}`)
}

function daysAgo(days: number): string {
  return new Date(Date.now() - days * 86_400_000).toISOString()
}
