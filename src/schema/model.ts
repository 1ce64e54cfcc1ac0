import { getTableColumns } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type { Value } from '../value.ts'
import type { Rule } from './access.ts'
import { checkModel, ModelError } from './check.ts'
import { type IdentifiedTable, type IdentityField, identityFields } from './columns.ts'
import type { Derived, DerivedDeclaration } from './derived.ts'
import { columnSchema, type Field, fieldKind, toStored } from './field.ts'
import type { VersionDeclaration } from './lens.ts'
import { limits } from './limits.ts'
import type { Past } from './past.ts'
import { compileProjection, type Projection } from './projection.ts'
import type { RelationDeclaration } from './relation.ts'
import type { ResourceDeclaration } from './resource.ts'
import { departuresOf } from './retiring.ts'
import { type Index, indexesOf, type Reference, referencesOf } from './table.ts'
import { compileVersions, remarksOf, type Version } from './versions.ts'

/** A relation with its names resolved. `column` is on this table for belongsTo, on the target's for hasMany. */
export type Relation = { readonly name: string; readonly target: string } & (
  | { readonly kind: 'belongsTo'; readonly column: string }
  | { readonly kind: 'hasMany'; readonly column: string }
  | { readonly kind: 'manyToMany'; readonly through: string; readonly near: string; readonly far: string }
)

/** One resource, ready for the read and the write path. Its name is also the name of its table. */
export interface Resource extends Past {
  readonly name: string
  readonly description: string
  readonly fields: ReadonlyMap<string, Field>
  /** Columns that are no fields: a version took them away, and nodes of the release before still write them. */
  readonly retiring: ReadonlyMap<string, Field>
  /** The defaults that are for those nodes alone: callers must send these fields. */
  readonly required: ReadonlyMap<string, Value>
  readonly relations: ReadonlyMap<string, Relation>
  readonly derived: ReadonlyMap<string, Derived>
  readonly filterable: ReadonlySet<string>
  readonly sortable: ReadonlySet<string>
  readonly access: { readonly read: Rule; readonly write: Rule }
  /** The columns of each index after the tenant; the primary key and unique constraints among them. */
  readonly indexes: readonly Index[]
  readonly references: readonly Reference[]
  readonly referencedBy: readonly Reference[]
  readonly pageRowsMax: number
  /** Whether it is a read model: a consumer of the log writes it, and callers never do. */
  readonly isReadOnly: boolean
}

export interface Model {
  readonly title: string
  readonly resources: ReadonlyMap<string, Resource>
  readonly projections: readonly Projection[]
  /** The newest is last; its shapes are those of the tables. */
  readonly versions: readonly Version[]
  readonly defaultVersion: Version
  /** What older versions cannot do, sentences for the model's authors. */
  readonly remarks: readonly string[]
}

export interface ModelDeclaration {
  readonly title: string
  readonly resources: readonly ResourceDeclaration[]
  readonly versions: readonly VersionDeclaration[]
  /** The date of the version that requests get which name none; it may be left out where there is one version. */
  readonly defaultVersion?: string
}

/** Checks the declarations and compiles them. Throws a ModelError that names every mistake, one sentence each. */
export function buildModel(declaration: ModelDeclaration): Model {
  const nameByTable = new Map<IdentifiedTable, string>(declaration.resources.map((each) => [each.table, each.name]))
  const mistakes = checkModel(declaration, nameByTable)
  if (mistakes.length > 0) throw new ModelError(mistakes)
  const references = declaration.resources.flatMap((each) => referencesOf(each, nameByTable))
  const compiled = declaration.resources.map((each) => compile(each, declaration.versions, nameByTable, references))
  const declared = new Map(compiled.map((each) => [each.name, each]))
  const { versions, pasts, mistakes: ofVersions } = compileVersions(declaration.versions, declared)
  const resources = new Map(compiled.map((each) => [each.name, { ...each, ...pasts.get(each.name) }]))
  const defaultVersion = defaultOf(declaration, versions)
  if (ofVersions.length > 0 || typeof defaultVersion === 'string')
    throw new ModelError([...ofVersions, ...(typeof defaultVersion === 'string' ? [defaultVersion] : [])])
  const remarks = versions.flatMap((version) => remarksOf(version, resources))
  const projections = declaration.resources.flatMap(({ projection, ...each }) =>
    projection ? [compileProjection({ ...each, projection }, resources)] : [],
  )
  return { title: declaration.title, resources, projections, versions, defaultVersion, remarks }
}

/** The version that requests get which name none, or what is wrong with it. It is named, so that it never moves by itself. */
function defaultOf({ defaultVersion }: ModelDeclaration, versions: readonly Version[]): Version | string {
  const [only, second] = versions
  const found =
    defaultVersion === undefined ? (second ? undefined : only) : versions.find(({ date }) => date === defaultVersion)
  const dates = versions.map(({ date }) => date).join(', ')
  return found ?? `The model's defaultVersion, which requests get that name none, must be one of ${dates}.`
}

function compile(
  declared: ResourceDeclaration,
  versions: readonly VersionDeclaration[],
  nameByTable: ReadonlyMap<IdentifiedTable, string>,
  references: readonly Reference[],
): Resource {
  const own = references.filter((reference) => reference.from === declared.name)
  const departures = departuresOf(declared.name, declared.table, versions)
  const columns = columnsOf(declared, own)
  const isRetiring = ({ name }: Field) => departures.retiring.has(name)
  const required = columns.flatMap(({ name, fallback }) =>
    departures.required.has(name) && fallback !== undefined ? [[name, fallback] as const] : [],
  )
  const fields = columns
    .filter((column) => !isRetiring(column))
    .map((field) => (departures.required.has(field.name) ? { ...field, fallback: undefined } : field))
  const relations = Object.entries(declared.relations).map(([name, each]) => relationOf(name, each, nameByTable))
  const relationByName = new Map(relations.map((relation) => [relation.name, relation]))
  const derivedColumns = Object.entries(declared.derived as Record<string, DerivedDeclaration>)
  return {
    name: declared.name,
    description: declared.description,
    fields: new Map(fields.map((field) => [field.name, field])),
    retiring: new Map(columns.filter(isRetiring).map((column) => [column.name, column])),
    required: new Map(required),
    ...{ retirements: [], origins: new Map() },
    relations: relationByName,
    derived: new Map(
      derivedColumns.map(([column, each]) => [column, derivedOf(declared, column, each, relationByName)]),
    ),
    filterable: new Set(['id', ...declared.filter]),
    sortable: new Set(['id', ...declared.sort]),
    access: declared.access,
    indexes: indexesOf(declared.table),
    references: own,
    referencedBy: references.filter((reference) => reference.to === declared.name),
    pageRowsMax: declared.limits.pageRowsMax ?? limits.pageRowsMax,
    isReadOnly: declared.projection !== null,
  }
}

function columnsOf(declared: ResourceDeclaration, references: readonly Reference[]): Field[] {
  const links = Object.values(declared.relations).flatMap((each) => (each.kind === 'belongsTo' ? [each.column] : []))
  const referring = new Set([...references.map((reference) => reference.column), ...links])
  const fields: Field[] = []
  for (const [name, column] of Object.entries(getTableColumns(declared.table)) as [string, SQLiteColumn][]) {
    if (name === 'tenant') continue
    const kind = fieldKind(column, referring.has(name))
    if (kind === null) continue
    const owned = identityFields.includes(name as IdentityField) || Object.hasOwn(declared.derived, name)
    fields.push({
      name,
      kind,
      nullable: !column.notNull,
      fallback: fallbackOf(column, kind),
      values: kind === 'enum' ? (column.enumValues ?? []) : [],
      writable: !owned && declared.projection === null,
      schema: declared.validate[name] ?? columnSchema(column, kind),
    })
  }
  return fields
}

function fallbackOf(column: SQLiteColumn, kind: Field['kind']): Value | undefined {
  if (column.hasDefault && column.default !== undefined) return toStored({ kind }, column.default)
  return column.notNull ? undefined : null
}

function relationOf(
  name: string,
  declared: RelationDeclaration,
  nameByTable: ReadonlyMap<IdentifiedTable, string>,
): Relation {
  const target = nameByTable.get(declared.target()) ?? ''
  if (declared.kind !== 'manyToMany') return { ...declared, name, target }
  const through = nameByTable.get(declared.through()) ?? ''
  return { name, target, kind: declared.kind, through, near: declared.near, far: declared.far }
}

function derivedOf(
  holder: ResourceDeclaration,
  column: string,
  declared: DerivedDeclaration,
  relations: ReadonlyMap<string, Relation>,
): Derived {
  const relation = relations.get(declared.relation)
  if (!relation || relation.kind === 'manyToMany') throw new Error(`unchecked derived column ${holder.name}.${column}`)
  return {
    kind: declared.kind,
    column,
    nullable: !(getTableColumns(holder.table) as Record<string, SQLiteColumn>)[column]?.notNull,
    holder: holder.name,
    source: relation.target,
    link: relation.column,
    field: declared.kind === 'count' ? undefined : declared.field,
    fanoutRowsMax: declared.kind === 'copy' ? declared.fanoutRowsMax : limits.fanoutRowsMax,
  }
}
