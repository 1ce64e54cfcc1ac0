import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import * as z from 'zod'
import type { Json, Value } from '../value.ts'
import { limits } from './limits.ts'

export type FieldKind = 'text' | 'enum' | 'id' | 'integer' | 'real' | 'boolean' | 'instant' | 'json'

/** One field of a resource, read off its column once, when the model is built. */
export interface Field {
  readonly name: string
  readonly kind: FieldKind
  readonly nullable: boolean
  /** What the table stores when the caller gives nothing; undefined where the caller must give a value. */
  readonly fallback: Value | undefined
  readonly values: readonly string[]
  readonly writable: boolean
  /** What a caller may send for it, null excluded. */
  readonly schema: z.ZodType
}

/** UUID version 7, lower case (RFC 9562 section 5.7). */
export const uuidv7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/**
 * An id that follows from what it stands for, by the SHA-256 of that in hexadecimal digits: the form of a UUID of version
 * 7 whose time is the start of 2026 and whose other 74 bits are of the hash.
 */
export function idOfHash(hex: string): string {
  const variant = '89ab'[Number.parseInt(hex[3] ?? '0', 16) & 3]
  return `019b7707-e800-7${hex.slice(0, 3)}-${variant}${hex.slice(4, 7)}-${hex.slice(7, 19)}`
}

/** The forms in which instants are taken (RFC 3339), down to the date alone. */
export const instantForm = /^\d{4}-\d\d-\d\d(T([01]\d|2[0-3]):\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/

/** An instant in the one form that is stored. Offsets are taken and turned to UTC; a date alone is its midnight. */
export function parseInstant(text: string): string | null {
  if (!instantForm.test(text)) return null
  const [day, milliseconds] = [Date.parse(text.slice(0, 10)), Date.parse(text)]
  if (Number.isNaN(day) || Number.isNaN(milliseconds)) return null
  // Date.parse turns 30 February into 2 March; a day that does not exist is refused instead.
  const isDay = new Date(day).toISOString().startsWith(text.slice(0, 10))
  const stored = new Date(milliseconds).toISOString()
  return isDay && stored.length === 24 ? stored : null
}

export function fieldKind(column: SQLiteColumn, isReference: boolean): FieldKind | null {
  if (column.name === 'id' || isReference) return 'id'
  switch (column.columnType) {
    case 'SQLiteText':
      return column.enumValues && column.enumValues.length > 0 ? 'enum' : 'text'
    case 'SQLiteInteger':
      return 'integer'
    case 'SQLiteReal':
      return 'real'
    case 'SQLiteBoolean':
      return 'boolean'
    case 'SQLiteTextJson':
      return 'json'
    case 'SQLiteCustomColumn':
      return column.getSQLType() === 'text' ? 'instant' : null
    default:
      return null
  }
}

/** The zod schema of a column's values, as JSON carries them. */
export function columnSchema(column: SQLiteColumn, kind: FieldKind): z.ZodType {
  return kindSchema(kind, { values: column.enumValues ?? [], charsMax: (column as { length?: number }).length })
}

/** The zod schema of what a kind of field takes. */
export function kindSchema(
  kind: FieldKind,
  { values = [], charsMax }: { readonly values?: readonly string[]; readonly charsMax?: number | undefined } = {},
): z.ZodType {
  switch (kind) {
    case 'id':
      return z.string().regex(uuidv7, 'expected a UUID of version 7 in lower case')
    case 'enum':
      return z.enum(values as [string, ...string[]])
    case 'text':
      return z.string().max(charsMax ?? limits.textCharsMax)
    case 'integer':
      return z.int()
    case 'real':
      return z.number()
    case 'boolean':
      return z.boolean()
    case 'instant':
      return z
        .string()
        .refine((text) => parseInstant(text) !== null, 'expected a date-time such as 2026-01-31T12:00:00Z')
    case 'json':
      return z.unknown()
  }
}

/** A caller's value, valid by the field's schema, as SQLite keeps it. */
export function toStored(field: Pick<Field, 'kind'>, value: unknown): Value {
  if (field.kind === 'json') return JSON.stringify(value)
  if (value === null || value === undefined) return null
  if (field.kind === 'boolean') return value ? 1 : 0
  if (field.kind === 'instant') return parseInstant(String(value))
  return field.kind === 'real' ? roundedReal(Number(value)) : (value as Value)
}

/** The greatest number of 15 digits. */
const realMax = 1.797_693_134_862_31e308

/**
 * A number as a column of reals keeps it: with 15 significant digits, as many as survive being written as text and read
 * again (C's DBL_DIG). SQLite in sqld writes no more of them into JSON, and so into the log (measured, 3.45).
 */
export function roundedReal(value: number): number {
  const rounded = Number(value.toPrecision(15))
  return Number.isFinite(rounded) ? rounded : Math.sign(value) * realMax
}

/** A stored value as JSON carries it. */
export function toJson({ kind }: Pick<Field, 'kind'>, value: Value): Json {
  if (value === null) return null
  if (kind === 'boolean') return value === 1
  return kind === 'json' ? JSON.parse(String(value)) : value
}

/** The SQL expression of a field's value inside `json_object(...)`, read from the row `alias`. */
export function jsonValueSql(field: Pick<Field, 'name' | 'kind'>, alias: string): string {
  const column = `${alias}.${quoted(field.name)}`
  if (field.kind === 'boolean') return `json(iif(${column}, 'true', iif(${column} is null, 'null', 'false')))`
  return field.kind === 'json' ? `json(${column})` : column
}

/** A record as `json_object(...)`, its members in the order of `fields`. `as` gives a member another name. */
export function jsonObjectSql(
  fields: readonly (Pick<Field, 'name' | 'kind'> & { readonly as?: string })[],
  alias: string,
): string {
  const members = fields.map((field) => `'${field.as ?? field.name}', ${jsonValueSql(field, alias)}`)
  return `json_object(${members.join(', ')})`
}

/** A name as an SQL identifier. Names come from the model alone, which admits only `[a-zA-Z][a-zA-Z0-9]*`. */
export function quoted(name: string): string {
  return `"${name}"`
}
