import { type Expression, type Leaf, leavesOf, replaceLeaves } from '../schema/expression.ts'
import type { ShapeField } from '../schema/shape.ts'

/** What a write sends at the version of its caller, by the paths of the fields. */
export interface Sent {
  readonly paths: readonly string[]
  field(path: string): ShapeField
  /** Whether it is merged into what the field has (RFC 7396), not put in its place. */
  isMerged(path: string): boolean
}

/**
 * What becomes of a field that a record has in it, `read`, where a write makes it by `expression`. What the caller does not
 * send stays, and so does what its version does not show, as long as the fields that it sends are as they were.
 */
export function changeOf(expression: Expression, read: Expression, sent: Sent): Expression {
  const named = sentIn(expression, sent)
  if (named.length === 0) return read
  const made = madeOf(expression, read, sent)
  const isExact = named.every((path) => sent.field(path).isExact) && !readsRow(expression)
  return isExact || named.some(sent.isMerged) ? made : unlessSame(read, named, made, sent)
}

/** A field as a record has it where the fields at `paths` are as they are sent. */
export function unlessSame(read: Expression, paths: readonly string[], otherwise: Expression, sent: Sent): Expression {
  const same = paths.map((path) => [sent.field(path).read, boundTo(path, sent)] as const)
  return { op: 'kept', field: read, same, otherwise }
}

/** Whether what is written depends on what is there: on what the caller's version does not show. */
export function readsRow(expression: Expression): boolean {
  return leavesOf(expression).some((leaf) => leaf.op === 'hidden')
}

function sentIn(expression: Expression, { paths }: Sent): string[] {
  const named = leavesOf(expression).flatMap((leaf) => (leaf.op === 'given' ? [leaf.path] : []))
  return paths.filter((path) => named.includes(path))
}

function madeOf(expression: Expression, read: Expression, sent: Sent): Expression {
  const inside = (each: Expression) =>
    replaceLeaves(
      each,
      (leaf) => leafOf(leaf, sent),
      (node) => changeOf(node.by, node.field.read, sent),
    )
  if (expression.op !== 'withMember') return inside(expression)
  // The member as it is, also where it is none of the kind that the caller's version knows.
  const member: Expression = { op: 'member', of: read, name: expression.name, kind: 'json' }
  return { ...expression, of: inside(expression.of), value: changeOf(expression.value, member, sent) }
}

function leafOf(leaf: Leaf, sent: Sent): Expression {
  if (leaf.op === 'hidden') return leaf.read
  if (leaf.op !== 'given') return leaf
  const { read } = sent.field(leaf.path)
  if (!sent.paths.includes(leaf.path)) return read
  const bound = boundTo(leaf.path, sent)
  return sent.isMerged(leaf.path) ? { op: 'merged', of: read, patch: bound } : bound
}

function boundTo(path: string, { paths, field }: Sent): Expression {
  return { op: 'bound', index: paths.indexOf(path), kind: field(path).kind }
}
