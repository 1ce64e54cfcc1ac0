/**
 * The thread that owns the writable handle of an embedded database. It takes a group of batches in one message,
 * commits them in one transaction with a savepoint each, and answers all of them in one message: one fsync serves the
 * group, and no read ever waits for it.
 */
import { Database, type Statement } from 'bun:sqlite'
import type { Value } from '../value.ts'
import {
  answersBit,
  guardedBit,
  type WireBatch,
  type WireCall,
  type WireStep,
  type WriterAnswer,
  type WriterMessage,
} from './embedded-wire.ts'
import { type Cause, type Outcome, setContextSql } from './primary.ts'
import type { Row } from './reader.ts'

declare const self: Worker

let database: Database
const texts: string[] = []
const statements: (Statement<unknown, Value[]> | undefined)[] = []
const controls = new Map<string, Statement<unknown, Value[]>>()
let contextIsSet = false

/** The writer's own statements, kept prepared. */
function prepared(sql: string): Statement<unknown, Value[]> {
  const known = controls.get(sql) ?? database.prepare<unknown, Value[]>(sql)
  controls.set(sql, known)
  return known
}

function control(sql: string) {
  prepared(sql).run()
}

self.onmessage = (event: MessageEvent<string>) => {
  const message = JSON.parse(event.data) as WriterMessage
  if (message.kind === 'open') {
    database = open(message.file)
    answer({ kind: 'opened' })
  } else if (message.kind === 'group') {
    if (message.forget) forget()
    texts.push(...message.texts)
    answer({ kind: 'outcomes', outcomes: commitGroup(message.batches) })
  } else {
    close()
    answer({ kind: 'closed' })
  }
}

function forget() {
  texts.length = 0
  for (const statement of statements.splice(0)) statement?.finalize()
}

function close() {
  forget()
  for (const statement of controls.values()) statement.finalize()
  try {
    database.run('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch {
    // A full or failing disk: what is in the log file stays there, durable, and the next start takes it up.
  }
  database.close()
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
  // Savepoints keep the pages they may have to restore in a temporary file otherwise: three of four writes (measured).
  opened.run('PRAGMA temp_store = MEMORY')
  return opened
}

function commitGroup(batches: readonly WireBatch[]): Outcome[] {
  const outcomes: Outcome[] = []
  try {
    control('BEGIN IMMEDIATE')
    for (const batch of batches) outcomes.push(runBatch(batch))
    if (contextIsSet) setContext(null)
  } catch (error) {
    rollBack()
    return batches.map(() => ({ kind: 'failed', reason: failureReason(error) }))
  }
  try {
    control('COMMIT')
    return outcomes
  } catch (error) {
    rollBack()
    const reason = failureReason(error)
    const isGone = overwriteFailedCommit() || wasNotWritten(error)
    return batches.map(() => (isGone ? { kind: 'failed', reason } : { kind: 'unknown' }))
  }
}

function rollBack() {
  contextIsSet = false
  if (database.inTransaction) database.run('ROLLBACK')
}

/**
 * A commit whose last step failed, the sync, stands whole in the log file where no reader sees it, and a crash would
 * bring it back. The next commit writes over it, so an empty one is made at once. Answers whether it holds.
 */
function overwriteFailedCommit(): boolean {
  try {
    control('BEGIN IMMEDIATE')
    control("insert into batchResults(place, result) values (-1, '')")
    control('delete from batchResults')
    control('COMMIT')
    return true
  } catch {
    rollBack()
    return false
  }
}

/** Frames are written in order and the last one makes the commit: where one could not be, there is no commit. */
function wasNotWritten(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_WRITE'
}

/** Runs one batch inside the group's transaction; a refusal undoes its own statements only. */
function runBatch(batch: WireBatch): Outcome {
  if (batch.context || contextIsSet) setContext(batch.context)
  control('SAVEPOINT batch')
  let rows: readonly Row[] = []
  for (const [index, step] of batch.steps.entries()) {
    const result = runStep(step)
    if (Array.isArray(result)) {
      if (step[2] & answersBit) rows = result
      continue
    }
    const explanation = firstRow(step[3])
    control('ROLLBACK TO batch')
    control('RELEASE batch')
    return { kind: 'refused', step: index, explanation, claimed: firstRow(batch.claimed), ...(result as Refusal) }
  }
  control('RELEASE batch')
  return { kind: 'committed', rows }
}

/** The context outlives a batch's savepoint, so that a group sets it once for each batch and clears it once. */
function setContext(context: WireBatch['context']) {
  prepared(setContextSql).run(...(context ?? [null, null, null]))
  contextIsSet = context !== null
}

function firstRow(call: WireCall | null): Row | null {
  return call === null ? null : ((statementOf(call[0]).values(...call[1])[0] as Row | undefined) ?? null)
}

type Refusal = { cause: Cause; message: string }

function runStep([text, args, use]: WireStep): Row[] | Refusal {
  const statement = statementOf(text)
  try {
    const rows = use & answersBit ? (statement.values(...args) as Row[]) : []
    const isEmpty = use & answersBit ? rows.length === 0 : statement.run(...args).changes === 0
    return use & guardedBit && isEmpty ? { cause: 'guard', message: '' } : rows
  } catch (error) {
    const cause = constraintOf(error)
    if (cause === null) throw error
    return { cause, message: (error as Error).message }
  }
}

function statementOf(text: number): Statement<unknown, Value[]> {
  const known = statements[text]
  if (known) return known
  const sql = texts[text]
  if (sql === undefined) throw new Error('broken invariant: a statement is sent before it is named')
  const statement = database.prepare<unknown, Value[]>(sql)
  statements[text] = statement
  return statement
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

const ioFault = /^SQLITE_(IOERR|BUSY|CANTOPEN|CORRUPT|NOTADB|READONLY|PROTOCOL|NOMEM)/

/** A fault of the disk is an outcome; anything else is our own fault and ends the thread. */
function failureReason(error: unknown): 'full' | 'io' {
  const code = codeOf(error)
  if (code === 'SQLITE_FULL') return 'full'
  // SQLite calls it a corrupt file when the disk cannot read a page.
  if (ioFault.test(code)) return 'io'
  throw error
}
