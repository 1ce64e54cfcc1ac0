import type { Seq } from '../log/position.ts'
import { assert, Problem } from '../problem.ts'
import type { Batch, Outcome, Primary, Refused } from '../store/primary.ts'
import type { Row } from '../store/reader.ts'
import type { Command } from './command.ts'

/** A write as one guarded batch: it commits whole, with its log, its claim and its answer, or leaves nothing. */
export interface WritePlan extends Batch {
  /** What it does to records of the model; none where it writes the engine's own tables. */
  readonly commands: readonly Command[]
  /** The record that it writes; null where it writes several. */
  readonly id: string | null
  /** What the request is known by under its idempotency key; null without one. */
  readonly fingerprint: string | null
  /** Why a guarded step was refused. */
  readonly refusal: (refused: Refused) => Problem
}

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
      return receipt(status, plan.id, version, body, seq, false)
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

function answerRefusal(plan: WritePlan, refused: Refused): Receipt {
  if (refused.claimed) return replay(plan, refused.claimed)
  throw plan.refusal(refused)
}

/** The answer that the key stands for, where it is the same request; whatever else was wrong with this one. */
function replay(plan: WritePlan, [fingerprint, status, id, version, body, seq]: Row): Receipt {
  if (fingerprint === plan.fingerprint) return receipt(status, id, version, body, seq, true)
  throw new Problem('idempotency-key-reused', {
    detail: 'This Idempotency-Key was used with another request. Use a new key for a new request.',
    errors: [{ header: 'Idempotency-Key', code: 'reused', message: 'The key belongs to another request.' }],
  })
}
