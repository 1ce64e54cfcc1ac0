import { assert } from '../problem.ts'
import type { Json } from '../value.ts'
import { type Draft, LensMistake } from './draft.ts'
import { evaluate, isSame } from './evaluate.ts'
import { type Expression, type Leaf, leavesOf, replaceLeaves } from './expression.ts'
import { type Field, type FieldKind, toJson } from './field.ts'
import type { Resource } from './model.ts'
import type { Heir, Leaving, Retirement } from './retiring.ts'

/** What columns were before they were what they are. */
export interface Past {
  readonly retirements: readonly Retirement[]
  /**
   * By column, the newest first: what it is made of where a record was written before it was there, over columns of
   * that time.
   */
  readonly origins: ReadonlyMap<string, readonly Expression[]>
}

/** Gathers the past of one resource while its draft is led back, version by version. */
export class PastKeeper {
  private readonly retirements: Retirement[] = []
  private readonly origins = new Map<string, Expression[]>()
  private readonly resource: Resource

  constructor(resource: Resource) {
    this.resource = resource
  }

  get past(): Past {
    return { retirements: this.retirements, origins: this.origins }
  }

  /** Takes in what a version's lenses have made of the draft. Throws a LensMistake where both cannot be kept. */
  take(draft: Draft) {
    this.takeOrigins(draft)
    const known = this.retirements.flatMap(({ leaving }) => leaving.map(({ column }) => column.name))
    const columns = [...this.resource.retiring.values()]
    const leaving = columns.filter(({ name }) => draft.fields.has(name) && !known.includes(name))
    for (const found of retirementsOf(leaving, this.resource, draft)) {
      const taken = this.retirements.some(({ heirs }) => heirs.some((heir) => hasColumn(found.heirs, heir.column.name)))
      if (taken) throw new LensMistake(`${namesOf(found)} and another column retire into one; drop the older first.`)
      this.retirements.push(found)
    }
  }

  private takeOrigins(draft: Draft) {
    const { fields } = this.resource
    for (const [column, put] of draft.puts) {
      const made = overColumns(put, draft)
      const from = made ? namesIn(made) : []
      if (made && from.length > 0 && from.every((name) => !fields.has(name))) this.addOrigin(column, made)
    }
    // What callers do not write, a version can have renamed and no more.
    for (const { name, read } of draft.fields.values()) {
      const isKept = read.op === 'column' && !fields.get(read.name)?.writable
      if (isKept && !fields.has(name)) this.addOrigin(read.name, { ...read, name })
    }
  }

  private addOrigin(column: string, made: Expression) {
    const known = this.origins.get(column) ?? []
    if (!known.some((each) => JSON.stringify(each) === JSON.stringify(made))) this.origins.set(column, [...known, made])
  }
}

const namesOf = ({ leaving }: Retirement) => leaving.map(({ column }) => `"${column.name}"`).join(' and ')
const hasColumn = (list: readonly { readonly column: Field }[], name: string) =>
  list.some(({ column }) => column.name === name)

/** What is written, over columns that had the names of the fields; null where it is more than those. */
function overColumns(put: Expression, draft: Draft): Expression | null {
  const isMore = leavesOf(put).some(
    (leaf) => leaf.op === 'hidden' || (leaf.op === 'given' && !draft.fields.has(leaf.path)),
  )
  if (isMore) return null
  return overFields(put, draft)
}

function overFields(put: Expression, draft: Draft): Expression {
  const toColumn = (leaf: Leaf): Expression => {
    const field = leaf.op === 'given' ? draft.fields.get(leaf.path) : undefined
    return field ? { op: 'column', name: field.name, kind: field.kind } : leaf
  }
  return replaceLeaves(put, toColumn, ({ by }) => overFields(by, draft))
}

function namesIn(expression: Expression): string[] {
  return [...new Set(leavesOf(expression).flatMap((leaf) => (leaf.op === 'column' ? [leaf.name] : [])))]
}

/** The columns that went at a version, each with those that go with it and those that take their place. */
function* retirementsOf(columns: readonly Field[], resource: Resource, draft: Draft): Generator<Retirement> {
  const left = new Set(columns.map(({ name }) => name))
  for (const { name } of columns) {
    if (!left.has(name)) continue
    const puts = [...draft.puts].filter(([, put]) =>
      leavesOf(put).some((leaf) => leaf.op === 'given' && leaf.path === name),
    )
    const heirs = puts.map(([column, put]) => heirOf(name, column, put, resource, draft))
    const going = heirs.length === 0 ? [name] : [...new Set(heirs.flatMap(({ made }) => namesIn(made)))]
    const leaving = going.map((each) => leavingOf(each, heirs, resource, draft))
    for (const each of going) left.delete(each)
    const retirement = { leaving, heirs }
    checkKept(retirement)
    yield retirement
  }
}

function heirOf(
  name: string,
  column: string,
  put: Expression,
  { fields, retiring, required }: Resource,
  draft: Draft,
): Heir {
  const made = overColumns(put, draft)
  if (!made)
    throw new LensMistake(
      `"${name}" is still a column, and "${column}", which is made of more, cannot keep it true; drop it, or rename, split or join it.`,
    )
  const stays = namesIn(made).find((each) => !retiring.has(each))
  if (stays)
    throw new LensMistake(
      `"${name}" is still a column and "${stays}", which goes with it, is not; keep both until both go.`,
    )
  const field = fields.get(column) as Field
  return { column: field, made, fresh: required.get(column) ?? field.fallback ?? null }
}

function leavingOf(name: string, heirs: readonly Heir[], { retiring }: Resource, draft: Draft): Leaving {
  const [column, shown] = [retiring.get(name), draft.fields.get(name)]
  if (!column || !shown || shown.members !== null)
    throw new LensMistake(`"${name}" is still a column, but the version before shows no such field; drop it.`)
  if (classOf(column.kind) !== classOf(shown.kind))
    throw new LensMistake(`"${name}" is still a column of ${column.kind}, and the version before shows ${shown.kind}.`)
  const isOfHeirs = heirs.length === 0 || namesIn(shown.read).every((each) => hasColumn(heirs, each))
  assert(isOfHeirs, 'what is written in the place of a column is what it is read from')
  return { column, read: shown.read }
}

/** Kinds whose values SQLite keeps alike. */
function classOf(kind: FieldKind): string {
  return ['integer', 'real', 'boolean', 'json'].includes(kind) ? kind : 'text'
}

/** That either side can hold whatever the other does, and that a new column's default says that nobody wrote it. */
function checkKept({ leaving, heirs }: Retirement) {
  const fresh = new Map(heirs.map(({ column, fresh }) => [column.name, toJson(column, fresh)]))
  const shown = new Map(leaving.map(({ column, read }) => [column.name, over(read, fresh)]))
  for (const { column, made } of heirs) {
    const [back, own] = [over(made, shown), fresh.get(column.name) ?? null]
    if (!isSame(back, own))
      throw new LensMistake(
        `"${column.name}" has the default ${JSON.stringify(own)}, which the version before shows as ${JSON.stringify(back)}; while ${namesOf({ leaving, heirs })} is still a column, it needs a default that comes back as itself.`,
      )
  }
  for (const { column, read } of leaving) requireValue(column, read, heirs)
  for (const { column, made } of heirs) requireValue(column, made, leaving)
}

/** A column that is never null takes what is made of columns that may be. */
function requireValue(column: Field, made: Expression, from: readonly { readonly column: Field }[]) {
  if (column.nullable || from.length === 0) return
  const emptied = new Map(from.map((each) => [each.column.name, each.column.nullable ? null : sampleOf(each.column)]))
  if (over(made, emptied) !== null) return
  const names = from.filter((each) => each.column.nullable).map((each) => `"${each.column.name}"`)
  throw new LensMistake(`"${column.name}" is never null, and ${names.join(', ')}, which it is kept true with, may be.`)
}

function sampleOf({ kind }: Field): Json {
  const samples = { integer: 0, real: 0, boolean: false, json: {} } as const
  return kind in samples ? samples[kind as keyof typeof samples] : 'a'
}

function over(expression: Expression, values: ReadonlyMap<string, Json>): Json {
  return evaluate(expression, (leaf) => (leaf.op === 'column' ? (values.get(leaf.name) ?? null) : null))
}
