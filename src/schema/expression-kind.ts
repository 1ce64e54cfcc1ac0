import { LensMistake } from './draft.ts'
import type { Expression } from './expression.ts'
import type { FieldKind } from './field.ts'

type ValueKind = 'text' | 'number' | 'boolean'

/** What an expression over a value of `kind` comes to. Throws a LensMistake where an operation does not fit its value. */
export function kindOf(expression: Expression, kind: FieldKind): ValueKind {
  switch (expression.op) {
    case 'value':
      return valueKind(kind)
    case 'plus':
    case 'times':
    case 'over':
      requireNumber(expression.op, expression.by)
      return require(expression.op, expression.of, kind, 'number')
    case 'rounded':
      return require(expression.op, expression.of, kind, 'number')
    case 'prefixed':
    case 'unprefixed':
      if (!expression.prefix.isWellFormed() || expression.prefix.includes('\0'))
        throw new LensMistake('a prefix is well-formed text without NUL.')
      return require(expression.op, expression.of, kind, 'text')
    case 'lower':
    case 'upper':
      return require(expression.op, expression.of, kind, 'text')
    case 'orElse':
      return require(expression.op, expression.of, kind, ofScalar(expression.value))
    case 'match':
      return kindOfMatch(expression, kind)
    default:
      throw new LensMistake(`"${expression.op}" is no operation of one value.`)
  }
}

export function valueKind(kind: FieldKind): ValueKind {
  if (kind === 'boolean') return 'boolean'
  return kind === 'integer' || kind === 'real' ? 'number' : 'text'
}

function kindOfMatch({ of, cases, otherwise }: Extract<Expression, { op: 'match' }>, kind: FieldKind): ValueKind {
  const from = kindOf(of, kind)
  const [first, second] = new Set([
    ...cases.map(([, to]) => ofScalar(to)),
    ...(otherwise === undefined ? [] : [ofScalar(otherwise)]),
  ])
  if (cases.some(([each]) => ofScalar(each) !== from))
    throw new LensMistake(`"match" compares with a ${from}; so must each of its cases begin.`)
  if (second) throw new LensMistake('"match" makes values of two kinds.')
  return first ?? from
}

function require(op: string, of: Expression, kind: FieldKind, wanted: ValueKind): ValueKind {
  const found = kindOf(of, kind)
  if (found !== wanted) throw new LensMistake(`"${op}" is for a ${wanted}, and here it gets a ${found}.`)
  return found
}

function requireNumber(op: string, by: number) {
  if (!Number.isFinite(by) || (op === 'over' && by === 0))
    throw new LensMistake(`"${op}" takes a number${op === 'over' ? ' other than 0' : ''}, not ${by}.`)
}

function ofScalar(value: string | number | boolean): ValueKind {
  return typeof value === 'string' ? 'text' : typeof value === 'number' ? 'number' : 'boolean'
}
