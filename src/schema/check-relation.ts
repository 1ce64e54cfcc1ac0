import { getTableConfig, type SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { checkLink } from './check-projection.ts'
import { columnsOf, isName, nameRule } from './check-table.ts'
import { type IdentifiedTable, type IdentityField, identityFields } from './columns.ts'
import type { DerivedDeclaration } from './derived.ts'
import { fieldKind } from './field.ts'
import type { ModelDeclaration } from './model.ts'
import type { RelationDeclaration } from './relation.ts'
import type { ResourceDeclaration } from './resource.ts'
import { indexesOf, type Names, referencesOf } from './table.ts'

export function* checkRelation(
  declared: ResourceDeclaration,
  name: string,
  relation: RelationDeclaration,
  { resources }: ModelDeclaration,
  names: Names,
): Generator<string> {
  const where = `${declared.name}.${name}`
  if (columnsOf(declared.table)[name]) yield `${where}: a relation and a field have the same name.`
  if (!isName(name)) yield `${where}: a relation's name is ${nameRule}, and none that every object has.`
  const target = names.get(relation.target())
  if (!target) return yield `${where}: its table is no resource of the model.`
  if (relation.kind === 'manyToMany' && relation.near === relation.far)
    yield `${where}: both its columns are ${relation.near}; name the one that refers to ${declared.name}, then the one to ${target}.`
  for (const [table, column, to] of linksOf(declared, relation, target)) {
    const from = names.get(table)
    if (!from) return yield `${where}: its joining table is no resource of the model.`
    const isReadModel = resources.find((each) => each.table === table)?.projection
    if (isReadModel) yield* checkLink(where, table, column, from)
    else if (!refersTo(table, column, to, names))
      yield `${where}: ${from}.${column} needs a foreign key (tenant, ${column}) to ${to} (tenant, id).`
  }
}

/** The foreign keys that a relation runs over: the table that has it, its column, and what it refers to. */
function linksOf(
  declared: ResourceDeclaration,
  relation: RelationDeclaration,
  target: string,
): (readonly [IdentifiedTable, string, string])[] {
  switch (relation.kind) {
    case 'belongsTo':
      return [[declared.table, relation.column, target]]
    case 'hasMany':
      return [[relation.target(), relation.column, declared.name]]
    case 'manyToMany':
      return [
        [relation.through(), relation.near, declared.name],
        [relation.through(), relation.far, target],
      ]
  }
}

function refersTo(table: IdentifiedTable, column: string, to: string, names: Names): boolean {
  return getTableConfig(table).foreignKeys.some((key) => {
    const { columns, foreignTable } = key.reference()
    return names.get(foreignTable as IdentifiedTable) === to && columns.some((each) => each.name === column)
  })
}

export function* checkDerived(
  declared: ResourceDeclaration,
  column: string,
  derived: DerivedDeclaration,
  declaration: ModelDeclaration,
  names: Names,
): Generator<string> {
  const where = `${declared.name}.${column}`
  const { kind } = derived
  const own = columnsOf(declared.table)[column]
  if (!own) return yield `${where}: a derived column is a real column; add it to the table.`
  if (column === 'tenant' || identityFields.includes(column as IdentityField))
    return yield `${where}: Perigee keeps this column itself; derive into another.`
  if (referencesOf(declared, names).some((reference) => reference.column === column))
    yield `${where}: a foreign key cannot be derived.`
  const relations: Record<string, RelationDeclaration | undefined> = Object.assign(
    Object.create(null),
    declared.relations,
  )
  const relation = relations[derived.relation]
  if (!relation)
    return yield `${where}: ${kind} names the relation "${derived.relation}", which ${declared.name} does not declare.`
  const wanted = kind === 'copy' ? 'belongsTo' : 'hasMany'
  if (relation.kind !== wanted)
    return yield `${where}: ${kind} follows a ${wanted} relation; "${derived.relation}" is ${relation.kind}.`
  const source = declaration.resources.find((each) => each.table === relation.target())
  if (!source) return
  if (source.projection)
    return yield `${where}: ${source.name} is a read model, which follows later; derive from what it is made of.`
  if (source.name === declared.name)
    return yield `${where}: a derived column cannot follow a relation of ${declared.name} to itself.`
  if (derived.kind === 'copy' && !(Number.isInteger(derived.fanoutRowsMax) && derived.fanoutRowsMax >= 1))
    yield `${where}: fanoutRowsMax must be a whole number from 1.`
  if (kind === 'count' || kind === 'sum') {
    const isSum = own.columnType === 'SQLiteInteger' && own.notNull && own.default === 0
    if (!isSum) yield `${where}: a ${kind} is integer().notNull().default(0).`
  }
  if (derived.kind !== 'count') yield* checkSource(where, own, derived, relation.column, declared, source)
}

/** What is wrong with the field that a derived column takes its values from. */
function* checkSource(
  where: string,
  own: SQLiteColumn,
  derived: Exclude<DerivedDeclaration, { kind: 'count' }>,
  link: string,
  declared: ResourceDeclaration,
  source: ResourceDeclaration,
): Generator<string> {
  const { kind } = derived
  const field = columnsOf(source.table)[derived.field]
  const from = `${source.name}.${derived.field}`
  if (!field || derived.field === 'tenant') return yield `${where}: ${source.name} has no field "${derived.field}".`
  if (derived.field === 'version')
    yield `${where}: ${from} moves with every change and cannot be derived from; use updatedAt.`
  if (Object.hasOwn(source.derived as object, derived.field))
    yield `${where}: ${from} is derived itself; derive from the field it comes from.`
  if (kind === 'sum') {
    if (field.columnType !== 'SQLiteInteger') yield `${where}: sum takes an integer field; sums of fractions drift.`
    return
  }
  const [foundIn, then] = kind === 'copy' ? [declared, 'id'] : [source, derived.field]
  if (!indexesOf(foundIn.table).some((index) => index.columns[0] === link && index.columns[1] === then))
    yield `${where}: keeping it true needs an index; add index(...).on(t.tenant, t.${link}, t.${then}) to ${foundIn.name}.`
  const linkColumn = columnsOf(foundIn.table)[link]
  if (own.notNull && (kind === 'max' || !field.notNull || !linkColumn?.notNull))
    yield `${where}: it may be null (no record to take it from, or a null there); take .notNull() away.`
  if (kind === 'max' && fieldKind(field, false) === 'json')
    yield `${where}: ${from} is json, which has no order; max takes another field.`
  if (familyOf(own) !== familyOf(field))
    yield `${where}: its type is ${familyOf(own)}, that of ${from} is ${familyOf(field)}.`
}

/** Kinds of field whose values may stand for one another. */
function familyOf(column: SQLiteColumn): string {
  const kind = fieldKind(column, false) ?? column.columnType
  return kind === 'enum' || kind === 'id' ? 'text' : kind
}
