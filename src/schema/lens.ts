import type { z } from 'zod'
import type { Json } from '../value.ts'
import type { Expression } from './expression.ts'
import type { FieldKind } from './field.ts'

/**
 * One thing that changed at a version, from what clients of the version before see to what those of this one see. A lens
 * is data; what reads it: the shape of records (`shape.ts`), and through that projections, inputs, names, documents,
 * contracts and the steps of a database from one model to the next.
 */
export type Lens =
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'renameResource'; readonly from: string }
  | { readonly kind: 'add'; readonly field: string; readonly fresh: Json }
  | { readonly kind: 'remove'; readonly field: string; readonly was: OldField; readonly stands: Json }
  | {
      readonly kind: 'mapValues'
      readonly field: string
      readonly values: Readonly<Record<string, string>>
      readonly back: Readonly<Record<string, string>>
    }
  | {
      readonly kind: 'convert'
      readonly field: string
      readonly was: OldField
      readonly toOld: Expression
      readonly toNew: Expression
      readonly loses: string | null
    }
  | { readonly kind: 'split'; readonly from: string; readonly to: readonly [string, string]; readonly at: Separator }
  | { readonly kind: 'join'; readonly from: readonly [string, string]; readonly to: string; readonly at: Separator }
  | { readonly kind: 'hoist'; readonly from: string; readonly fields: readonly string[] }
  | { readonly kind: 'plunge'; readonly field: string; readonly into: string; readonly was: OldField }
  | { readonly kind: 'wrap'; readonly from: string; readonly to: string; readonly was: OldField }
  | { readonly kind: 'changeDefault'; readonly field: string; readonly from: Json }
  | { readonly kind: 'changeLimit'; readonly of: string; readonly from: number }

/** What old clients know of a field that the tables do not have in this form. */
export interface OldField {
  readonly kind: FieldKind
  /** False where it is not told. */
  readonly nullable?: boolean
  /** The values of an enum. */
  readonly values?: readonly string[]
  /** What callers may send, null excluded; what the kind takes where it is not told. */
  readonly schema?: z.ZodType
}

/** Where a text is two: at the first place where the separator stands. */
export interface Separator {
  readonly separator: string
}
export const atFirst = (separator: string): Separator => ({ separator })
export const atFirstSpace = atFirst(' ')

/** A field, or a relation, has another name. */
export const rename = (from: string, to: string) => ({ kind: 'rename', from, to }) as const
/** The resource had another name, and so another path. */
export const renameResource = (from: string) => ({ kind: 'renameResource', from }) as const
/** Old clients do not know the field: what they create has `fresh` in it, what they change keeps what it has. */
export const add = (field: string, { fresh }: { readonly fresh: Json }) => ({ kind: 'add', field, fresh }) as const
/** The field is gone. Old clients read `stands` in it; what they send for it is checked and dropped. */
export const remove = (field: string, was: OldField, { stands }: { readonly stands: Json }) =>
  ({ kind: 'remove', field, was, stands }) as const
/**
 * Values of an enum have other names: `values` from old to new. A new value that no old one becomes is itself in the old
 * version too, unless `back` tells as which of the old values it is shown there.
 */
export const mapValues = (
  field: string,
  values: Readonly<Record<string, string>>,
  { back = {} }: { readonly back?: Readonly<Record<string, string>> } = {},
) => ({ kind: 'mapValues', field, values, back }) as const
/**
 * A value is told in another way: in minutes before, in seconds now. Two expressions over `value`, each the way back from
 * the other. Where an old value does not come back as it was sent, `loses` says so, in a sentence for the changelog.
 */
export const convert = (
  field: string,
  was: OldField,
  ways: { readonly toOld: Expression; readonly toNew: Expression; readonly loses?: string },
) => ({ kind: 'convert', field, was, toOld: ways.toOld, toNew: ways.toNew, loses: ways.loses ?? null }) as const
/** One text became two. The second is null where there is no separator. */
export const split = (from: string, to: readonly [string, string], at: Separator) =>
  ({ kind: 'split', from, to, at }) as const
/** Two texts became one. Old clients send no separator in the first; where it is null beside a second, it is empty. */
export const join = (from: readonly [string, string], to: string, at: Separator) =>
  ({ kind: 'join', from, to, at }) as const
/** Members of an object became fields of the record. */
export const hoist = (from: string, fields: readonly string[]) => ({ kind: 'hoist', from, fields }) as const
/**
 * A field of the record became a member of an object: of a json field that takes nothing else, or of an object that a
 * later version hoists. Beside a member, old clients that send null for the json field have made an empty object.
 */
export const plunge = (field: string, into: string, was: OldField) => ({ kind: 'plunge', field, into, was }) as const
/** One value became a list, a json field that takes lists, the empty one for null too. Old clients see its first and, where they change it, change that alone. */
export const wrap = (from: string, to: string, was: OldField) => ({ kind: 'wrap', from, to, was }) as const
/** Old clients that send nothing for the field create records with `from` in it. */
export const changeDefault = (field: string, { from }: { readonly from: Json }) =>
  ({ kind: 'changeDefault', field, from }) as const
/**
 * A text field may be longer than the `from` characters that old clients know: they see so many of it. Or, of
 * `pageRowsMax`, a page had up to `from` records.
 */
export const changeLimit = (of: string, { from }: { readonly from: number }) =>
  ({ kind: 'changeLimit', of, from }) as const

/** One version of the API, by the date it was published. */
export interface VersionDeclaration {
  readonly date: string
  /** What begins paths of this version: `/v2/posts`. */
  readonly alias: string
  /** What is new, a sentence or two for people. */
  readonly notes: string
  /** The day from which on clients are told to move on, and the day from which on there is no answer but 410. */
  readonly deprecated: string | null
  readonly sunset: string | null
  /** What changed at this date, by the name that the resource has in the tables. */
  readonly lenses: Readonly<Record<string, readonly Lens[]>>
}

export interface VersionOptions {
  readonly alias: string
  readonly notes: string
  readonly deprecated?: string
  readonly sunset?: string
}

export const version = (
  date: string,
  { alias, notes, deprecated, sunset }: VersionOptions,
  lenses: Readonly<Record<string, readonly Lens[]>> = {},
): VersionDeclaration => ({
  ...{ date, alias, notes, lenses },
  deprecated: deprecated ?? null,
  sunset: sunset ?? null,
})
