/**
 * The thread that owns the writable handle of an embedded database. It takes a group of batches in one message,
 * commits them in one transaction with a savepoint each, and answers all of them in one message: one fsync serves the
 * group, and no read ever waits for it.
 */
import { Database, type Statement } from 'bun:sqlite'
import type { Value } from '../value.ts'
import type { Cause, Outcome } from './primary.ts'
import type { Row } from './reader.ts'

/** Texts are sent once and then named by number. */
export interface GroupMessage {
  readonly kind: 'group'
  /** The texts named before are forgotten first. */
  readonly forget: boolean
  readonly texts: readonly string[]
  readonly batches: readonly (readonly WireStep[])[]
}
/** text, arguments, what its rows are for, and the text and arguments of what explains a refusal. */
export type WireStep = [number, readonly Value[], 'plain' | 'guard' | 'answer', number, readonly Value[]]
export type WriterMessage = GroupMessage | { readonly kind: 'open'; readonly file: string } | { readonly kind: 'close' }
export type WriterAnswer =
  | { readonly kind: 'opened' | 'closed' }
  | { readonly kind: 'outcomes'; readonly outcomes: readonly Outcome[] }

declare const self: Worker

let database: Database
const statements: Statement<unknown, Value[]>[] = []

self.onmessage = (event: MessageEvent<string>) => {
  const message = JSON.parse(event.data) as WriterMessage
  if (message.kind === 'open') {
    database = open(message.file)
    answer({ kind: 'opened' })
  } else if (message.kind === 'group') {
    if (message.forget) for (const statement of statements.splice(0)) statement.finalize()
    for (const text of message.texts) statements.push(database.prepare<unknown, Value[]>(text))
    answer({ kind: 'outcomes', outcomes: commitGroup(message.batches) })
  } else {
    for (const statement of statements) statement.finalize()
    database.run('PRAGMA wal_checkpoint(TRUNCATE)')
    database.close()
    answer({ kind: 'closed' })
  }
}

function answer(message: WriterAnswer) {
  self.postMessage(JSON.stringify(message))
}

function open(file: string): Database {
  const opened = new Database(file, { readwrite: true, strict: true })
  opened.run('PRAGMA busy_timeout = 5000')
  opened.run('PRAGMA synchronous = FULL')
  opened.run('PRAGMA foreign_keys = ON')
  opened.run('PRAGMA recursive_triggers = OFF')
  opened.run('PRAGMA cache_size = -65536')
  return opened
}

function commitGroup(batches: GroupMessage['batches']): Outcome[] {
  const outcomes: Outcome[] = []
  try {
    database.run('BEGIN IMMEDIATE')
    for (const batch of batches) outcomes.push(runBatch(batch))
    database.run('COMMIT')
    return outcomes
  } catch (error) {
    if (database.inTransaction) database.run('ROLLBACK')
    return batches.map(() => ({ kind: 'failed', reason: failureReason(error) }))
  }
}

/** Runs one batch inside the group's transaction; a refusal undoes its own statements only. */
function runBatch(steps: readonly WireStep[]): Outcome {
  database.run('SAVEPOINT batch')
  let rows: readonly Row[] = []
  for (const [index, step] of steps.entries()) {
    const result = runStep(step)
    if (Array.isArray(result)) {
      if (step[2] === 'answer') rows = result
      continue
    }
    const explanation = step[3] < 0 ? null : ((statements[step[3]]?.values(...step[4])[0] ?? null) as Row | null)
    database.run('ROLLBACK TO batch')
    database.run('RELEASE batch')
    return { kind: 'refused', step: index, explanation, ...(result as Refusal) }
  }
  database.run('RELEASE batch')
  return { kind: 'committed', rows }
}

type Refusal = { cause: Cause; message: string }

function runStep([text, args, use]: WireStep): Row[] | Refusal {
  const statement = statements[text]
  if (!statement) throw new Error('broken invariant: a statement is sent before it is named')
  try {
    if (use === 'answer') return statement.values(...args) as Row[]
    const { changes } = statement.run(...args)
    return use === 'guard' && changes === 0 ? { cause: 'guard', message: '' } : []
  } catch (error) {
    const cause = constraintOf(error)
    if (cause === null) throw error
    return { cause, message: (error as Error).message }
  }
}

const causeByCode: Readonly<Record<string, Cause>> = {
  SQLITE_CONSTRAINT_UNIQUE: 'unique',
  SQLITE_CONSTRAINT_PRIMARYKEY: 'unique',
  SQLITE_CONSTRAINT_FOREIGNKEY: 'foreign-key',
  SQLITE_CONSTRAINT_TRIGGER: 'foreign-key',
  SQLITE_CONSTRAINT_CHECK: 'check',
  SQLITE_CONSTRAINT_DATATYPE: 'check',
  SQLITE_CONSTRAINT_NOTNULL: 'not-null',
}

function constraintOf(error: unknown): Cause | null {
  return causeByCode[codeOf(error)] ?? null
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** A fault of the disk is an outcome; anything else is our own fault and ends the thread. */
function failureReason(error: unknown): 'full' | 'io' {
  const code = codeOf(error)
  if (code === 'SQLITE_FULL') return 'full'
  if (code.startsWith('SQLITE_IOERR') || code.startsWith('SQLITE_BUSY') || code === 'SQLITE_CANTOPEN') return 'io'
  throw error
}
