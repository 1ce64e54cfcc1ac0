import * as z from 'zod'
import type { Json, Value } from '../value.ts'
import {
  convertedFallback,
  convertField,
  type Draft,
  fieldIn,
  freeName,
  given,
  LensMistake,
  newName,
  oldField,
  replaceFields,
  stored,
} from './draft.ts'
import { evaluate, evaluateOn } from './evaluate.ts'
import { type Case, type Expression, fill, type Leaf, leavesOf, madeIn, match, value } from './expression.ts'
import { toJson } from './field.ts'
import type { Lens, OldField } from './lens.ts'
import { limits } from './limits.ts'
import { olderConvert } from './older-convert.ts'
import { olderGroup, olderPlunge } from './older-structure.ts'
import { fieldAt, type ShapeField } from './shape.ts'

type Of<K extends Lens['kind']> = Extract<Lens, { kind: K }>

/** Turns a shape into that of the version before. Throws a LensMistake. */
export function applyOlder(draft: Draft, lens: Lens) {
  switch (lens.kind) {
    case 'rename':
      return olderRename(draft, lens)
    case 'renameResource':
      draft.name = newName(lens.from)
      return
    case 'add':
      return olderAdd(draft, lens)
    case 'remove':
      return olderRemove(draft, lens)
    case 'mapValues':
      return olderMap(draft, lens)
    case 'convert':
      return olderConvert(draft, lens)
    case 'split':
      return olderSplit(draft, lens)
    case 'join':
      return olderJoin(draft, lens)
    case 'hoist':
      return olderGroup(draft, lens)
    case 'plunge':
      return olderPlunge(draft, lens)
    case 'wrap':
      return olderWrap(draft, lens)
    case 'changeDefault':
      return olderDefault(draft, lens)
    case 'changeLimit':
      return olderLimit(draft, lens)
  }
}

function olderRename(draft: Draft, { from, to }: Of<'rename'>) {
  const relation = draft.relations.get(to)
  const field = draft.fields.get(to)
  if (!field && relation) {
    freeName(draft, from)
    draft.relations = new Map(
      [...draft.relations].map(([name, each]) => (each === relation ? [from, each] : [name, each])),
    )
    return
  }
  if (!field || field.members === null) fieldIn(draft, to)
  freeName(draft, from)
  replaceFields(draft, [to], field ? [{ ...field, name: from }] : [], (path) => {
    const rest = path === to ? '' : path.startsWith(`${to}/`) ? path.slice(to.length) : null
    return rest === null ? null : given(from + rest)
  })
}

function olderAdd(draft: Draft, { field: name, fresh }: Of<'add'>) {
  const field = fieldIn(draft, name)
  if (field.writable) requireTaken(field, fresh, 'what a create of an old client puts there')
  replaceFields(draft, [name], [], (path) => (path === name ? { op: 'hidden', fresh, read: field.read } : null))
  requireUnsent(draft, `which is made of the fresh value of "${name}"`)
}

/** That newer versions, too, take what they get where older clients send nothing: defaults and fresh values. */
function requireUnsent({ fields, puts }: Draft, what: string) {
  const fallbackOf = (leaf: Leaf): Json | undefined => {
    if (leaf.op === 'hidden') return leaf.fresh
    const field = leaf.op === 'given' ? fieldAt(fields, leaf.path) : undefined
    return field?.fallback === undefined ? undefined : toJson(field, field.fallback)
  }
  for (const expression of puts.values()) {
    const leaves = leavesOf(expression)
    const isMade = leaves.some((leaf) => leaf.op === 'hidden' || (leaf.op === 'given' && leaf.isDefaulted))
    if (!isMade || leaves.some((leaf) => fallbackOf(leaf) === undefined)) continue
    for (const { by, field } of madeIn(expression))
      requireTaken(
        field,
        evaluate(by, (leaf) => fallbackOf(leaf) ?? null),
        what,
      )
  }
}

function olderRemove(draft: Draft, { field: name, was, stands }: Of<'remove'>) {
  freeName(draft, name)
  const made: ShapeField = {
    ...oldField(was),
    ...{ name, writable: true, read: { op: 'literal', value: stands }, isExact: true, column: null, members: null },
    fallback: stored(was, stands),
  }
  requireTaken(made, stands, 'what stands in for it')
  replaceFields(draft, [], [made], () => null)
}

/** That a field takes a value. */
function requireTaken(field: ShapeField, given: Json, what: string) {
  if (given === null ? field.nullable : field.schema.safeParse(given).success) return
  throw new LensMistake(`"${field.name}" does not take ${JSON.stringify(given)}, ${what}.`)
}

function olderMap(draft: Draft, { field: name, values, back }: Of<'mapValues'>) {
  const field = fieldIn(draft, name, ['enum'])
  const forth = new Map(Object.entries(values))
  const shown = new Map(field.values.map((each) => [each, shownAs(field, each, forth, back)]))
  for (const [from, to] of forth) {
    if (!field.values.includes(to)) throw new LensMistake(`"${to}" is none of the values of "${name}".`)
    if (field.values.includes(from) && shown.get(from) === from)
      throw new LensMistake(
        `"${from}" is a value of both versions; tell with "back" as which old value the new one is shown.`,
      )
  }
  const old = [...new Set([...shown.values(), ...forth.keys()])]
  const unknown = old.find((each) => !field.values.includes(forth.get(each) ?? each))
  if (unknown !== undefined) throw new LensMistake(`"${unknown}", which "back" shows, is no value of the old version.`)
  const isOneToOne = new Set(shown.values()).size === shown.size && old.length === shown.size
  const cases = (pairs: Iterable<Case>) => [...pairs].filter(([from, to]) => from !== to)
  convertField(draft, field, {
    was: { kind: 'enum', nullable: field.nullable, values: old },
    toOld: match(value, cases(shown)),
    toNew: match(value, cases(forth)),
    ...{ isExact: isOneToOne, isOneToOne },
  })
}

/** The old value that stands for a new one. */
function shownAs(
  { name }: ShapeField,
  each: string,
  forth: ReadonlyMap<string, string>,
  back: Readonly<Record<string, string>>,
): string {
  const told = Object.hasOwn(back, each) ? back[each] : undefined
  if (told !== undefined) return told
  const [first, second] = [...forth].filter(([, to]) => to === each).map(([from]) => from)
  if (second !== undefined)
    throw new LensMistake(
      `"${first}" and "${second}" both become "${each}" of "${name}"; tell with "back" which is shown.`,
    )
  return first ?? each
}

function olderSplit(draft: Draft, { from, to, at }: Of<'split'>) {
  const [first, second] = to.map((name) => fieldIn(draft, name, ['text'])) as [ShapeField, ShapeField]
  requireCharacter(at.separator)
  requireTwo(to)
  if (first.writable !== second.writable)
    throw new LensMistake(`callers write one of "${first.name}" and "${second.name}", and not the other.`)
  if (!second.nullable)
    throw new LensMistake(`"${second.name}" must be nullable: it is null where the old text has no separator.`)
  freeName(draft, from, to)
  const older: ShapeField = {
    ...first,
    ...oldField({ kind: 'text', nullable: first.nullable }),
    ...{ name: from, writable: first.writable && second.writable, isExact: false, column: null },
    read: { op: 'joined', first: first.read, second: second.read, separator: at.separator },
    fallback: first.fallback === undefined ? undefined : joinedFallback(first, second, at.separator),
  }
  replaceFields(draft, to, [older], (path) => {
    if (path !== first.name && path !== second.name) return null
    return { op: path === first.name ? 'before' : 'after', of: given(from), separator: at.separator }
  })
}

function olderJoin(draft: Draft, { from, to, at }: Of<'join'>) {
  const field = fieldIn(draft, to, ['text'])
  requireCharacter(at.separator)
  requireTwo(from)
  for (const name of from) freeName(draft, name, [to])
  if (hasFirstPart(field.read))
    throw new LensMistake(`"${to}" is the first part of a text; it has no parts, or they might hold its separator.`)
  const chars = field.schema instanceof z.ZodString ? field.schema.maxLength : null
  const part = (op: 'before' | 'after'): ShapeField => {
    const [name, nullable] = op === 'before' ? [from[0], field.nullable] : [from[1], true]
    const cut: Expression = { op, of: value, separator: at.separator }
    const fallback = convertedFallback(field, field, cut)
    const schema = op === 'before' ? withoutCharacter(at.separator) : z.string()
    return {
      ...field,
      ...oldField({ kind: 'text', nullable, schema: chars === null ? schema : schema.max(chars) }),
      ...{ name, read: fill(cut, field.read), column: null },
      fallback: op === 'after' ? (fallback ?? null) : fallback,
    }
  }
  const [first, second] = [given(from[0]), given(from[1])]
  replaceFields(draft, [to], [part('before'), part('after')], (path) =>
    path === to ? { op: 'joined', first, second, separator: at.separator } : null,
  )
}

function requireTwo([first, second]: readonly [string, string]) {
  if (first === second) throw new LensMistake('the two parts have two names.')
}

function hasFirstPart(expression: Expression): boolean {
  if (expression.op === 'before') return true
  return 'of' in expression && hasFirstPart(expression.of)
}

function joinedFallback(first: ShapeField, second: ShapeField, separator: string): Value {
  const literal = (field: ShapeField): Expression => ({ op: 'literal', value: toJson(field, field.fallback ?? null) })
  const whole: Expression = { op: 'joined', first: literal(first), second: literal(second), separator }
  return stored(first, evaluateOn(whole, null))
}

function requireCharacter(separator: string) {
  if (separator.length !== 1 || !separator.isWellFormed() || separator === '\0')
    throw new LensMistake('a separator is one character.')
}

function withoutCharacter(character: string): z.ZodString {
  const escaped = character.replace(/[\\\]^-]/, '\\$&')
  return z.string().regex(new RegExp(`^[^${escaped}]*$`), `expected a text without "${character}"`)
}

function olderWrap(draft: Draft, { from, to, was }: Of<'wrap'>) {
  const list = fieldIn(draft, to, ['json'])
  // The empty list stands for null.
  if (!list.schema.safeParse([]).success) throw new LensMistake(`"${to}" must take a list, also an empty one.`)
  freeName(draft, from, [to])
  const first: Expression = { op: 'first', of: value, kind: was.kind }
  const older: ShapeField = {
    ...list,
    ...oldField({ ...was, nullable: true }),
    ...{ name: from, read: fill(first, list.read), isExact: false, column: null },
    fallback: convertedFallback(list, was, first) ?? null,
  }
  const whole: Expression = { op: 'hidden', fresh: [], read: list.read }
  replaceFields(draft, [to], [older], (path) =>
    path === to ? { op: 'withFirst', of: whole, value: given(from) } : null,
  )
}

function olderDefault(draft: Draft, { field: name, from }: Of<'changeDefault'>) {
  const field = fieldIn(draft, name)
  if (!field.writable) throw new LensMistake(`"${name}" is not written by callers.`)
  requireTaken(field, from, 'its old default')
  replaceFields(draft, [name], [{ ...field, fallback: stored(field, from) }], (path) =>
    path === name ? { op: 'given', path, isDefaulted: true } : null,
  )
  requireUnsent(draft, `which is made of the old default of "${name}"`)
}

function olderLimit(draft: Draft, { of, from }: Of<'changeLimit'>) {
  if (!Number.isInteger(from) || from < 1) throw new LensMistake('a limit is a whole number from 1.')
  if (of === 'pageRowsMax') {
    if (from > limits.pageRowsMax) throw new LensMistake(`a page has at most ${limits.pageRowsMax} records.`)
    draft.pageRowsMax = from
    return
  }
  const field = fieldIn(draft, of, ['text'])
  const most = field.schema instanceof z.ZodString ? field.schema.maxLength : null
  if (most !== null && from >= most)
    throw new LensMistake(`"${of}" takes up to ${most}; old clients that send up to ${from} would be refused.`)
  // What else the text must be holds at both versions.
  const text = field.schema instanceof z.ZodString ? field.schema : z.string()
  const was: OldField = { kind: 'text', nullable: field.nullable, schema: text.check(charactersMax(from)) }
  const toOld: Expression = { op: 'cut', of: value, chars: from }
  convertField(draft, field, { was, toOld, toNew: value, isExact: false, isOneToOne: false })
}

/** That a text has so many characters at most, counted as SQLite and JSON Schema do, which take a pair of surrogates for one. */
function charactersMax(maximum: number) {
  const check = z.check<string>(({ value: text, issues }) => {
    if ([...text].length <= maximum) return
    const message = `expected at most ${maximum} characters`
    issues.push({ code: 'too_big', origin: 'string', maximum, inclusive: true, input: text, message })
  })
  check._zod.onattach.push((schema) => {
    schema._zod.bag.maximum = maximum
  })
  return check
}
