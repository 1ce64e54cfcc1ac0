import { getTableColumns } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type { Value } from '../value.ts'
import { type IdentifiedTable, type IdentityField, identityFields } from './columns.ts'
import type { Expression } from './expression.ts'
import type { Field } from './field.ts'
import type { Lens, VersionDeclaration } from './lens.ts'

/**
 * Columns of one table that a version took away and that are still there, so that nodes of the release before can go on
 * writing them, and the columns that take their place. As long as they are there, triggers keep both sides true.
 */
export interface Retirement {
  readonly leaving: readonly Leaving[]
  /** What is made of the leaving columns; none where callers write nothing in their place. */
  readonly heirs: readonly Heir[]
}

/** A column that is no field of the model any more. */
export interface Leaving {
  readonly column: Field
  /** What it holds, over the columns that take its place: what the version before shows under its name. */
  readonly read: Expression
}

/** A column that takes the place of others. */
export interface Heir {
  readonly column: Field
  /** What becomes of the leaving columns in it, over them. */
  readonly made: Expression
  /** What it has where nobody writes it, as nodes of the release before do not. */
  readonly fresh: Value
}

/** What the lenses of a resource say of its columns. */
export interface Departures {
  /** The columns of the table that are no fields: the last that any lens says of them is that they went. */
  readonly retiring: ReadonlySet<string>
  /**
   * Columns whose default is for nodes of the release before: what they take the place of had none, so that callers
   * must send them as they did before.
   */
  readonly required: ReadonlySet<string>
}

/** The columns that lenses take away of those that the table has, and what follows for those in their place. */
export function departuresOf(
  name: string,
  table: IdentifiedTable,
  versions: readonly VersionDeclaration[],
): Departures {
  const columns = new Map(Object.entries(getTableColumns(table) as Record<string, SQLiteColumn>))
  const mayGo = (each: string) => columns.has(each) && !identityFields.includes(each as IdentityField)
  const retiring = new Map([...goneNames(name, versions)].filter(([each]) => mayGo(each)))
  const isRequired = (each: string) => {
    const column = columns.get(each)
    return column !== undefined && retiring.has(each) && column.notNull && !column.hasDefault
  }
  const heirs = [...retiring.values()].filter((lens) => saysOf(lens).gone.every(isRequired))
  const required = heirs.flatMap((lens) => saysOf(lens).here).filter((each) => columns.get(each)?.notNull)
  return { retiring: new Set(retiring.keys()), required: new Set(required) }
}

/** The names of a resource of which the last that any lens says is that they went, with that lens. */
export function goneNames(name: string, versions: readonly VersionDeclaration[]): ReadonlyMap<string, Lens> {
  const gone = new Map<string, Lens>()
  for (const lens of versions.flatMap(({ lenses }) => (Object.hasOwn(lenses, name) ? (lenses[name] ?? []) : []))) {
    const says = saysOf(lens)
    for (const each of says.gone) gone.set(each, lens)
    // A name that a lens takes up again, such as that of the first part of a join, did not go.
    for (const each of says.here) gone.delete(each)
  }
  return gone
}

/** The names that a lens takes away, and those that there are after it. */
function saysOf(lens: Lens): { readonly gone: readonly string[]; readonly here: readonly string[] } {
  switch (lens.kind) {
    case 'rename':
    case 'wrap':
      return { gone: [lens.from], here: [lens.to] }
    case 'split':
      return { gone: [lens.from], here: lens.to }
    case 'join':
      return { gone: lens.from, here: [lens.to] }
    case 'hoist':
      return { gone: [lens.from], here: lens.fields }
    case 'plunge':
      return { gone: [lens.field], here: [lens.into] }
    case 'remove':
      return { gone: [lens.field], here: [] }
    case 'renameResource':
      return { gone: [], here: [] }
    case 'changeLimit':
      return { gone: [], here: [lens.of] }
    default:
      return { gone: [], here: [lens.field] }
  }
}
