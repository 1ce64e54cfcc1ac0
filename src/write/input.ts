import type { z } from 'zod'
import { type Fault, nearest, Problem, type ProblemCode } from '../problem.ts'
import { evaluate } from '../schema/evaluate.ts'
import { type Expression, leavesOf, madeIn } from '../schema/expression.ts'
import { type Field, toJson, toStored } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import { fieldAt, type Put, type ShapeField } from '../schema/shape.ts'
import type { Json, Value } from '../value.ts'
import type { ResourceView } from '../version/view.ts'
import { changeOf, readsRow, type Sent, unlessSame } from './change.ts'
import type { CommandKind } from './command.ts'

/** What a write puts into a column. */
export interface Assignment {
  readonly column: Field
  /** The field that the caller knows it by: the first that it sent of those that it is made of; null for none. */
  readonly path: string | null
  /** What a new record has in it. */
  readonly value: Value
  /** What becomes of it in a record that is there. */
  readonly change: Change
}

export type Change =
  | { readonly kind: 'set' }
  /** The caller's version does not have it. */
  | { readonly kind: 'keep' }
  /** It depends on what the record has. `shape` tells expressions apart that differ in more than their values. */
  | {
      readonly kind: 'compute'
      readonly expression: Expression
      readonly values: readonly Value[]
      readonly shape: string
    }

type Values = Readonly<Record<string, unknown>>

/** Every fault of a body is found before any is answered. */
export class BodyFaults {
  private code: ProblemCode | undefined
  readonly list: Fault[] = []

  add(problem: ProblemCode, pointer: string, code: string, message: string) {
    this.code ??= problem
    if (!this.isFull) this.list.push({ pointer, code, message })
  }

  /** No more faults are told, so none need be put into words. */
  get isFull(): boolean {
    return this.list.length >= limits.faultsMax
  }

  throwIfAny() {
    if (this.code) throw new Problem(this.code, { detail: this.list[0]?.message ?? '', errors: this.list })
  }
}

/**
 * The input of a create, replace or patch: what the caller sends, checked as its version has it, and then as the tables
 * do. Faults are added by JSON pointer under `pointer`.
 */
export function parseInput(
  view: ResourceView,
  kind: CommandKind,
  body: unknown,
  pointer: string,
  faults: BodyFaults,
): readonly Assignment[] {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    faults.add('invalid-value', pointer, 'invalid-type', `The body must be an object with the fields of ${view.name}.`)
    return []
  }
  const given = body as Values
  refuseUnknownFields(view, view.fields.values(), given, pointer, '', faults)
  const result = (kind === 'patch' ? view.patchSchema : view.createSchema).safeParse(given)
  if (!result.success) {
    addIssues(result.error.issues, given, pointer, faults)
    return []
  }
  // What a schema makes of a value is what is stored: one may trim it, or give it another case.
  const sent = new Body(view, given, result.data)
  refuseLostProto(view, given, result.data, pointer, faults)
  const assignments: Assignment[] = []
  for (const put of view.puts) {
    const path = put.given.find((each) => sent.has(each)) ?? null
    if (kind === 'patch' && path === null) continue
    const { value, change } = kind === 'patch' ? patched(put, sent) : whole(put, sent)
    checkMade(put, kind, sent, pointer, faults)
    assignments.push({ column: put.column, path, value: value ?? null, change })
  }
  return assignments
}

/** A body whose values are those of the caller's version. */
class Body {
  private readonly given: Values
  private readonly values: Values
  private readonly view: ResourceView

  constructor(view: ResourceView, given: Values, values: Values) {
    this.view = view
    this.given = given
    this.values = values
  }

  has(path: string): boolean {
    return hasPath(this.given, path.split('/'))
  }

  /** A field of the caller's version. */
  field(path: string): ShapeField {
    return fieldAt(this.view.fields, path)
  }

  /** What is sent in a field; where nothing is, what the field has then. */
  value(path: string): Json {
    const field = this.field(path)
    if (!this.has(path)) return toJson(field, field.fallback ?? null)
    let value: unknown = this.values
    for (const name of path.split('/')) value = (value as Values)[name]
    // Of the forms of an instant, lenses and tables know the one that is stored.
    return field.kind === 'instant' ? storedOf(field, value as Json) : (value as Json)
  }

  /** The value that a write binds for a field. */
  stored(path: string): Value {
    return storedOf(this.field(path), this.value(path))
  }
}

function hasPath(values: unknown, path: readonly PropertyKey[]): boolean {
  const [name, ...rest] = path
  if (name === undefined) return true
  if (typeof values !== 'object' || values === null || !Object.hasOwn(values, name)) return false
  return hasPath((values as Record<PropertyKey, unknown>)[name], rest)
}

/** A JSON null is no value for a JSON column either: it clears the column, as it does every other. */
function storedOf(field: Field, value: Json): Value {
  return value === null ? null : toStored(field, value)
}

/** What a write puts into a column; `value` is undefined where it is known only once the record is. */
type Effect = Pick<Assignment, 'change'> & { readonly value: Value | undefined }

/** What a create or a replace puts into a column. */
function whole(put: Put, body: Body): Effect {
  const { column, expression, given, isExact } = put
  const isTold = given.length === 0 || given.some((path) => body.has(path)) || isDefaulted(expression)
  const fallback = isTold ? undefined : column.fallback
  const value = fallback === undefined ? storedOf(column, freshValue(expression, body)) : fallback
  if (given.length === 0) return { value, change: { kind: 'keep' } }
  if (isExact && !readsRow(expression)) return { value, change: { kind: 'set' } }
  const change = fallback === undefined ? computed(put, given, body, false) : defaulted(put, fallback, body)
  return { value, change }
}

function isDefaulted(expression: Expression): boolean {
  return leavesOf(expression).some((leaf) => leaf.op === 'given' && leaf.isDefaulted)
}

/** What a column of a new record has. */
function freshValue(expression: Expression, body: Body): Json {
  return evaluate(expression, (leaf) => {
    if (leaf.op === 'given') return body.value(leaf.path)
    if (leaf.op === 'hidden') return leaf.fresh
    throw new Error(`broken invariant: a write is made of what is given, and there is ${leaf.op}`)
  })
}

/** What a merge patch puts into a column, where it names any field that the column is made of. */
function patched(put: Put, body: Body): Effect {
  const { column, expression, given, isExact } = put
  const named = given.filter((path) => body.has(path))
  const merges = named.some((path) => isMerged(path, body))
  const isWhole = named.length === given.length && !merges
  const value = isWhole ? storedOf(column, freshValue(expression, body)) : undefined
  if (isWhole && isExact && !readsRow(expression)) return { value, change: { kind: 'set' } }
  return { value, change: computed(put, named, body, merges) }
}

/** A JSON object in a patch is merged into the field (RFC 7396); any other value takes its place. */
function isMerged(path: string, body: Body): boolean {
  const value = body.value(path)
  return body.field(path).kind === 'json' && typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What becomes of a column by the fields that are sent, and by what is there. */
function computed(put: Put, paths: readonly string[], body: Body, merges: boolean): Change {
  const { column, expression, isSame } = put
  const sent = sentOf(body, paths, merges)
  // The first that lenses make is the column.
  const made = changeOf(expression.op === 'made' ? expression.by : expression, columnOf(column), sent)
  // A patch of a json field is the one such expression of a version that is as the tables are.
  const shape = isSame && merges ? 'merge' : JSON.stringify(made)
  return { kind: 'compute', expression: made, values: paths.map((path) => body.stored(path)), shape }
}

/** What becomes of a column where a replace sends nothing for it: its default, unless it is shown as that already. */
function defaulted({ column, given }: Put, fallback: Value, body: Body): Change {
  const otherwise: Expression = { op: 'literal', value: toJson(column, fallback) }
  const expression = unlessSame(columnOf(column), given, otherwise, sentOf(body, given, false))
  const values = given.map((path) => body.stored(path))
  return { kind: 'compute', expression, values, shape: JSON.stringify(expression) }
}

function sentOf(body: Body, paths: readonly string[], merges: boolean): Sent {
  return { paths, field: (path) => body.field(path), isMerged: (path) => merges && isMerged(path, body) }
}

function columnOf({ name, kind }: Field): Expression {
  return { op: 'column', name, kind }
}

/**
 * What lenses make of what is sent must be what each newer version takes, and the tables; where it is not, the caller is
 * told of a field that it sent. What a patch makes together with what is there, the database judges.
 */
function checkMade({ expression, column }: Put, kind: CommandKind, body: Body, pointer: string, faults: BodyFaults) {
  for (const { by, field } of madeIn(expression)) {
    const given = leavesOf(by).flatMap((leaf) => (leaf.op === 'given' ? [leaf.path] : []))
    const isKnown = (path: string) => body.has(path) && !isMerged(path, body)
    const isTold = given.some((path) => body.has(path)) || isDefaulted(by) || column.fallback === undefined
    if (kind === 'patch' ? !given.every(isKnown) : !isTold) continue
    const value = freshValue(by, body)
    if (value === null && field.nullable) continue
    const result = field.schema.safeParse(value)
    if (result.success) continue
    const path = given.find((each) => body.has(each)) ?? given[0] ?? field.name
    for (const { code, message } of result.error.issues)
      faults.add('invalid-value', `${pointer}/${path}`, code, `"${path.replace('/', '.')}": ${message}`)
    return
  }
}

/** Schemas of records drop a member `__proto__` without a word; a document that would lose one is refused instead. */
function refuseLostProto(view: ResourceView, given: Values, made: Values, pointer: string, faults: BodyFaults) {
  for (const { kind, name } of view.fields.values()) {
    if (kind !== 'json' || protosIn(given[name]) === protosIn(made[name])) continue
    const message = `"${name}": a member "__proto__" has no place in this document.`
    faults.add('invalid-value', `${pointer}/${name}`, 'reserved-name', message)
  }
}

function protosIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const inside = Object.values(value).reduce((sum: number, each) => sum + protosIn(each), 0)
  return inside + (Object.hasOwn(value, '__proto__') ? 1 : 0)
}

function refuseUnknownFields(
  view: ResourceView,
  fields: Iterable<ShapeField>,
  values: Values,
  pointer: string,
  group: string,
  faults: BodyFaults,
) {
  const fieldByName = new Map([...fields].map((field) => [field.name, field]))
  for (const [name, value] of Object.entries(values)) {
    const field = fieldByName.get(name)
    const at = `${pointer}/${escapePointer(name)}`
    if (field?.members && typeof value === 'object' && value !== null && !Array.isArray(value)) {
      refuseUnknownFields(view, field.members, value as Values, at, `${name}.`, faults)
      continue
    }
    if (field?.writable) continue
    if (faults.isFull) return
    if (field) {
      faults.add('unknown-field', at, 'read-only', `"${group}${name}" cannot be written; Perigee keeps it.`)
      continue
    }
    const writable = [...fieldByName.values()].filter((each) => each.writable).map((each) => each.name)
    const near = nearest(name, writable)
    const hint = near ? `did you mean "${near}"?` : `its fields are ${writable.join(', ')}.`
    faults.add(
      'unknown-field',
      at,
      'unknown-field',
      `${view.name} has no field "${group}${name.slice(0, 100)}"; ${hint}`,
    )
  }
}

function addIssues(issues: readonly z.core.$ZodIssue[], values: Values, pointer: string, faults: BodyFaults) {
  for (const issue of issues) {
    const name = issue.path.join('.')
    const at = `${pointer}/${issue.path.map((part) => escapePointer(String(part))).join('/')}`
    if (!hasPath(values, issue.path)) faults.add('invalid-value', at, 'required', `"${name}" is required.`)
    else faults.add('invalid-value', at, issue.code, `"${name}": ${issue.message}`)
  }
}

export function escapePointer(name: string): string {
  return name.slice(0, 100).replaceAll('~', '~0').replaceAll('/', '~1')
}
