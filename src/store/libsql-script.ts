import {
  type Batch,
  BatchCond,
  type BatchStep,
  type HttpClient,
  type HttpStream,
  ResponseError,
  type Sql,
} from '@libsql/hrana-client'
import { bindable, rowOf } from './libsql-link.ts'
import type { Call } from './primary.ts'
import type { Row } from './reader.ts'

/** A statement of a script. After `run`, at most one of `rows` and `error` is there: neither, where it did not run. */
export interface Ran {
  readonly step: BatchStep
  rows: readonly Row[] | null
  error: ResponseError | null
}

/** Texts that one connection has the server remember: sqld takes 50. Shorter ones are as well said again. */
const storedTextsMax = 30
const storedCharsMin = 100

/** One connection of the server's to its database, over as many requests as there are scripts. */
export class Connection {
  readonly stream: HttpStream
  private readonly stored = new Map<string, Sql>()

  constructor(client: HttpClient) {
    this.stream = client.openStream()
  }

  /** The text, or its name where the server remembers it. */
  text(sql: string): Sql | string {
    const known = this.stored.get(sql)
    if (known) return known
    if (sql.length < storedCharsMin || this.stored.size >= storedTextsMax) return sql
    const made = this.stream.storeSql(sql)
    this.stored.set(sql, made)
    return made
  }

  /** Has the server close it, which undoes what is not committed. */
  close() {
    this.stream.close()
  }
}

/**
 * Statements that go to the server in one request, each with a condition on those before it. Nothing runs unless its
 * condition holds, and no answer comes before the end. Long texts are sent once for a connection.
 */
export class Script {
  private readonly connection: Connection
  private readonly batch: Batch
  private readonly ended: Promise<void>[] = []

  constructor(connection: Connection) {
    this.connection = connection
    this.batch = connection.stream.batch()
  }

  /** Adds a statement. Rows are asked for where `answers`. */
  add({ sql, args }: Call, condition: BatchCond | null, answers = false): Ran {
    const step = this.batch.step()
    if (condition) step.condition(condition)
    const ran: Ran = { step, rows: null, error: null }
    const statement: [Sql | string, ReturnType<typeof bindable>] = [this.connection.text(sql), bindable(args)]
    const result = answers
      ? step.query(statement).then((all) => all?.rows)
      : step.run(statement).then((all) => all && [])
    this.ended.push(
      result.then(
        (rows) => {
          ran.rows = rows?.map(rowOf) ?? null
        },
        (error) => {
          if (!(error instanceof ResponseError)) throw error
          ran.error = error
        },
      ),
    )
    return ran
  }

  either(conditions: BatchCond[]): BatchCond {
    return BatchCond.or(this.batch, conditions)
  }

  both(conditions: BatchCond[]): BatchCond {
    return BatchCond.and(this.batch, conditions)
  }

  /** Sends the script, in exactly one request, and fills in what became of each statement. */
  async run(): Promise<void> {
    await this.batch.execute()
    await Promise.all(this.ended)
  }
}

export const ok = (ran: Ran) => BatchCond.ok(ran.step)
export const failed = (ran: Ran) => BatchCond.error(ran.step)
export const notOk = (ran: Ran) => BatchCond.not(ok(ran))
