import { getTableConfig } from 'drizzle-orm/sqlite-core'
import { columnsOf } from './check-table.ts'
import type { IdentifiedTable } from './columns.ts'
import { fieldKind } from './field.ts'
import type { ModelDeclaration } from './model.ts'
import { type FoldDeclaration, isIdentityField, type ProjectionDeclaration } from './projection.ts'
import type { ResourceDeclaration } from './resource.ts'
import { departuresOf } from './retiring.ts'
import { indexesOf } from './table.ts'

/** What is wrong with a read model beside what would be wrong with any resource over its table. */
export function* checkProjection(declared: ResourceDeclaration, declaration: ModelDeclaration): Generator<string> {
  const { name, projection } = declared
  if (!projection) return
  yield* checkKey(declared, projection)
  yield* checkTotals(declared, projection)
  yield* checkConstraints(declared)
  yield* checkSources(name, projection.from, declaration)
}

/** Columns of a kind that has equality, never null: null is equal to nothing, and would be a new row each time. */
function* checkKey({ name, table }: ResourceDeclaration, { key }: ProjectionDeclaration): Generator<string> {
  if (key.length === 0) yield `${name}: its key names no column; name those that say which row a record counts in.`
  for (const [i, field] of key.entries()) {
    const column = columnsOf(table)[field]
    const where = `${name}.${field}`
    if (!column || field === 'tenant') yield `${where}: key names a field that the table does not have.`
    else if (isIdentityField(field)) yield `${where}: Perigee keeps this column itself; it cannot be in a key.`
    else if (['json', 'real', null].includes(fieldKind(column, false)))
      yield `${where}: a key is text, integer, boolean or instant, which are equal or not; this is ${fieldKind(column, false) ?? column.columnType}.`
    else if (!column.notNull) yield `${where}: a key is never null; add .notNull().`
    if (key.indexOf(field) < i) yield `${where}: key names it twice.`
  }
}

function* checkTotals({ name, table }: ResourceDeclaration, { key }: ProjectionDeclaration): Generator<string> {
  const totals = Object.entries(columnsOf(table)).filter(
    ([field]) => field !== 'tenant' && !isIdentityField(field) && !key.includes(field),
  )
  if (totals.length === 0) yield `${name}: it has no column beside its key; add the totals that it is there for.`
  for (const [field, column] of totals) {
    const isTotal = column?.columnType === 'SQLiteInteger' && column.notNull && column.default === 0
    if (!isTotal) yield `${name}.${field}: a column that is not in the key is a total, integer().notNull().default(0).`
  }
}

/** What could refuse a row would stop the read model for good: no caller is there to be told. */
function* checkConstraints({ name, table }: ResourceDeclaration): Generator<string> {
  const config = getTableConfig(table)
  for (const foreignKey of config.foreignKeys) {
    const columns = foreignKey.reference().columns.map((column) => column.name)
    yield `${name}.${columns.join('+')}: a read model has no foreign keys, because it follows the records later, when what they refer to may be gone; a relation needs none here.`
  }
  if (config.checks.length > 0)
    yield `${name}: a read model has no checks ("${config.checks[0]?.name}"): a row that it refused would stop it.`
  const indexes = config.indexes.filter((index) => index.config.unique).map((index) => index.config.name)
  const columns = config.columns.filter((column) => column.isUnique).map((column) => column.name)
  const [unique] = [...config.uniqueConstraints.map((each) => each.name), ...indexes, ...columns]
  if (unique !== undefined)
    yield `${name}.${unique}: a read model has no unique columns: there is one row for each key already, and its rows change place one after the other.`
}

function* checkSources(
  name: string,
  from: readonly FoldDeclaration[],
  { resources, versions }: ModelDeclaration,
): Generator<string> {
  if (from.length === 0) yield `${name}: nothing contributes to it; name a table with fold().`
  const seen = new Set<IdentifiedTable>()
  for (const { table, fields } of from) {
    const source = resources.find((each) => each.table === table())
    if (!source) {
      yield `${name}: it folds a table that is no resource of the model.`
      continue
    }
    if (source.projection) yield `${name}: it folds ${source.name}, a read model itself; fold what that is made of.`
    if (seen.has(source.table)) yield `${name}: it folds ${source.name} twice; one fold says all that a record adds.`
    seen.add(source.table)
    if (fields.length === 0) yield `${name}: its fold of ${source.name} looks at no field.`
    const { retiring } = departuresOf(source.name, source.table, versions)
    for (const field of fields) {
      if (!columnsOf(source.table)[field] || field === 'tenant')
        yield `${name}: its fold of ${source.name} looks at "${field}", which ${source.name} does not have.`
      else if (retiring.has(field))
        yield `${name}: its fold of ${source.name} looks at "${field}", which a lens took away.`
    }
  }
}

/** What other resources may not do with a read model, whose rows come and go. */
export function* checkApart(declared: ResourceDeclaration, declaration: ModelDeclaration): Generator<string> {
  if (declared.projection) return
  const isReadModel = (table: unknown) => declaration.resources.find((each) => each.table === table)?.projection
  for (const foreignKey of getTableConfig(declared.table).foreignKeys) {
    const { columns, foreignTable } = foreignKey.reference()
    if (isReadModel(foreignTable))
      yield `${declared.name}.${columns.map((column) => column.name).join('+')}: it refers to a read model, whose rows come and go; refer to the records that it is made of.`
  }
}

/** A link of a read model, which no foreign key keeps: a column that ids are in, and an index that finds its rows. */
export function* checkLink(where: string, table: IdentifiedTable, link: string, from: string): Generator<string> {
  const column = columnsOf(table)[link]
  if (column?.columnType !== 'SQLiteText') yield `${where}: ${from}.${link} must be a text(), because ids are.`
  else if (!indexesOf(table).some((index) => index.columns[0] === link))
    yield `${where}: no index serves it; add index('${from}_by_${link}').on(t.tenant, t.${link}, t.id) to ${from}.`
}
