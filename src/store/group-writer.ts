import type { Connection, Engine, Prepared } from './connection.ts'
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

/** A message of its thread: how it is heard and answered. */
export interface Port {
  onmessage: ((event: { readonly data: string }) => void) | null
  postMessage(text: string): void
}

/**
 * The thread that owns the writable handle of an embedded database. It takes a group of batches in one message,
 * commits them in one transaction with a savepoint each, and answers all of them in one message: one fsync serves the
 * group, and no read ever waits for it.
 */
export function writeFor(port: Port, engine: Engine) {
  let writer: GroupWriter | undefined
  const answer = (message: WriterAnswer) => port.postMessage(JSON.stringify(message))
  port.onmessage = ({ data }) => {
    const message = JSON.parse(data) as WriterMessage
    if (message.kind === 'open') {
      writer = new GroupWriter(open(message.file, engine))
      return answer({ kind: 'opened' })
    }
    if (!writer) throw new Error('broken invariant: a file is opened before it is written')
    if (message.kind === 'group') return answer({ kind: 'outcomes', outcomes: writer.commit(message) })
    writer.close()
    answer({ kind: 'closed' })
  }
}

function open(file: string, engine: Engine): Connection {
  const opened = engine.open(file, 'write')
  opened.run('PRAGMA busy_timeout = 5000')
  opened.run('PRAGMA synchronous = FULL')
  opened.run('PRAGMA foreign_keys = ON')
  opened.run('PRAGMA recursive_triggers = OFF')
  opened.run('PRAGMA cache_size = -65536')
  // Savepoints keep the pages they may have to restore in a temporary file otherwise: three of four writes (measured).
  opened.run('PRAGMA temp_store = MEMORY')
  return opened
}

class GroupWriter {
  private readonly database: Connection
  private readonly texts: string[] = []
  private readonly statements: (Prepared | undefined)[] = []
  private readonly controls = new Map<string, Prepared>()
  private contextIsSet = false

  constructor(database: Connection) {
    this.database = database
  }

  commit({ forget, texts, batches }: Extract<WriterMessage, { kind: 'group' }>): Outcome[] {
    if (forget) this.forget()
    this.texts.push(...texts)
    return this.commitGroup(batches)
  }

  close() {
    const { database, controls } = this
    this.forget()
    for (const statement of controls.values()) statement.finalize()
    try {
      database.run('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // A full or failing disk: what is in the log file stays there, durable, and the next start takes it up.
    }
    database.close()
  }

  private forget() {
    this.texts.length = 0
    for (const statement of this.statements.splice(0)) statement?.finalize()
  }

  /** The writer's own statements, kept prepared. */
  private prepared(sql: string): Prepared {
    const { controls, database } = this
    const known = controls.get(sql) ?? database.prepare(sql)
    controls.set(sql, known)
    return known
  }

  private control(sql: string) {
    this.prepared(sql).run()
  }

  private commitGroup(batches: readonly WireBatch[]): Outcome[] {
    const outcomes: Outcome[] = []
    try {
      this.control('BEGIN IMMEDIATE')
      for (const batch of batches) outcomes.push(this.runBatch(batch))
      if (this.contextIsSet) this.setContext(null)
    } catch (error) {
      this.rollBack()
      return batches.map(() => ({ kind: 'failed', reason: this.failureReason(error) }))
    }
    try {
      this.control('COMMIT')
      return outcomes
    } catch (error) {
      this.rollBack()
      const reason = this.failureReason(error)
      const isGone = this.overwriteFailedCommit() || this.wasNotWritten(error)
      return batches.map(() => (isGone ? { kind: 'failed', reason } : { kind: 'unknown' }))
    }
  }

  private rollBack() {
    this.contextIsSet = false
    if (this.database.inTransaction) this.database.run('ROLLBACK')
  }

  /**
   * A commit whose last step failed, the sync, stands whole in the log file where no reader sees it, and a crash would
   * bring it back. The next commit writes over it, so an empty one is made at once. Answers whether it holds.
   */
  private overwriteFailedCommit(): boolean {
    try {
      this.control('BEGIN IMMEDIATE')
      this.control("insert into batchResults(place, result) values (-1, '')")
      this.control('delete from batchResults')
      this.control('COMMIT')
      return true
    } catch {
      this.rollBack()
      return false
    }
  }

  /** Frames are written in order and the last one makes the commit: where one could not be, there is no commit. */
  private wasNotWritten(error: unknown): boolean {
    const code = this.database.codeOf(error)
    return code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_WRITE'
  }

  /** Runs one batch inside the group's transaction; a refusal undoes its own statements only. */
  private runBatch(batch: WireBatch): Outcome {
    if (batch.context || this.contextIsSet) this.setContext(batch.context)
    this.control('SAVEPOINT batch')
    let rows: readonly Row[] = []
    for (const [index, step] of batch.steps.entries()) {
      const result = this.runStep(step)
      if (Array.isArray(result)) {
        if (step[2] & answersBit) rows = result
        continue
      }
      const explanation = this.firstRow(step[3])
      this.control('ROLLBACK TO batch')
      this.control('RELEASE batch')
      return {
        kind: 'refused',
        step: index,
        explanation,
        claimed: this.firstRow(batch.claimed),
        ...(result as Refusal),
      }
    }
    this.control('RELEASE batch')
    return { kind: 'committed', rows }
  }

  /** The context outlives a batch's savepoint, so that a group sets it once for each batch and clears it once. */
  private setContext(context: WireBatch['context']) {
    this.prepared(setContextSql).run(...(context ?? [null, null, null]))
    this.contextIsSet = context !== null
  }

  private firstRow(call: WireCall | null): Row | null {
    return call === null ? null : (this.statementOf(call[0]).rows(...call[1])[0] ?? null)
  }

  private runStep([text, args, use]: WireStep): Row[] | Refusal {
    const statement = this.statementOf(text)
    try {
      const rows = use & answersBit ? statement.rows(...args) : []
      const isEmpty = use & answersBit ? rows.length === 0 : statement.run(...args) === 0
      return use & guardedBit && isEmpty ? { cause: 'guard', message: '' } : rows
    } catch (error) {
      const cause = this.constraintOf(error)
      if (cause === null) throw error
      return { cause, message: (error as Error).message }
    }
  }

  private statementOf(text: number): Prepared {
    const known = this.statements[text]
    if (known) return known
    const sql = this.texts[text]
    if (sql === undefined) throw new Error('broken invariant: a statement is sent before it is named')
    const statement = this.database.prepare(sql)
    this.statements[text] = statement
    return statement
  }

  private constraintOf(error: unknown): Cause | null {
    return causeByCode[this.database.codeOf(error)] ?? null
  }

  /** A fault of the disk is an outcome; anything else is our own fault and ends the thread. */
  private failureReason(error: unknown): 'full' | 'io' {
    const code = this.database.codeOf(error)
    if (code === 'SQLITE_FULL') return 'full'
    // SQLite calls it a corrupt file when the disk cannot read a page.
    if (ioFault.test(code)) return 'io'
    throw error
  }
}

type Refusal = { cause: Cause; message: string }

const causeByCode: Readonly<Record<string, Cause>> = {
  SQLITE_CONSTRAINT_UNIQUE: 'unique',
  SQLITE_CONSTRAINT_PRIMARYKEY: 'unique',
  SQLITE_CONSTRAINT_FOREIGNKEY: 'foreign-key',
  SQLITE_CONSTRAINT_TRIGGER: 'foreign-key',
  SQLITE_CONSTRAINT_CHECK: 'check',
  SQLITE_CONSTRAINT_DATATYPE: 'check',
  SQLITE_CONSTRAINT_NOTNULL: 'not-null',
}

const ioFault = /^SQLITE_(IOERR|BUSY|CANTOPEN|CORRUPT|NOTADB|READONLY|PROTOCOL|NOMEM)/
