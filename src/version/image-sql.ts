import { assert } from '../problem.ts'
import type { Field, FieldKind } from '../schema/field.ts'
import { columnsIn } from '../schema/image.ts'
import type { Resource } from '../schema/model.ts'
import { expressionSql, formOf, type LeafSql, literalSql, type SqlValue } from './expression-sql.ts'

/**
 * A column of a record, from its image in the log, which the SQL expression `image` is. What the log wrote before the
 * column was there is made of the columns whose place it took, or has its default.
 */
export function imageColumnSql({ name, kind, fallback }: Field, { origins }: Resource, image: string): string {
  const leafOf: LeafSql = (leaf) => {
    assert(leaf.op === 'column', 'a column is made of columns')
    return inImage(image, leaf.name, leaf.kind)
  }
  const isThere = (column: string) => `json_type(${image}, '$.${column}') is not null`
  const found = inImage(image, name, kind).sql
  const rest = fallback === undefined || fallback === null ? found : literalSql(fallback).sql
  const cases = (origins.get(name) ?? []).map((origin) => {
    const isAnyThere = columnsIn(origin).map(isThere).join(' or ')
    return `when ${isAnyThere} then ${expressionSql(origin, leafOf).sql}`
  })
  return `case when ${isThere(name)} then ${found} ${cases.join(' ')} else ${rest} end`
}

function inImage(image: string, column: string, kind: FieldKind): SqlValue {
  const path = `'$.${column}'`
  const sql = kind === 'json' ? `nullif(${image} -> ${path}, 'null')` : `json_extract(${image}, ${path})`
  return { sql, form: formOf(kind) }
}
