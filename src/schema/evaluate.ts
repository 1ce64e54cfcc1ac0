import { assert } from '../problem.ts'
import type { Json } from '../value.ts'
import { type Expression, isLeaf, type Leaf } from './expression.ts'
import type { FieldKind } from './field.ts'

type Members = { readonly [name: string]: Json }

/** What an expression comes to over JSON; `leafValue` says what its leaves are. */
export function evaluate(expression: Expression, leafValue: (leaf: Leaf) => Json): Json {
  if (isLeaf(expression)) return expression.op === 'literal' ? expression.value : leafValue(expression)
  const at = (each: Expression) => evaluate(each, leafValue)
  switch (expression.op) {
    case 'object':
      return Object.fromEntries(expression.members.map(([name, each]) => [name, at(each)]))
    case 'joined':
      return joined(at(expression.first), at(expression.second), expression.separator)
    case 'withMember':
      return withMember(at(expression.of), expression.name, at(expression.value))
    case 'withFirst':
      return withFirst(at(expression.of), at(expression.value))
    case 'merged':
      return mergePatch(at(expression.of), at(expression.patch))
    case 'kept':
      return expression.same.every(([a, b]) => isSame(at(a), at(b))) ? at(expression.field) : at(expression.otherwise)
    case 'made':
      return at(expression.by)
    case 'orElse':
      return at(expression.of) ?? expression.value
    default:
      return ofOne(expression, at(expression.of))
  }
}

type OfOne = Exclude<
  Expression,
  Leaf | { op: 'object' | 'joined' | 'withMember' | 'withFirst' | 'merged' | 'kept' | 'made' | 'orElse' }
>

function ofOne(expression: OfOne, of: Json): Json {
  if (of === null) return null
  switch (expression.op) {
    case 'match':
      return expression.cases.find(([from]) => from === of)?.[1] ?? expression.otherwise ?? of
    case 'plus':
      return finite(Number(of) + expression.by)
    case 'times':
      return finite(Number(of) * expression.by)
    case 'over':
      return finite(Number(of) / expression.by)
    case 'rounded':
      return roundedNumber(Number(of))
    case 'lower':
      return String(of).replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
    case 'upper':
      return String(of).replaceAll(/[a-z]/g, (letter) => letter.toUpperCase())
    case 'prefixed':
      return expression.prefix + of
    case 'unprefixed':
      return String(of).startsWith(expression.prefix) ? String(of).slice(expression.prefix.length) : of
    case 'cut':
      return [...String(of)].slice(0, expression.chars).join('')
    case 'before':
      return String(of).split(expression.separator, 1)[0] ?? ''
    case 'after':
      return String(of).includes(expression.separator)
        ? String(of).slice(String(of).indexOf(expression.separator) + expression.separator.length)
        : null
    case 'member':
      return isObject(of) ? ofKind(of[expression.name], expression.kind) : null
    case 'first':
      return Array.isArray(of) ? ofKind(of[0], expression.kind) : null
    case 'without':
      return without(of, expression.name)
  }
}

/** JSON has no infinity: what is beyond the greatest number is that. */
function finite(number: number): number {
  return Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, number)) + 0
}

/** Numbers that have no fraction stay as they are, and so do those that are too large for a 64-bit integer. */
function roundedNumber(number: number): number {
  if (Math.abs(number) >= 2 ** 52) return number
  return Math.trunc(number + (number < 0 ? -0.5 : 0.5)) + 0
}

function joined(first: Json, second: Json, separator: string): Json {
  return second === null ? first : `${first ?? ''}${separator}${second}`
}

function isObject(value: Json): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function without(of: Json, name: string): Json {
  return isObject(of) ? Object.fromEntries(Object.entries(of).filter(([each]) => each !== name)) : of
}

/** What has no members, a list or a text, takes none either. */
function withMember(of: Json, name: string, value: Json): Json {
  if (value === null) return without(of, name)
  return of === null || isObject(of) ? { ...of, [name]: value } : of
}

function withFirst(of: Json, value: Json): Json {
  if (value === null) return []
  return Array.isArray(of) ? [value, ...of.slice(1)] : [value]
}

function mergePatch(of: Json, patch: Json): Json {
  if (!isObject(patch)) return patch
  const merged = new Map<string, Json>(isObject(of) ? Object.entries(of) : [])
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name)
    else merged.set(name, mergePatch(merged.get(name) ?? null, value))
  }
  return Object.fromEntries(merged)
}

/** A value that documents hold, where it is of the kind; else null. */
function ofKind(value: Json | undefined, kind: FieldKind): Json {
  if (value === undefined) return null
  switch (kind) {
    case 'json':
      return value
    case 'integer':
      return Number.isSafeInteger(value) ? value : null
    case 'real':
      return typeof value === 'number' ? value : null
    case 'boolean':
      return typeof value === 'boolean' ? value : null
    case 'text':
    case 'enum':
    case 'id':
    case 'instant':
      return typeof value === 'string' ? value : null
  }
}

/** Whether two values are the same JSON, whatever the order of members. */
export function isSame(a: Json, b: Json): boolean {
  if (a === b) return true
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((each, i) => isSame(each, b[i]))
  if (!isObject(a) || !isObject(b)) return false
  const names = Object.keys(a)
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && isSame(a[name] ?? null, b[name] ?? null))
  )
}

/** The leaves of an expression that a lens converts one value with. */
export function evaluateOn(expression: Expression, input: Json): Json {
  return evaluate(expression, (leaf) => {
    assert(leaf.op === 'value', 'a lens of one value reads nothing else')
    return input
  })
}
