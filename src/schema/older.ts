import { z } from 'zod'
import type { Json } from '../value.ts'
import {
  convertField,
  type Draft,
  fieldIn,
  freeName,
  given,
  LensMistake,
  newName,
  oldField,
  replaceFields,
  replaceGiven,
  stored,
} from './draft.ts'
import { evaluateOn, isSame } from './evaluate.ts'
import { type Case, type Expression, match, value } from './expression.ts'
import { type FieldKind, toJson } from './field.ts'
import type { Lens, OldField } from './lens.ts'
import { olderGroup, olderPlunge } from './older-structure.ts'
import type { ShapeField } from './shape.ts'

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
  if (field) replaceFields(draft, [to], [{ ...field, name: from }])
  replaceGiven(draft, (path) => {
    const rest = path === to ? '' : path.startsWith(`${to}/`) ? path.slice(to.length) : null
    return rest === null ? null : given(from + rest)
  })
}

function olderAdd(draft: Draft, { field: name, fresh }: Of<'add'>) {
  const field = fieldIn(draft, name)
  if (field.writable) requireTaken(field, fresh, 'what a create of an old client puts there')
  draft.fields.delete(name)
  replaceGiven(draft, (path) => (path === name ? { op: 'hidden', fresh, read: field.read } : null))
}

function olderRemove(draft: Draft, { field: name, was, stands }: Of<'remove'>) {
  freeName(draft, name)
  const made: ShapeField = {
    ...oldField(was),
    ...{ name, writable: true, read: { op: 'literal', value: stands }, isExact: true, column: null, members: null },
    fallback: stored(was, stands),
  }
  requireTaken(made, stands, 'what stands in for it')
  replaceFields(draft, [], [made])
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

/** Values that a conversion is tried with, in both directions. */
const samples: Readonly<Record<FieldKind, readonly Json[]>> = {
  text: ['', 'a', 'A', 'Ada', 'ada lovelace', '@ada', 'x/y', '7', 'ÄÖ'],
  enum: [],
  id: [],
  integer: [0, 1, -1, 2, 7, 10, 59, 60, 61, 99, 100, 1_000, 86_400, 1_000_001],
  real: [0, 1, -1, 0.5, 0.25, 1.5, 2.25, 10.75, 99.5, 1_000.125],
  boolean: [true, false],
  instant: ['2026-01-31T12:00:00.000Z', '1999-12-31T23:59:59.999Z'],
  json: [],
}

function olderConvert(draft: Draft, { field: name, was, toOld, toNew, loses }: Of<'convert'>) {
  const field = fieldIn(draft, name, ['text', 'enum', 'integer', 'real', 'boolean', 'instant'])
  const { schema, values } = oldField(was)
  const tried = [...samples[was.kind], ...values].filter((each) => schema.safeParse(each).success)
  const lost = tried.find((each) => !isSame(evaluateOn(toOld, evaluateOn(toNew, each)), each))
  if (lost !== undefined && loses === null) {
    const [there, again] = [evaluateOn(toNew, lost), evaluateOn(toOld, evaluateOn(toNew, lost))].map((each) =>
      JSON.stringify(each),
    )
    throw new LensMistake(
      `"${name}": the old ${JSON.stringify(lost)} becomes ${there}, which comes back as ${again}; say with "loses" what old clients lose, or make the two the way back from each other.`,
    )
  }
  const conversion = { was: { nullable: field.nullable, ...was }, toOld, toNew, isExact: false, isOneToOne: false }
  convertField(draft, field, conversion)
}

function olderSplit(draft: Draft, { from, to, at }: Of<'split'>) {
  const [first, second] = to.map((name) => fieldIn(draft, name, ['text'])) as [ShapeField, ShapeField]
  requireCharacter(at.separator)
  if (!second.nullable)
    throw new LensMistake(`"${second.name}" must be nullable: it is null where the old text has no separator.`)
  freeName(draft, from, to)
  const [a, b] = [first, second].map((field) => toJson(field, field.fallback ?? null)) as [Json, Json]
  const older: ShapeField = {
    ...first,
    ...oldField({ kind: 'text', nullable: first.nullable }),
    ...{ name: from, writable: first.writable && second.writable, isExact: false, column: null },
    read: { op: 'joined', first: first.read, second: second.read, separator: at.separator },
    fallback: first.fallback === undefined ? undefined : b === null ? first.fallback : `${a}${at.separator}${b}`,
  }
  replaceFields(draft, to, [older])
  replaceGiven(draft, (path) => {
    if (path !== first.name && path !== second.name) return null
    return { op: path === first.name ? 'before' : 'after', of: given(from), separator: at.separator }
  })
}

function olderJoin(draft: Draft, { from, to, at }: Of<'join'>) {
  const field = fieldIn(draft, to, ['text'])
  requireCharacter(at.separator)
  for (const name of from) freeName(draft, name, [to])
  const chars = field.schema instanceof z.ZodString ? field.schema.maxLength : null
  const part = (op: 'before' | 'after'): ShapeField => {
    const [name, nullable] = op === 'before' ? [from[0], field.nullable] : [from[1], true]
    const cut: Expression = { op, of: value, separator: at.separator }
    const fallback = field.fallback === undefined ? undefined : evaluateOn(cut, field.fallback)
    const schema = op === 'before' ? withoutCharacter(at.separator) : z.string()
    return {
      ...field,
      ...oldField({ kind: 'text', nullable, schema: chars === null ? schema : schema.max(chars) }),
      ...{ name, read: { op, of: field.read, separator: at.separator }, column: null },
      fallback: op === 'after' && fallback === undefined ? null : (fallback as string | null | undefined),
    }
  }
  replaceFields(draft, [to], [part('before'), part('after')])
  const [first, second] = [given(from[0]), given(from[1])]
  replaceGiven(draft, (path) => (path === to ? { op: 'joined', first, second, separator: at.separator } : null))
}

function requireCharacter(separator: string) {
  if (separator.length !== 1) throw new LensMistake('a separator is one character.')
}

function withoutCharacter(character: string): z.ZodString {
  const escaped = character.replace(/[\\\]^-]/, '\\$&')
  return z.string().regex(new RegExp(`^[^${escaped}]*$`), `expected a text without "${character}"`)
}

function olderWrap(draft: Draft, { from, to, was }: Of<'wrap'>) {
  const list = fieldIn(draft, to, ['json'])
  freeName(draft, from, [to])
  const older: ShapeField = {
    ...list,
    ...oldField({ ...was, nullable: true }),
    ...{ name: from, read: { op: 'first', of: list.read, kind: was.kind }, fallback: null },
    ...{ isExact: false, column: null },
  }
  replaceFields(draft, [to], [older])
  const whole: Expression = { op: 'hidden', fresh: [], read: list.read }
  replaceGiven(draft, (path) => (path === to ? { op: 'withFirst', of: whole, value: given(from) } : null))
}

function olderDefault(draft: Draft, { field: name, from }: Of<'changeDefault'>) {
  const field = fieldIn(draft, name)
  if (!field.writable) throw new LensMistake(`"${name}" is not written by callers.`)
  requireTaken(field, from, 'its old default')
  replaceFields(draft, [name], [{ ...field, fallback: stored(field, from) }])
  replaceGiven(draft, (path) => (path === name ? { op: 'given', path, isDefaulted: true } : null))
}

function olderLimit(draft: Draft, { of, from }: Of<'changeLimit'>) {
  if (!Number.isInteger(from) || from < 1) throw new LensMistake('a limit is a whole number from 1.')
  if (of === 'pageRowsMax') {
    draft.pageRowsMax = from
    return
  }
  const field = fieldIn(draft, of, ['text'])
  const was: OldField = {
    ...{ kind: 'text', nullable: field.nullable },
    schema: field.schema instanceof z.ZodString ? field.schema.max(from) : z.string().max(from),
  }
  const toOld: Expression = { op: 'cut', of: value, chars: from }
  convertField(draft, field, { was, toOld, toNew: value, isExact: false, isOneToOne: false })
}
