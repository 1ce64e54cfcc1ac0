import { type Expression, isLeaf, type Leaf } from '../schema/expression.ts'
import { type FieldKind, quoted } from '../schema/field.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { Json } from '../value.ts'

/** An SQL expression, and what its values are: as they stand, 0 and 1 for a boolean, or the text of JSON. */
export interface SqlValue {
  readonly sql: string
  readonly form: 'plain' | 'boolean' | 'json'
}

export type LeafSql = (leaf: Leaf) => SqlValue

/** An expression as SQL, which comes to what `evaluate` comes to; `leaf` says what its leaves are. */
export function expressionSql(expression: Expression, leaf: LeafSql): SqlValue {
  if (isLeaf(expression)) return expression.op === 'literal' ? literalSql(expression.value) : leaf(expression)
  const at = (each: Expression) => expressionSql(each, leaf)
  switch (expression.op) {
    case 'object': {
      const members = expression.members.map(([name, each]) => `${textSql(name)}, ${asJson(at(each))}`)
      return { sql: `json_object(${members.join(', ')})`, form: 'json' }
    }
    case 'joined': {
      const [first, second] = [at(expression.first).sql, at(expression.second).sql]
      return { sql: `(${first} || coalesce(${textSql(expression.separator)} || ${second}, ''))`, form: 'plain' }
    }
    case 'withMember':
      return withMemberSql(at(expression.of).sql, pathSql(expression.name), at(expression.value))
    case 'withFirst':
      return withFirstSql(at(expression.of).sql, at(expression.value))
    case 'merged': {
      const sql = `json_patch(coalesce(${at(expression.of).sql}, 'null'), ${at(expression.patch).sql})`
      return { sql, form: 'json' }
    }
    case 'kept': {
      const same = expression.same.map(([a, b]) => `${comparable(at(a))} is ${comparable(at(b))}`)
      const [column, otherwise] = [at(expression.column), at(expression.otherwise)]
      return { sql: `iif(${same.join(' and ')}, ${column.sql}, ${otherwise.sql})`, form: column.form }
    }
    case 'orElse': {
      const of = at(expression.of)
      return { ...of, sql: `coalesce(${of.sql}, ${literalSql(expression.value).sql})` }
    }
    default:
      return ofOneSql(expression, at(expression.of))
  }
}

type OfOne = Exclude<
  Expression,
  Leaf | { op: 'object' | 'joined' | 'withMember' | 'withFirst' | 'merged' | 'kept' | 'orElse' }
>

function ofOneSql(expression: OfOne, of: SqlValue): SqlValue {
  const x = of.sql
  const plain = (sql: string): SqlValue => ({ sql, form: 'plain' })
  switch (expression.op) {
    case 'match':
      return matchSql(expression, of)
    case 'plus':
      return plain(`(${x} + ${numberSql(expression.by)})`)
    case 'times':
      return plain(`(${x} * ${numberSql(expression.by)})`)
    case 'over':
      return plain(`(${x} / ${numberSql(expression.by)}${Number.isInteger(expression.by) ? '.0' : ''})`)
    case 'rounded':
      return plain(`cast(round(${x}) as integer)`)
    case 'lower':
    case 'upper':
      return plain(`${expression.op}(${x})`)
    case 'prefixed':
      return plain(`(${textSql(expression.prefix)} || ${x})`)
    case 'unprefixed': {
      const { prefix } = expression
      const chars = [...prefix].length
      return plain(`iif(substr(${x}, 1, ${chars}) = ${textSql(prefix)}, substr(${x}, ${chars + 1}), ${x})`)
    }
    case 'cut':
      return plain(`substr(${x}, 1, ${expression.chars})`)
    case 'before':
    case 'after': {
      const at = `instr(${x}, ${textSql(expression.separator)})`
      const chars = [...expression.separator].length
      return expression.op === 'before'
        ? plain(`iif(${at} = 0, ${x}, substr(${x}, 1, ${at} - 1))`)
        : plain(`iif(${at} = 0, null, substr(${x}, ${at} + ${chars}))`)
    }
    case 'member':
      return documentValueSql(x, pathSql(expression.name), expression.kind)
    case 'first':
      return documentValueSql(x, `'$[0]'`, expression.kind)
    case 'without':
      return { sql: `json_remove(${x}, ${pathSql(expression.name)})`, form: 'json' }
  }
}

function matchSql({ cases, otherwise }: Extract<Expression, { op: 'match' }>, of: SqlValue): SqlValue {
  const [first] = cases
  const isBoolean = first === undefined ? of.form === 'boolean' : typeof first[1] === 'boolean'
  const form = isBoolean ? 'boolean' : 'plain'
  if (first === undefined && otherwise === undefined) return of
  const whens = cases.map(([from, to]) => `when ${literalSql(from).sql} then ${literalSql(to).sql}`)
  const rest = otherwise === undefined ? of.sql : `iif(${of.sql} is null, null, ${literalSql(otherwise).sql})`
  return { sql: cases.length === 0 ? rest : `case ${of.sql} ${whens.join(' ')} else ${rest} end`, form }
}

/** A value inside a document, where it is of the kind; else null. */
function documentValueSql(document: string, path: string, kind: FieldKind): SqlValue {
  const type = `json_type(${document}, ${path})`
  switch (kind) {
    case 'json':
      return { sql: `${document} -> ${path}`, form: 'json' }
    case 'boolean':
      return { sql: `case ${type} when 'true' then 1 when 'false' then 0 end`, form: 'boolean' }
    case 'integer':
      return { sql: `iif(${type} = 'integer', ${document} ->> ${path}, null)`, form: 'plain' }
    case 'real':
      return { sql: `iif(${type} in ('integer', 'real'), ${document} ->> ${path}, null)`, form: 'plain' }
    default:
      return { sql: `iif(${type} = 'text', ${document} ->> ${path}, null)`, form: 'plain' }
  }
}

function withMemberSql(document: string, path: string, value: SqlValue): SqlValue {
  const set = `iif(coalesce(json_type(${document}), 'object') = 'object', json_set(coalesce(${document}, '{}'), ${path}, ${asJson(value)}), ${document})`
  return { sql: `iif(${value.sql} is null, json_remove(${document}, ${path}), ${set})`, form: 'json' }
}

function withFirstSql(list: string, value: SqlValue): SqlValue {
  const isFilled = `coalesce(json_type(${list}) = 'array' and json_array_length(${list}) > 0, 0)`
  const set = `iif(${isFilled}, json_set(${list}, '$[0]', ${asJson(value)}), json_array(${asJson(value)}))`
  return { sql: `iif(${value.sql} is null, '[]', ${set})`, form: 'json' }
}

/** As an argument of SQLite's functions that make JSON. */
export function asJson({ sql, form }: SqlValue): string {
  if (form === 'boolean') return `json(iif(${sql}, 'true', iif(${sql} is null, 'null', 'false')))`
  return form === 'json' ? `json(${sql})` : sql
}

/** As the text of JSON. */
function asText({ sql, form }: SqlValue): string {
  if (form === 'boolean') return `iif(${sql}, 'true', iif(${sql} is null, 'null', 'false'))`
  return form === 'json' ? `coalesce(${sql}, 'null')` : `json_quote(${sql})`
}

function comparable({ sql, form }: SqlValue): string {
  return form === 'json' ? `json(${sql})` : sql
}

export function formOf(kind: FieldKind): SqlValue['form'] {
  return kind === 'boolean' || kind === 'json' ? kind : 'plain'
}

export function literalSql(value: Json): SqlValue {
  if (typeof value === 'boolean') return { sql: value ? '1' : '0', form: 'boolean' }
  if (typeof value === 'number') return { sql: numberSql(value), form: 'plain' }
  if (typeof value === 'string') return { sql: textSql(value), form: 'plain' }
  return value === null ? { sql: 'null', form: 'plain' } : { sql: textSql(JSON.stringify(value)), form: 'json' }
}

function numberSql(value: number): string {
  return value < 0 ? `(${value})` : String(value)
}

function textSql(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** The path of a member of a document; names of the model have no quote in them. */
function pathSql(name: string): string {
  return `'$."${name}"'`
}

/** A row's columns as leaves. */
export function rowLeaf(alias: string): LeafSql {
  return (leaf) => {
    if (leaf.op !== 'column') throw new Error(`broken invariant: a row has columns, no ${leaf.op}`)
    return { sql: `${alias}.${quoted(leaf.name)}`, form: formOf(leaf.kind) }
  }
}

/** A record as `json_object(...)` over the row `alias`, as its version shows it. */
export function recordSql(fields: Iterable<ShapeField>, leaf: LeafSql): string {
  const members = [...fields].map((field) => `'${field.name}', ${asJson(expressionSql(field.read, leaf))}`)
  return `json_object(${members.join(', ')})`
}

/** The members of a record as SQL expressions of text, `"name":value`. */
export function memberTexts(fields: Iterable<ShapeField>, leaf: LeafSql): string[] {
  return [...fields].map((field) => `'"${field.name}":' || ${asText(expressionSql(field.read, leaf))}`)
}
