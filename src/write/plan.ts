import { assert } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import type { Step } from '../store/primary.ts'
import { type Bind, callOf } from '../store/text.ts'
import { batchAnswerSql, batchClearSql, batchStoredAnswerSql, claimedSql, positionSql, storeSql } from './answer.ts'
import type { Command, WriteRequest, WriteSource } from './command.ts'
import type { WritePlan } from './commit.ts'
import type { StoredWith } from './parameters.ts'
import { refusal } from './refusal.ts'
import { compileCommand } from './sql.ts'

const hourMs = 3_600_000

export function planWrite(request: WriteRequest): WritePlan {
  const { caller, commands, single } = request
  const steps: Step[] = []
  /** The command that each guarded step stands for, by the step's number. */
  const commandByStep = new Map<number, Command>()
  for (const [index, command] of commands.entries()) {
    const { write, explain, putAside } = compileCommand(command, caller)
    const bound = { command, request, index }
    const why = { sql: explain.sql, args: explain.bind(bound) }
    commandByStep.set(steps.length, command)
    steps.push({ sql: write.sql, args: write.bind(bound), guarded: true, explain: why })
    if (!single) steps.push({ sql: putAside.sql, args: putAside.bind(bound) })
  }
  steps.push(...answerSteps(request, storedWith(request)))
  const plan = planOf(request, {
    steps,
    id: single ? (commands[0]?.id ?? null) : null,
    refusal(refused) {
      const command = commandByStep.get(refused.step)
      assert(command, 'what is refused is a command, or the claim of a key that is taken')
      return refusal(command, refused)
    },
  })
  return { ...plan, commands }
}

/** Steps as the write of a request: the log names its caller, and its key, where it has one, is claimed before them. */
export function planOf(source: WriteSource, parts: Pick<WritePlan, 'steps' | 'id' | 'refusal'>): WritePlan {
  const context = { actor: source.caller.actor, request: source.requestId, time: source.now }
  const stored = storedWith(source)
  if (stored === null) return { ...parts, commands: [], context, fingerprint: null }
  const claimed = { sql: claimedSql, args: [stored.tenant, stored.key, stored.expiry] }
  return { ...parts, commands: [], context, fingerprint: stored.fingerprint, claimed }
}

/** What a write of the engine's own tables answers: its body as an SQL expression, and `from` with a `where`, or empty. */
export interface EngineAnswer {
  readonly status: number
  readonly body: string
  readonly from: string
}

/** The step of a write of the engine's own tables that answers it; `write` writes what, and `bind` takes its values. */
export function answerStep(source: WriteSource, id: string, write: (bind: Bind) => EngineAnswer): Step {
  const stored = storedWith(source)
  const call = callOf((bind) => {
    const { status, body, from } = write(bind)
    if (stored === null) return `select ${status}, null, ${body}, ${positionSql}${from}`
    const claim = [stored.tenant, stored.key, stored.fingerprint, stored.now].map(bind).join(', ')
    const answer = `select ${claim}, ${status}, ${bind(id)}, null, ${body}, ${positionSql}${from || ' where 1'}`
    return storeSql(answer, bind(stored.expiry))
  })
  return { ...call, answers: true, guarded: stored !== null }
}

function storedWith({ caller, key, now }: WriteSource): StoredWith | null {
  return key && { ...key, tenant: caller.tenant, now, expiry: expiryAt(now) }
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
