import type { Seq } from '../log/position.ts'
import { assert, type Fault, Problem } from '../problem.ts'
import type { Outcome, Primary } from '../store/primary.ts'
import type { Row } from '../store/reader.ts'
import type { Command } from './command.ts'
import type { WritePlan } from './plan.ts'
import { explainedReferences, type Measured, measuredTexts } from './sql.ts'

/** A durable write and its answer, which a retry with the same key gets again, byte for byte. */
export interface Receipt {
  readonly status: number
  readonly id: string | null
  readonly version: number | null
  readonly body: string | null
  readonly seq: Seq
  readonly replayed: boolean
}

/** Commits a plan. Whatever is not a receipt is thrown as the Problem that tells the caller why. */
export async function commit(plan: WritePlan, primary: Primary): Promise<Receipt> {
  const outcome = await primary.commit(plan)
  switch (outcome.kind) {
    case 'committed': {
      const [row] = outcome.rows
      assert(row, 'a committed write has an answer')
      const [status, version, body, seq] = row
      const id = plan.request.single ? (plan.request.commands[0]?.id ?? null) : null
      return receipt(status, id, version, body, seq, false)
    }
    case 'refused':
      return answerRefusal(plan, outcome)
    case 'failed':
      throw failure(outcome.reason)
    case 'unknown':
      throw new Problem('outcome-unknown')
  }
}

type Cell = Row[number] | undefined

function receipt(status: Cell, id: Cell, version: Cell, body: Cell, seq: Cell, replayed: boolean): Receipt {
  assert(typeof status === 'number', 'an answer has a status')
  return {
    status,
    id: typeof id === 'string' ? id : null,
    version: typeof version === 'number' ? version : null,
    body: typeof body === 'string' ? body : null,
    seq: (seq ?? 0) as Seq,
    replayed,
  }
}

function failure(reason: Extract<Outcome, { kind: 'failed' }>['reason']): Problem {
  if (reason === 'full') return new Problem('storage-full', { headers: { 'Retry-After': '30' } })
  if (reason === 'overloaded') return new Problem('overloaded', { headers: { 'Retry-After': '1' } })
  if (reason === 'unreachable') return new Problem('primary-unreachable', { headers: { 'Retry-After': '1' } })
  return new Problem('storage-error', { headers: { 'Retry-After': '5' } })
}

type Refused = Extract<Outcome, { kind: 'refused' }>

function answerRefusal(plan: WritePlan, refused: Refused): Receipt {
  if (refused.claimed) return replay(plan, refused.claimed)
  const command = plan.commandByStep.get(refused.step)
  assert(command, 'what is refused is a command, or the claim of a key that is taken')
  throw refusal(command, refused)
}

/** The answer that the key stands for, where it is the same request; whatever else was wrong with this one. */
function replay(plan: WritePlan, [fingerprint, status, id, version, body, seq]: Row): Receipt {
  if (fingerprint === plan.request.key?.fingerprint) return receipt(status, id, version, body, seq, true)
  throw new Problem('idempotency-key-reused', {
    detail: 'This Idempotency-Key was used with another request. Use a new key for a new request.',
    errors: [{ header: 'Idempotency-Key', code: 'reused', message: 'The key belongs to another request.' }],
  })
}

function refusal(command: Command, refused: Refused): Problem {
  const [visible, version, ...facts] = refused.explanation ?? []
  const references = explainedReferences(command)
  const missing = references.filter((_, i) => facts[i] === 0)
  const wanted = refusedByState(command, visible ?? null, version ?? null)
  if (wanted) return wanted
  if (missing.length > 0) return missingReferences(command, missing)
  const unfit = measuredTexts(command).filter((_, i) => facts[references.length + i] === 0)
  if (unfit.length > 0) return wrongLengths(command, unfit)
  if (refused.cause === 'unique') return alreadyExists(command, refused.message)
  if (refused.cause === 'foreign-key') return stillReferenced(command, facts)
  if (refused.cause === 'guard') {
    const detail = `This key may not ${command.kind} this record of ${command.view.name}.`
    return new Problem('forbidden', { detail, ...at(command, 'forbidden', detail) })
  }
  const detail = `The database refuses the record: ${refused.message}.`
  return new Problem('invalid-value', {
    detail,
    errors: [{ pointer: command.pointer, code: refused.cause, message: detail }],
  })
}

/** Whether the record's presence or version already says no. */
function refusedByState(command: Command, visible: Cell, version: Cell): Problem | null {
  const { kind, condition } = command
  if (kind === 'create') return null
  if (condition.kind === 'absent') {
    return version === null
      ? null
      : stale(command, visible, 'A record with this id exists, and the request expects none.')
  }
  const expected = condition.kind === 'versions' ? condition.versions.join(', ') : null
  if (visible === null && kind === 'replace' && expected === null && condition.kind !== 'present') return null
  if (visible === null && kind === 'replace')
    return stale(command, visible, 'There is no such record, and the request expects one.')
  if (visible === null) {
    const detail = `There is no ${command.view.name} with this id.`
    return new Problem('not-found', { detail, ...at(command, 'not-found', detail) })
  }
  if (expected === null || (condition.kind === 'versions' && condition.versions.includes(Number(version)))) return null
  return stale(
    command,
    visible,
    `The record is at version ${visible}; the request expects ${expected}. Read it again and repeat the change.`,
  )
}

function stale(command: Command, visible: Cell, detail: string): Problem {
  const headers =
    typeof visible === 'number' && command.pointer === '' ? { ETag: `"${visible}-${command.view.alias}"` } : {}
  return new Problem('precondition-failed', { detail, headers, ...at(command, 'stale-version', detail) })
}

/** In a batch, says which command it was. */
function at(command: Command, code: string, message: string): { errors?: readonly Fault[] } {
  return command.pointer === '' ? {} : { errors: [{ pointer: command.pointer, code, message }] }
}

function bodyPointer(command: Command): string {
  return command.pointer === '' ? '' : `${command.pointer}/body`
}

/** A column as the caller knows it: by the field that it sent. */
function pathOf({ input, view }: Command, column: string): string {
  return input.find((each) => each.column.name === column)?.path ?? view.pathOf(column)
}

/** The same in a sentence. */
function nameOf(command: Command, column: string): string {
  return pathOf(command, column).replace('/', '.')
}

function missingReferences(command: Command, missing: ReturnType<typeof explainedReferences>): Problem {
  const errors = missing.map((reference) => ({
    pointer: `${bodyPointer(command)}/${pathOf(command, reference.column)}`,
    code: 'no-such-record',
    message: `"${nameOf(command, reference.column)}": there is no record of ${command.view.other(reference.to).name} with this id.`,
  }))
  return new Problem('invalid-value', { detail: errors[0]?.message ?? '', errors })
}

function wrongLengths(command: Command, unfit: readonly Measured[]): Problem {
  const errors = unfit.map(({ assignment: { column }, least, most }) => ({
    pointer: `${bodyPointer(command)}/${pathOf(command, column.name)}`,
    code: 'wrong-length',
    message: `"${nameOf(command, column.name)}": with what the record has it makes a text that is not of ${least} to ${most} characters.`,
  }))
  return new Problem('invalid-value', { detail: errors[0]?.message ?? '', errors })
}

function alreadyExists(command: Command, message: string): Problem {
  const columns = [...message.matchAll(/\w+\.(\w+)/g)]
    .map((match) => match[1] ?? '')
    .filter((column) => column !== 'tenant')
  const errors = columns.map((column) => ({
    pointer: `${bodyPointer(command)}/${pathOf(command, column)}`,
    code: 'not-unique',
    message: `Another record of ${command.view.name} has this ${columns.map((each) => nameOf(command, each)).join(' and ')}.`,
  }))
  return new Problem('already-exists', { detail: errors[0]?.message ?? '', errors })
}

function stillReferenced(command: Command, facts: readonly Cell[]): Problem {
  const { view } = command
  const { referencedBy } = view.resource
  const users = referencedBy.filter((reference, i) => facts[i] === 1 && reference.onDelete !== 'cascade')
  const names = [...new Set(users.map((reference) => view.other(reference.from).name))].join(' and ')
  const detail = `Records of ${names || 'other resources'} still refer to this one of ${view.name}. Delete or move them first.`
  return new Problem('still-referenced', { detail, ...at(command, 'still-referenced', detail) })
}
