import type { Database } from 'bun:sqlite'
import type { CopySchema, CopyTable } from '../../src/replica/copy-schema.ts'

/**
 * The rows of every table that a copy has, as one text, in a copy and in what it is a copy of; of the log, which each of
 * them compacts at another time, the last of each record.
 */
export function contentsOf(database: Database, { tables }: CopySchema): string {
  const rows = (sql: string) => database.query(sql).values()
  const read = ({ name, columns, key }: CopyTable) =>
    rows(`select ${columns.map((each) => `"${each}"`).join(', ')} from "${name}" order by ${key.join(', ')}`)
  const whole = tables.filter(({ name }) => name !== 'changes').map((table) => [table.name, read(table)])
  return JSON.stringify([...whole, rows(lastChangesSql)])
}

/** The rows of `keys`, as one text. */
export function keysIn(database: Database): string {
  return JSON.stringify(database.query(keysSql).values())
}

const keysSql = 'select hash, id, tenant, scopes, subject, createdAt, revokedAt, version from keys order by hash'
const lastChangesSql =
  'select tenant, resource, id, max(seq), operation, version, image from changes group by tenant, resource, id order by 1, 2, 3'
