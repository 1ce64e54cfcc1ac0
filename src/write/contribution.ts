import { idOfHash, toStored } from '../schema/field.ts'
import { columnIn, type Image } from '../schema/image.ts'
import type { Contribution, Projection, ProjectionSource } from '../schema/projection.ts'
import type { Call, Step } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'
import type { Value } from '../value.ts'
import type { RowTexts } from './projection-sql.ts'

/** A row of a read model as it is kept: its key and its totals. */
export type ProjectedRow = Readonly<Record<string, Value>>

interface Sum {
  readonly tenant: string
  readonly id: string
  readonly key: ProjectedRow
  readonly totals: Map<string, number>
}

/**
 * What records contribute to the rows of a read model, added up. `digest` is SHA-256 as URL-safe base64. What a fold makes
 * that is no contribution is an error that names the read model and the record.
 */
export class Sums {
  private readonly sums = new Map<string, Sum>()
  private readonly projection: Projection
  private readonly digest: (text: string) => string

  constructor(projection: Projection, digest: (text: string) => string) {
    this.projection = projection
    this.digest = digest
  }

  /** Adds what a record contributes, or takes it away; nothing where there is no record. */
  take(source: ProjectionSource, tenant: string, id: string, image: Image | null, sign: 1 | -1) {
    if (image === null) return
    const where = `the read model ${this.projection.name}: its fold of ${source.resource.name} ${id}`
    const contribution = contributionOf(source, image, where)
    if (contribution === null) return
    const sum = this.sumOf(tenant, this.keyOf(contribution, where))
    for (const [name, value = 0] of Object.entries(contribution.add)) {
      if (!this.projection.totals.some((total) => total.name === name))
        throw new Error(`${where} adds to "${name}", which is no total.`)
      if (!Number.isSafeInteger(value)) throw new Error(`${where} adds ${value} to ${name}; totals are whole numbers.`)
      sum.totals.set(name, (sum.totals.get(name) ?? 0) + sign * value)
    }
  }

  private keyOf({ key }: Contribution, where: string): ProjectedRow {
    const stored: Record<string, Value> = {}
    for (const field of this.projection.key) {
      const { success, data } = field.schema.safeParse(key[field.name])
      if (!success) throw new Error(`${where} has the key ${field.name} ${JSON.stringify(key[field.name])}.`)
      stored[field.name] = toStored(field, data)
    }
    return stored
  }

  private sumOf(tenant: string, key: ProjectedRow): Sum {
    const text = JSON.stringify([this.projection.name, ...Object.values(key)])
    const known = this.sums.get(tenant + text)
    if (known) return known
    const hex = Uint8Array.fromBase64(this.digest(text), { alphabet: 'base64url' }).toHex()
    const sum = { tenant, id: idOfHash(hex), key, totals: new Map<string, number>() }
    this.sums.set(tenant + text, sum)
    return sum
  }

  /** The statements that bring the rows there are up to date. Rows all of whose totals come to zero go. */
  async writes(texts: RowTexts, reader: Reader): Promise<Step[]> {
    const moved = [...this.sums.values()].filter(({ totals }) => [...totals.values()].some((total) => total !== 0))
    if (moved.length === 0) return []
    const listed = JSON.stringify(moved.map(({ tenant, id }) => [tenant, id]))
    const there = new Map(
      (await reader.rows(texts.read, [listed])).map(([tenant, id, row]) => [`${tenant} ${id}`, parsedRow(row)]),
    )
    const made = moved.map((sum) => ({ ...sum, row: this.rowOf(sum, there.get(`${sum.tenant} ${sum.id}`) ?? null) }))
    return rowWrites(texts, made)
  }

  private rowOf({ key, totals }: Sum, before: ProjectedRow | null): ProjectedRow | null {
    const row: Record<string, Value> = { ...key }
    for (const { name } of this.projection.totals) {
      const total = Number(before?.[name] ?? 0) + (totals.get(name) ?? 0)
      if (!Number.isSafeInteger(total))
        throw new Error(`the read model ${this.projection.name}: ${name} comes to ${total}.`)
      row[name] = total
    }
    return this.projection.totals.some(({ name }) => row[name] !== 0) ? row : null
  }
}

function contributionOf(source: ProjectionSource, image: Image, where: string): Contribution | null {
  const record = Object.fromEntries(source.fields.map((name) => [name, columnIn(image, name, source.resource)]))
  try {
    return source.contribution(record)
  } catch (error) {
    throw new Error(`${where} failed: ${(error as Error).message}`, { cause: error })
  }
}

/** Statements that make or replace rows, and remove those that are null. */
export function rowWrites(
  texts: RowTexts,
  rows: readonly { readonly tenant: string; readonly id: string; readonly row: ProjectedRow | null }[],
): Call[] {
  const [there, gone] = [rows.filter(({ row }) => row !== null), rows.filter(({ row }) => row === null)]
  const removed = { sql: texts.remove, args: [JSON.stringify(gone.map(({ tenant, id }) => [tenant, id]))] }
  const written = { sql: texts.write, args: [JSON.stringify(there.map(({ tenant, id, row }) => [tenant, id, row]))] }
  return [...(gone.length > 0 ? [removed] : []), ...(there.length > 0 ? [written] : [])]
}

export function parsedRow(text: Value | undefined): ProjectedRow | null {
  return typeof text === 'string' ? JSON.parse(text) : null
}
