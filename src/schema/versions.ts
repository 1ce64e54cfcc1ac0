import { reservedResources } from './check.ts'
import { fieldsMax, isDate, isName, nameRule } from './check-table.ts'
import { LensMistake } from './draft.ts'
import type { Lens, VersionDeclaration } from './lens.ts'
import type { Resource } from './model.ts'
import { applyOlder } from './older.ts'
import { type Past, PastKeeper } from './past.ts'
import { newestDraft, type Shape, shapeOf } from './shape.ts'

/** A version of the API with the shape that each resource has there, by its name in the tables. */
export interface Version extends VersionDeclaration {
  readonly shapes: ReadonlyMap<string, Shape>
}

/**
 * The versions, oldest first, the past of each resource that has one, and what is wrong with the lenses, sentences that
 * name resource and version.
 */
export function compileVersions(
  declared: readonly VersionDeclaration[],
  resources: ReadonlyMap<string, Resource>,
): {
  readonly versions: readonly Version[]
  readonly pasts: ReadonlyMap<string, Past>
  readonly mistakes: readonly string[]
} {
  const mistakes = [...checkLife(declared), ...checkNamed(declared, resources)]
  const drafts = new Map([...resources].map(([name, resource]) => [name, newestDraft(resource)]))
  const keepers = new Map([...resources].map(([name, resource]) => [name, new PastKeeper(resource)]))
  const versions: Version[] = []
  // From the newest to the oldest: the lenses of each version lead to the one before it.
  for (const version of declared.toReversed()) {
    const shapes = new Map(
      [...resources].map(([name, resource]) => [name, shapeOf(drafts.get(name) ?? newestDraft(resource), resource)]),
    )
    mistakes.push(...checkShapes(version, shapes, declared))
    versions.unshift({ ...version, shapes })
    for (const [name, lenses] of Object.entries(version.lenses)) {
      const draft = drafts.get(name)
      for (const lens of draft ? lenses.toReversed() : []) {
        const mistake = draft && mistakeOf(() => applyOlder(draft, lens))
        if (mistake) mistakes.push(`${name} at ${version.date}, ${lensText(lens)}: ${mistake}`)
      }
      const mistake = draft && mistakeOf(() => keepers.get(name)?.take(draft))
      if (mistake) mistakes.push(`${name} at ${version.date}: ${mistake}`)
    }
  }
  return { versions, mistakes, pasts: new Map([...keepers].map(([name, { past }]) => [name, past])) }
}

function mistakeOf(apply: () => void): string | null {
  try {
    apply()
    return null
  } catch (error) {
    if (error instanceof LensMistake) return error.message
    throw error
  }
}

/** A lens as its declaration begins: `rename("content", "body")`. */
export function lensText(lens: Lens): string {
  const names = (...all: readonly (string | number | readonly string[])[]) =>
    `${lens.kind}(${all.map((each) => JSON.stringify(each)).join(', ')})`
  switch (lens.kind) {
    case 'rename':
    case 'split':
    case 'join':
    case 'wrap':
      return names(lens.from, lens.to)
    case 'renameResource':
      return names(lens.from)
    case 'hoist':
      return names(lens.from, lens.fields)
    case 'plunge':
      return names(lens.field, lens.into)
    case 'changeLimit':
      return names(lens.of)
    default:
      return names(lens.field)
  }
}

function* checkLife(declared: readonly VersionDeclaration[]): Generator<string> {
  for (const { date, deprecated, sunset } of declared) {
    for (const [what, day] of Object.entries({ deprecated, sunset })) {
      if (day !== null && (!isDate(day) || day < date))
        yield `Version ${date}: ${what} is a date, YYYY-MM-DD, not before the version's own.`
    }
    if (sunset !== null && deprecated !== null && sunset < deprecated)
      yield `Version ${date}: its sunset is before its deprecation (RFC 9745 section 4).`
    if (sunset !== null && deprecated === null)
      yield `Version ${date}: it has a sunset; tell from when on it is deprecated, too.`
  }
}

function* checkNamed(
  declared: readonly VersionDeclaration[],
  resources: ReadonlyMap<string, Resource>,
): Generator<string> {
  for (const [i, { date, lenses }] of declared.entries()) {
    for (const name of Object.keys(lenses)) {
      if (!resources.has(name))
        yield `Version ${date}: it has lenses for "${name}"; there are ${[...resources.keys()].join(', ')}.`
    }
    if (i === 0 && Object.keys(lenses).length > 0)
      yield `Version ${date}: it is the oldest, so what its lenses lead back to was never served; move them to the version that made the change.`
  }
}

function* checkShapes(
  { date }: VersionDeclaration,
  shapes: ReadonlyMap<string, Shape>,
  declared: readonly VersionDeclaration[],
): Generator<string> {
  const seen = new Set<string>()
  for (const [resource, { name, fields }] of shapes) {
    if (fields.size > fieldsMax)
      yield `${resource} at ${date}: it has ${fields.size} fields; ${fieldsMax} is the most, because SQLite writes no larger record.`
    if (name !== resource && declared.some(({ alias }) => alias === name))
      yield `${resource} at ${date}: "${name}" is the alias of a version, which begins paths.`
    if (!isName(name) || reservedResources.includes(name))
      yield `${resource} at ${date}: "${name}" is no name of a resource; ${nameRule}, and none of ${reservedResources.join(', ')}.`
    if (seen.has(name.toLowerCase())) yield `${resource} at ${date}: another resource is named "${name}" there.`
    seen.add(name.toLowerCase())
  }
}

/**
 * What an older version can show and not look for, though the newest can: sentences for the authors of the model. Lists
 * at that version refuse these by name.
 */
export function remarksOf({ date, shapes }: Version, resources: ReadonlyMap<string, Resource>): string[] {
  const remarks: string[] = []
  for (const [name, { filterable, sortable }] of resources) {
    const fields = [...(shapes.get(name)?.fields.values() ?? [])]
    const linked = (column: string) => fields.find((field) => field.column?.field.name === column)?.column
    for (const column of new Set([...filterable, ...sortable])) {
      const link = linked(column)
      if (!link)
        remarks.push(`${name} at ${date}: nothing filters or sorts by ${column}: no field there holds its very value.`)
      else if (!link.isSame)
        remarks.push(
          `${name} at ${date}: ${column} is filtered by eq, ne, in and null only: its values have another order there.`,
        )
    }
  }
  return remarks
}
