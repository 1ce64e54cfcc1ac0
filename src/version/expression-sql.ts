import { type Expression, isLeaf, type Leaf } from '../schema/expression.ts'
import { type FieldKind, quoted } from '../schema/field.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { Json } from '../value.ts'

/** An SQL expression, and what its values are: as they stand, 0 and 1 for a boolean, or the text of JSON. */
export interface SqlValue {
  readonly sql: string
  readonly form: 'plain' | 'boolean' | 'json'
  /** A function of SQLite makes the JSON, which its other functions then take for JSON without parsing it again. */
  readonly isMade?: true
}

export type LeafSql = (leaf: Leaf) => SqlValue

/** An expression as SQL, which comes to what `evaluate` comes to; `leaf` says what its leaves are. */
export function expressionSql(expression: Expression, leaf: LeafSql): SqlValue {
  if (isLeaf(expression)) return expression.op === 'literal' ? literalSql(expression.value) : leaf(expression)
  const at = (each: Expression) => expressionSql(each, leaf)
  switch (expression.op) {
    case 'object': {
      const members = expression.members.map(([name, each]) => `${textSql(name)}, ${asJson(at(each))}`)
      return { sql: `json_object(${members.join(', ')})`, form: 'json', isMade: true }
    }
    case 'joined': {
      const [first, second] = [at(expression.first).sql, at(expression.second).sql]
      const whole = `coalesce(${first}, '') || ${textSql(expression.separator)} || ${second}`
      return { sql: `iif(${second} is null, ${first}, ${whole})`, form: 'plain' }
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
      const same = expression.same.map(([a, b]) => sameSql(at(a), at(b)))
      const [field, otherwise] = inOneForm(at(expression.field), at(expression.otherwise))
      return { sql: `iif(${same.join(' and ')}, ${field.sql}, ${otherwise.sql})`, form: formOfBoth(field, otherwise) }
    }
    case 'made':
      return at(expression.by)
    case 'orElse': {
      const [of, otherwise] = [at(expression.of), literalSql(expression.value)]
      return { sql: `coalesce(${of.sql}, ${otherwise.sql})`, form: formOfBoth(of, otherwise) }
    }
    default:
      return ofOneSql(expression, at(expression.of))
  }
}

type OfOne = Exclude<
  Expression,
  Leaf | { op: 'object' | 'joined' | 'withMember' | 'withFirst' | 'merged' | 'kept' | 'made' | 'orElse' }
>

function ofOneSql(expression: OfOne, of: SqlValue): SqlValue {
  const x = of.sql
  const plain = (sql: string): SqlValue => ({ sql, form: 'plain' })
  switch (expression.op) {
    case 'match':
      return matchSql(expression, of)
    case 'plus':
      return plain(finiteSql(`${x} + ${numberSql(expression.by)}`))
    case 'times':
      return plain(finiteSql(`${x} * ${numberSql(expression.by)}`))
    case 'over':
      return plain(finiteSql(`${x} / cast(${numberSql(expression.by)} as real)`))
    case 'rounded':
      return plain(`iif(abs(${x}) < 4503599627370496, cast(round(${x}) as integer), ${x})`)
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
      const at = `nullif(instr(${x}, ${textSql(expression.separator)}), 0)`
      const chars = [...expression.separator].length
      return expression.op === 'before'
        ? plain(`coalesce(substr(${x}, 1, ${at} - 1), ${x})`)
        : plain(`substr(${x}, ${at} + ${chars})`)
    }
    case 'member':
      return documentValueSql(x, pathSql(expression.name), expression.kind)
    case 'first': {
      const first = documentValueSql(x, `'$[0]'`, expression.kind)
      return first.form === 'json' ? { ...first, sql: `nullif(${first.sql}, 'null')` } : first
    }
    case 'without':
      return { sql: `json_remove(${x}, ${pathSql(expression.name)})`, form: 'json', isMade: true }
  }
}

function matchSql({ cases, otherwise }: Extract<Expression, { op: 'match' }>, of: SqlValue): SqlValue {
  const [first] = cases
  const form = typeof (first?.[1] ?? otherwise) === 'boolean' ? 'boolean' : 'plain'
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
    case 'integer': {
      // A driver may bind a whole number as a real one, which the document then has.
      const [found, most] = [`${document} ->> ${path}`, Number.MAX_SAFE_INTEGER]
      const isWhole = `${type} in ('integer', 'real') and ${found} between -${most} and ${most} and ${found} = cast(${found} as integer)`
      return { sql: `iif(${isWhole}, cast(${found} as integer), null)`, form: 'plain' }
    }
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
export function asJson({ sql, form, isMade }: SqlValue): string {
  if (isMade) return sql
  if (form === 'boolean') return `json(iif(${sql}, 'true', iif(${sql} is null, 'null', 'false')))`
  return form === 'json' ? `json(${sql})` : sql
}

/** As the text of JSON. */
function asText({ sql, form }: SqlValue): string {
  if (form === 'boolean') return `iif(${sql}, 'true', iif(${sql} is null, 'null', 'false'))`
  return form === 'json' ? `coalesce(${sql}, 'null')` : `json_quote(${sql})`
}

/** The form of one value or another: null has none of its own, and so the plain one. */
function formOfBoth(a: SqlValue, b: SqlValue): SqlValue['form'] {
  return a.form === 'plain' ? b.form : a.form
}

/** Two values, one of which may be taken for the other: both the text of JSON where one is. */
function inOneForm(a: SqlValue, b: SqlValue): [SqlValue, SqlValue] {
  const asDocument = (each: SqlValue): SqlValue =>
    each.form === 'json' ? each : { sql: `iif(${each.sql} is null, null, ${asText(each)})`, form: 'json' }
  return formOfBoth(a, b) === 'json' ? [asDocument(a), asDocument(b)] : [a, b]
}

/** Whether two values are the same JSON, whatever the order of members. */
function sameSql(a: SqlValue, b: SqlValue): string {
  if (formOfBoth(a, b) !== 'json') return `${a.sql} is ${b.sql}`
  const parts = ({ sql }: SqlValue) =>
    `select fullkey, replace(type, 'real', 'integer'), atom from json_tree(coalesce(${sql}, 'null'))`
  const lacks = (one: SqlValue, other: SqlValue) => `exists (${parts(one)} except ${parts(other)})`
  return `not (${lacks(a, b)} or ${lacks(b, a)})`
}

/** JSON has no infinity: what is beyond the greatest number is that. */
function finiteSql(number: string): string {
  return `max(min(${number}, ${Number.MAX_VALUE}), -${Number.MAX_VALUE})`
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

/** The members of a record, by their names, as SQL expressions of the text of JSON. */
export function memberTexts(fields: Iterable<ShapeField>, leaf: LeafSql): [name: string, text: string][] {
  return [...fields].map((field) => [field.name, asText(expressionSql(field.read, leaf))])
}
