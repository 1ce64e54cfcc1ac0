import type { ResponseError } from '@libsql/hrana-client'
import type { Settled } from './groups.ts'
import { guardSql } from './guard.ts'
import { type Connection, failed, notOk, ok, type Ran, Script } from './libsql-script.ts'
import { type Batch, type Cause, type Outcome, type Step, setContextSql } from './primary.ts'

/**
 * Commits a group in one transaction and one request. Each batch is in a savepoint of its own, so that a refusal leaves
 * its neighbours as they are. Answers what became of each batch, in their order.
 *
 * A fault of the disk ends the whole transaction inside SQLite, and a savepoint would then begin another one by itself.
 * So each savepoint waits for the release of the one before, which succeeds inside a living transaction only; and
 * whatever runs between the two is a condition of the savepoint too.
 */
export async function commitGroup(connection: Connection, group: readonly Batch[]): Promise<Settled[]> {
  const script = new Script(connection)
  const enforce = script.add(control('pragma foreign_keys = on'), null)
  const begin = script.add(control('begin immediate'), ok(enforce))
  let last = begin
  let contextIsSet = false
  const added = group.map((batch) => {
    const context = contextOf(batch)
    const before = context !== null || contextIsSet ? script.add(setContext(context), ok(last)) : last
    contextIsSet = context !== null
    const each = addBatch(script, batch, before)
    last = each.released
    return each
  })
  if (contextIsSet) last = script.add(setContext(null), ok(last))
  const commit = script.add(control('commit'), ok(last))
  script.add(control('rollback'), script.both([ok(begin), notOk(commit)]))
  await script.run()
  if (commit.rows === null) {
    const fault = failureOf([enforce, begin, ...added.flatMap(ransOf), last, commit])
    return group.map(() => fault)
  }
  return added.map(settledOf)
}

interface AddedStep {
  readonly step: Step
  readonly ran: Ran
  readonly guard: Ran | null
  readonly explanation: Ran | null
}

interface AddedBatch {
  readonly steps: readonly AddedStep[]
  readonly claimed: Ran | null
  readonly released: Ran
}

function addBatch(script: Script, batch: Batch, before: Ran): AddedBatch {
  const savepoint = script.add(control('savepoint batch'), ok(before))
  let last = savepoint
  const steps = batch.steps.map((step): AddedStep => {
    const ran = script.add(step, ok(last), step.answers)
    const guard = step.guarded ? script.add(control(guardSql), ok(ran)) : null
    last = guard ?? ran
    const refused = guard ? script.either([failed(ran), failed(guard)]) : failed(ran)
    return { step, ran, guard, explanation: step.explain ? script.add(step.explain, refused, true) : null }
  })
  const undone = script.add(control('rollback to batch'), script.both([ok(savepoint), notOk(last)]))
  const claimed = batch.claimed ? script.add(batch.claimed, ok(undone), true) : null
  const released = script.add(control('release batch'), script.either([ok(last), ok(undone)]))
  return { steps, claimed, released }
}

const control = (sql: string) => ({ sql, args: [] })

function contextOf({ context }: Batch) {
  return context ? [context.actor, context.request, context.time] : null
}

function setContext(values: readonly string[] | null) {
  return { sql: setContextSql, args: values ?? [null, null, null] }
}

function ransOf({ steps, claimed, released }: AddedBatch): Ran[] {
  const all = steps.flatMap(({ ran, guard, explanation }) => [ran, guard, explanation])
  return [...all, claimed, released].filter((ran) => ran !== null)
}

/** What became of a batch whose group was committed. */
function settledOf({ steps, claimed }: AddedBatch): Settled {
  const index = steps.findIndex(({ ran, guard }) => ran.error ?? guard?.error)
  const refused = steps[index]
  const error = refused?.ran.error ?? refused?.guard?.error
  if (!refused || !error) return { kind: 'committed', rows: steps.findLast(({ step }) => step.answers)?.ran.rows ?? [] }
  const refusal = refusalOf(error, refused.guard)
  if (!refusal) return faultOf(error)
  const explanation = refused.explanation?.rows?.[0] ?? null
  return { kind: 'refused', step: index, ...refusal, explanation, claimed: claimed?.rows?.[0] ?? null }
}

/** Constraints have one code over HTTP and are told apart by what SQLite says. */
const causeByMessage: readonly (readonly [RegExp, Cause])[] = [
  [/^UNIQUE constraint failed/, 'unique'],
  [/^FOREIGN KEY constraint failed/, 'foreign-key'],
  [/^CHECK constraint failed/, 'check'],
  [/^cannot store \w+ value in/, 'check'],
  [/^NOT NULL constraint failed/, 'not-null'],
]

function refusalOf(error: ResponseError, guard: Ran | null): { cause: Cause; message: string } | null {
  if (!error.code?.startsWith('SQLITE_CONSTRAINT')) return null
  if (error === guard?.error) return { cause: 'guard', message: '' }
  const message = wordsOf(error)
  // A trigger refused it in words of its own.
  const cause = causeByMessage.find(([form]) => form.test(message))?.[1] ?? 'foreign-key'
  return { cause, message }
}

function wordsOf(error: ResponseError): string {
  return error.message.replace(/^SQLite error: /, '')
}

/** Why a group was not committed. No batch can keep it from that, so it is the database: its disk, or that it was busy. */
function failureOf(rans: readonly Ran[]): Outcome {
  return { kind: 'failed', reason: rans.some(({ error }) => isFull(error)) ? 'full' : 'io' }
}

const isFull = (error: ResponseError | null) => error?.code?.startsWith('SQLITE_FULL') === true
const diskFault = /^SQLITE_(FULL|IOERR|BUSY|LOCKED|CANTOPEN|CORRUPT|NOTADB|READONLY|PROTOCOL|NOMEM)/

/** A statement failed by itself, and was undone: a fault of the disk is an outcome, anything else our own fault. */
function faultOf(error: ResponseError): Settled {
  if (diskFault.test(error.code ?? '')) return { kind: 'failed', reason: isFull(error) ? 'full' : 'io' }
  return new Error(`the database refuses a statement: ${error.code}: ${error.message}`)
}
