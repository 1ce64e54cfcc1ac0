import { limits } from '../schema/limits.ts'
import type { Batch, Step } from '../store/primary.ts'
import { batchAnswerSql, batchClearSql, batchStoredAnswerSql, claimedSql } from './answer.ts'
import type { Command, WriteRequest } from './command.ts'
import type { StoredWith } from './parameters.ts'
import { compileCommand } from './sql.ts'

/** A write as one guarded batch: it commits whole, with its log, its claim and its answer, or leaves nothing. */
export interface WritePlan extends Batch {
  readonly request: WriteRequest
  /** The command that each guarded step stands for, by the step's number. */
  readonly commandByStep: ReadonlyMap<number, Command>
}

const hourMs = 3_600_000

export function planWrite(request: WriteRequest): WritePlan {
  const { caller, key, requestId, now, commands, single } = request
  const steps: Step[] = []
  const commandByStep = new Map<number, Command>()
  for (const [index, command] of commands.entries()) {
    const { write, explain, putAside } = compileCommand(command, caller)
    const bound = { command, request, index }
    const why = { sql: explain.sql, args: explain.bind(bound) }
    commandByStep.set(steps.length, command)
    steps.push({ sql: write.sql, args: write.bind(bound), guarded: true, explain: why })
    if (!single) steps.push({ sql: putAside.sql, args: putAside.bind(bound) })
  }
  const stored = key ? { ...key, tenant: caller.tenant, now, expiry: expiryAt(now) } : null
  steps.push(...answerSteps(request, stored))
  const context = { actor: caller.actor, request: requestId, time: now }
  if (stored === null) return { request, steps, commandByStep, context }
  const claimed = { sql: claimedSql, args: [stored.tenant, stored.key, stored.expiry] }
  return { request, steps, commandByStep, context, claimed }
}

/** Claims made before this time have expired. */
function expiryAt(now: string): string {
  return new Date(Date.parse(now) - limits.idempotencyHoursKept * hourMs).toISOString()
}

/**
 * The answer, and with a key the claim that stores it: the last statement of the batch, which is refused where the
 * key is taken and so undoes all the others.
 */
function answerSteps(request: WriteRequest, stored: StoredWith | null): Step[] {
  const [command] = request.commands
  if (request.single && command) {
    const { answer, storedAnswer } = compileCommand(command, request.caller)
    const text = stored ? storedAnswer : answer
    return [
      {
        sql: text.sql,
        args: text.bind({ command, request, index: 0, stored }),
        answers: true,
        guarded: stored !== null,
      },
    ]
  }
  const answer: Step = stored
    ? {
        sql: batchStoredAnswerSql,
        args: [stored.tenant, stored.key, stored.fingerprint, stored.now, stored.expiry],
        answers: true,
        guarded: true,
      }
    : { sql: batchAnswerSql, args: [], answers: true }
  return [answer, { sql: batchClearSql, args: [] }]
}
