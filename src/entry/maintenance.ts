import { compactLog, stepFanout, sweepIdempotency } from '../write/maintenance.ts'
import type { Node } from './node.ts'
import { forgetOthers, keepProjection } from './projections.ts'

const fanoutPollMs = 250
const sweepPauseMs = 3_600_000

/**
 * The work that no request waits for: queued fan-outs, and what read models have to read, as soon as there are any;
 * expired idempotency keys, and what the log need not keep longer than `logDays`, once an hour. Each step is one small
 * batch between others. A step that fails, of a full disk say, is told and tried again.
 */
export function runMaintenance(node: Node, logDays: number): { stop(): void; readonly stopped: Promise<void> } {
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
    const before = new Date(Date.now() - logDays * 86_400_000).toISOString()
    const to = await compactLog(compactedTo, before, node.reader, node.primary)
    compactedTo = to ?? 0
    return to === null ? sweepPauseMs : 10
  })
  const forgetting = forgetOthers(node).catch((error: Error) => tell(`maintenance: ${error.message}`))
  const projections = node.model.projections.map((each) => follow(keepProjection(each, node, tell)))
  const stop = () => {
    isStopping = true
    for (const end of pauses) end()
  }
  return { stop, stopped: Promise.all([fanout, sweep, compaction, forgetting, ...projections]).then(() => undefined) }
}

function tell(sentence: string) {
  console.error(`perigee: ${sentence}`)
}
