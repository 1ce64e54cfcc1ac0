import type { Json } from '../value.ts'
import type { FieldKind } from './field.ts'
import type { ShapeField } from './shape.ts'

/**
 * How a value in one version of the API is made of values in another. An expression is data with two interpreters, which
 * agree: `evaluate` here, over JSON, and `version/expression-sql.ts`, over a row. Where nothing else is said, null makes
 * null.
 */
export type Expression = Leaf | Plain | Structure | Made

/** Where values come from. */
export type Leaf =
  /** A column of the record's row. */
  | { readonly op: 'column'; readonly name: string; readonly kind: FieldKind }
  /**
   * What a caller sends: a field by its path, `name` or `group/name`. Where nothing is sent, a create takes the column's
   * default, or where that is not the one of this version (`isDefaulted`) the field's own.
   */
  | { readonly op: 'given'; readonly path: string; readonly isDefaulted?: true }
  /** A field that the caller's version does not have: what a new record gets, and what one that is there has. */
  | { readonly op: 'hidden'; readonly fresh: Json; readonly read: Expression }
  /** A value that a write binds. */
  | { readonly op: 'bound'; readonly index: number; readonly kind: FieldKind }
  /** The value that a lens converts. */
  | { readonly op: 'value' }
  | { readonly op: 'literal'; readonly value: Json }

type Scalar = string | number | boolean

type Plain =
  /** Each case's other value; what is none of the cases is itself, or `otherwise` where that is given. */
  | { readonly op: 'match'; readonly of: Expression; readonly cases: readonly Case[]; readonly otherwise?: Scalar }
  | { readonly op: 'plus' | 'times' | 'over'; readonly of: Expression; readonly by: number }
  | { readonly op: 'rounded' | 'lower' | 'upper'; readonly of: Expression }
  | { readonly op: 'prefixed' | 'unprefixed'; readonly of: Expression; readonly prefix: string }
  /** The first `chars` characters of a text. */
  | { readonly op: 'cut'; readonly of: Expression; readonly chars: number }
  | { readonly op: 'orElse'; readonly of: Expression; readonly value: Scalar }
  /** A text, and where there is a second one, the separator and that: after no text where there is no first. */
  | { readonly op: 'joined'; readonly first: Expression; readonly second: Expression; readonly separator: string }
  /** What stands before the first separator, the whole without one; and after it, null without one. */
  | { readonly op: 'before' | 'after'; readonly of: Expression; readonly separator: string }

export type Case = readonly [from: Scalar, to: Scalar]

type Structure =
  | { readonly op: 'object'; readonly members: readonly (readonly [name: string, value: Expression])[] }
  /** A member of an object, or the first of a list: null where it is missing or not of this kind. */
  | { readonly op: 'member'; readonly of: Expression; readonly name: string; readonly kind: FieldKind }
  | { readonly op: 'first'; readonly of: Expression; readonly kind: FieldKind }
  /** An object with a member set, or without it where the value is null. */
  | { readonly op: 'withMember'; readonly of: Expression; readonly name: string; readonly value: Expression }
  | { readonly op: 'without'; readonly of: Expression; readonly name: string }
  /** A list with another first; the empty list where that is null. */
  | { readonly op: 'withFirst'; readonly of: Expression; readonly value: Expression }
  /** A merge patch (RFC 7396) applied. */
  | { readonly op: 'merged'; readonly of: Expression; readonly patch: Expression }
  /** A field as it is where each pair is equal, else `otherwise`. */
  | { readonly op: 'kept'; readonly field: Expression; readonly same: readonly Pair[]; readonly otherwise: Expression }

/** A field of a newer version, and how it is made of what a caller sends. */
export interface Made {
  readonly op: 'made'
  readonly by: Expression
  readonly field: ShapeField
}

export type Pair = readonly [Expression, Expression]

/** What lenses are written with: `over(value, 60)` is the value divided by 60. */
export const value: Expression = { op: 'value' }
export const plus = (of: Expression, by: number): Expression => ({ op: 'plus', of, by })
export const times = (of: Expression, by: number): Expression => ({ op: 'times', of, by })
export const over = (of: Expression, by: number): Expression => ({ op: 'over', of, by })
/** To the nearest whole number, halves away from zero. */
export const rounded = (of: Expression): Expression => ({ op: 'rounded', of })
/** The letters A to Z, as SQLite changes their case. */
export const lower = (of: Expression): Expression => ({ op: 'lower', of })
export const upper = (of: Expression): Expression => ({ op: 'upper', of })
export const prefixed = (of: Expression, prefix: string): Expression => ({ op: 'prefixed', of, prefix })
export const unprefixed = (of: Expression, prefix: string): Expression => ({ op: 'unprefixed', of, prefix })
export const orElse = (of: Expression, otherwise: Scalar): Expression => ({ op: 'orElse', of, value: otherwise })
export const match = (of: Expression, cases: readonly Case[], otherwise?: Scalar): Expression =>
  otherwise === undefined ? { op: 'match', of, cases } : { op: 'match', of, cases, otherwise }

export function isLeaf(expression: Expression): expression is Leaf {
  return ['column', 'given', 'hidden', 'bound', 'value', 'literal'].includes(expression.op)
}

/** The expression with each of its leaves replaced, and where `made` is given, what lenses made of them, in whole. */
export function replaceLeaves(
  expression: Expression,
  replace: (leaf: Leaf) => Expression,
  made?: (node: Made) => Expression,
): Expression {
  if (isLeaf(expression)) return replace(expression)
  const inside = (each: Expression) => replaceLeaves(each, replace, made)
  switch (expression.op) {
    case 'object':
      return { ...expression, members: expression.members.map(([name, each]) => [name, inside(each)] as const) }
    case 'joined':
      return { ...expression, first: inside(expression.first), second: inside(expression.second) }
    case 'withMember':
    case 'withFirst':
      return { ...expression, of: inside(expression.of), value: inside(expression.value) }
    case 'merged':
      return { ...expression, of: inside(expression.of), patch: inside(expression.patch) }
    case 'kept':
      return {
        ...{ op: 'kept', field: inside(expression.field), otherwise: inside(expression.otherwise) },
        same: expression.same.map(([a, b]) => [inside(a), inside(b)] as const),
      }
    case 'made':
      return made ? made(expression) : { ...expression, by: inside(expression.by) }
    default:
      return { ...expression, of: inside(expression.of) }
  }
}

/** The expression with `value` filled in. */
export function fill(expression: Expression, filling: Expression): Expression {
  return replaceLeaves(expression, (leaf) => (leaf.op === 'value' ? filling : leaf))
}

export function leavesOf(expression: Expression): Leaf[] {
  const leaves: Leaf[] = []
  replaceLeaves(expression, (leaf) => {
    leaves.push(leaf)
    return leaf
  })
  return leaves
}

/** What lenses make on the way to a column, from the older versions to the newer. */
export function madeIn(expression: Expression): Made[] {
  const found: Made[] = []
  replaceLeaves(
    expression,
    (leaf) => leaf,
    (node) => {
      found.push(...madeIn(node.by), node)
      return node
    },
  )
  return found
}
