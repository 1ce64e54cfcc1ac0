import type { Value } from '../value.ts'
import type { Row } from './reader.ts'

/** One connection to a SQLite file of this machine. Drivers: `bun-sqlite.ts`, `node-sqlite.ts`. */
export interface Connection {
  prepare(sql: string): Prepared
  /** Runs a statement that answers nothing. */
  run(sql: string, args?: readonly Value[]): void
  readonly inTransaction: boolean
  /** Of an error that a statement threw: SQLite's name of it, such as SQLITE_BUSY; empty where it is none of SQLite's. */
  codeOf(error: unknown): string
  close(): void
}

export interface Prepared {
  rows(...args: Value[]): Row[]
  /** Answers how many rows it changed, without those that triggers did. */
  run(...args: Value[]): number
  finalize(): void
}

/** What a runtime has for SQLite. */
export interface Engine {
  /** Throws where there is no such file, unless it is to be made. */
  open(file: string, mode: 'read' | 'write' | 'make'): Connection
  /** The program of a thread that writes a file with it, as `group-writer.ts` says. */
  readonly writer: URL
}
