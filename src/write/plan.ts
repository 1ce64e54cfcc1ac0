import { limits } from '../schema/limits.ts'
import type { Step } from '../store/primary.ts'
import type { Command, WriteRequest } from './command.ts'
import {
  batchAnswerSql,
  batchClearSql,
  batchStoredAnswerSql,
  claimedSql,
  claimSql,
  compileCommand,
  setContextSql,
} from './sql.ts'

/** A write as one guarded batch: it commits whole, with its log, its claim and its answer, or leaves nothing. */
export interface WritePlan {
  readonly request: WriteRequest
  readonly steps: readonly Step[]
  /** The command or the claim that each guarded step stands for, by the step's number. */
  readonly ownerByStep: ReadonlyMap<number, Command | 'claim'>
}

export function planWrite(request: WriteRequest): WritePlan {
  const { caller, key, requestId, now } = request
  const steps: Step[] = [{ sql: setContextSql, args: [caller.actor, requestId, now] }]
  const ownerByStep = new Map<number, Command | 'claim'>()
  if (key) {
    const expiry = new Date(Date.parse(now) - limits.idempotencyHoursKept * 3_600_000).toISOString()
    const explain = { sql: claimedSql, args: [caller.tenant, key.key] }
    ownerByStep.set(steps.length, 'claim')
    steps.push({ sql: claimSql, args: [caller.tenant, key.key, key.fingerprint, now, expiry], guarded: true, explain })
  }
  for (const [index, command] of request.commands.entries()) {
    const { write, explain, putAside } = compileCommand(command, caller)
    const bound = { command, request, index }
    ownerByStep.set(steps.length, command)
    steps.push({
      sql: write.sql,
      args: write.bind(bound),
      guarded: true,
      explain: { sql: explain.sql, args: explain.bind(bound) },
    })
    if (!request.single) steps.push({ sql: putAside.sql, args: putAside.bind(bound) })
  }
  steps.push(...answerSteps(request), { sql: setContextSql, args: [null, null, null] })
  return { request, steps, ownerByStep }
}

function answerSteps(request: WriteRequest): Step[] {
  const { caller, key, single, commands } = request
  const [command] = commands
  if (single && command) {
    const { answer, storedAnswer } = compileCommand(command, caller)
    const text = key ? storedAnswer : answer
    return [{ sql: text.sql, args: text.bind({ command, request, index: 0 }), answers: true }]
  }
  const answer = key
    ? { sql: batchStoredAnswerSql, args: [caller.tenant, key.key], answers: true }
    : { sql: batchAnswerSql, args: [], answers: true }
  return [answer, { sql: batchClearSql, args: [] }]
}
