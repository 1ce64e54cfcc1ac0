import { type SQL, sql } from 'drizzle-orm'
import { check, customType, integer, type SQLiteColumn, type SQLiteTable, text } from 'drizzle-orm/sqlite-core'

/**
 * A point in time as text, always `YYYY-MM-DDTHH:MM:SS.sssZ` (RFC 3339, UTC, milliseconds),
 * so that the order of the text is the order in time and SQLite writes it into JSON as it is.
 */
export const instant = customType<{ data: string; driverData: string }>({
  dataType: () => 'text',
})

/**
 * The columns that every table begins with. The primary key is `(tenant, id)`, tenant first.
 * `id` is a UUID of version 7 (RFC 9562) as lower-case text; `version` counts the changes of the row from 1.
 * `updatedAt` moves forward when a caller writes the record, not when a derived column follows another record.
 */
export const identity = {
  tenant: text().notNull(),
  id: text({ length: 36 }).notNull(),
  version: integer().notNull().default(1),
  createdAt: instant().notNull(),
  updatedAt: instant().notNull(),
}

export const identityFields = ['id', 'version', 'createdAt', 'updatedAt'] as const
export type IdentityField = (typeof identityFields)[number]

/** A table that begins with `identity`. */
export type IdentifiedTable = SQLiteTable & Record<IdentityField | 'tenant', SQLiteColumn>

/** The fields of a table's records: every column but the tenant, which a caller never sees. */
export type FieldName<T extends IdentifiedTable> = Exclude<keyof T['$inferSelect'] & string, 'tenant'>

/** A CHECK that an enum column holds one of its values, whoever writes. */
export function oneOf(name: string, column: SQLiteColumn) {
  const values = (column.enumValues ?? []).map((value) => `'${value.replaceAll("'", "''")}'`)
  return check(name, sql`${column} in (${sql.raw(values.join(', '))})`)
}

/** A CHECK that a text column is within `min` and `max` characters, whoever writes. */
export function lengthBetween(name: string, column: SQLiteColumn, min: number, max: number) {
  const condition: SQL = sql`length(${column}) between ${sql.raw(String(min))} and ${sql.raw(String(max))}`
  return check(name, condition)
}
