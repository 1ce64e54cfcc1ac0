import { getTableColumns, is, SQL } from 'drizzle-orm'
import { getTableConfig, type SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { type IdentifiedTable, identity } from './columns.ts'
import { columnSchema, fieldKind } from './field.ts'
import type { ResourceDeclaration } from './resource.ts'
import type { Departures } from './retiring.ts'
import { indexesOf, type Names } from './table.ts'

/** Names that queries use, so that no field may have them. */
export const reservedFields = ['sort', 'limit', 'after', 'before', 'include', 'fields', 'count', 'tenant']

/**
 * Fields of a record at most, in every version. SQLite writes a record as one call of `json_object`, two arguments for
 * each; functions take 127 in workerd and in sqld (measured).
 */
export const fieldsMax = 63

/** With the tenant. A create binds each of them and up to six values more; a statement in workerd binds 100 at most. */
const columnsMax = fieldsMax + 1

export const nameRule = 'letters and digits beginning with a small letter'

/** Whether a text may name a resource, a field or a relation: `nameRule`, 63 characters, and nothing every object has. */
export function isName(text: string): boolean {
  return /^[a-z][a-zA-Z0-9]{0,62}$/.test(text) && !(text in {})
}

/** Whether a text is a day, YYYY-MM-DD. */
export function isDate(text: string): boolean {
  const time = Date.parse(`${text}T00:00:00Z`)
  return /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(time) && new Date(time).toISOString().startsWith(text)
}

export function columnsOf(table: IdentifiedTable): Readonly<Record<string, SQLiteColumn | undefined>> {
  return Object.assign(Object.create(null), getTableColumns(table))
}

/** What is wrong with a table by itself: its names, columns, keys and indexes. */
export function* checkTable(declared: ResourceDeclaration, names: Names, { required }: Departures): Generator<string> {
  const { name, table } = declared
  const config = getTableConfig(table)
  if (config.name !== name) yield `${name}: its table is named "${config.name}"; resource and table have one name.`
  const key = config.primaryKeys[0]?.columns.map((column) => column.name).join()
  if (key !== 'tenant,id') yield `${name}: the primary key must be (tenant, id), tenant first.`
  const columns = columnsOf(table)
  for (const required of Object.keys(identity) as (keyof typeof identity)[]) {
    if (!isIdentity(required, columns[required])) yield `${name}.${required}: every table begins with ...identity.`
  }
  if (config.columns.length > columnsMax)
    yield `${name}: it has ${config.columns.length} columns; ${columnsMax} is the most, because SQLite writes a record of ${fieldsMax} fields at most.`
  const seen = new Set<string>()
  for (const [field, column] of Object.entries(columns)) {
    if (column) yield* checkColumn(`${name}.${field}`, field, column, declared, required.has(field))
    if (seen.has(field.toLowerCase()))
      yield `${name}.${field}: another field differs from it in the case of letters only.`
    seen.add(field.toLowerCase())
  }
  // What a read model may not have at all, `checkProjection` names.
  if (declared.projection) return
  yield* checkForeignKeys(declared, names)
  yield* checkUnique(declared)
}

function isIdentity(name: keyof typeof identity, column: SQLiteColumn | undefined): boolean {
  if (!column?.notNull) return false
  if (name === 'version') return column.columnType === 'SQLiteInteger' && column.default === 1
  const isInstant = column.columnType === 'SQLiteCustomColumn' && column.getSQLType() === 'text'
  return name === 'createdAt' || name === 'updatedAt' ? isInstant : column.columnType === 'SQLiteText'
}

function* checkColumn(
  where: string,
  field: string,
  column: SQLiteColumn,
  { validate }: ResourceDeclaration,
  isRequired: boolean,
): Generator<string> {
  if (column.name !== field)
    yield `${where}: the column is named "${column.name}"; leave its name out, so that both are one.`
  if (!isName(field)) yield `${where}: a field's name is ${nameRule}, and none that every object has.`
  if (field !== 'tenant' && reservedFields.includes(field)) yield `${where}: queries use this name; choose another.`
  const kind = fieldKind(column, false)
  if (kind === null)
    return yield `${where}: columns of type ${column.columnType} are not served; use text, integer, real, boolean, instant or json.`
  if (column.generated) yield `${where}: a generated column is not served; make it derived, or let callers write it.`
  if (column.onUpdateFn) return yield `${where}: $onUpdate runs in no database; use a derived column.`
  if (!column.hasDefault) return
  if (column.default === undefined || is(column.default, SQL))
    return yield `${where}: a default must be a plain value, so that the API can document it.`
  const schema = (Object.hasOwn(validate, field) ? validate[field] : undefined) ?? columnSchema(column, kind)
  if (field !== 'version' && !isRequired && !schema.safeParse(column.default).success)
    yield `${where}: its default, ${JSON.stringify(column.default)}, is no value that a caller could send.`
}

/** Each foreign key is (tenant, column) to (tenant, id) of a resource, and an index finds the records that it holds. */
function* checkForeignKeys({ name, table }: ResourceDeclaration, names: Names): Generator<string> {
  for (const foreignKey of getTableConfig(table).foreignKeys) {
    const { columns, foreignColumns, foreignTable } = foreignKey.reference()
    const where = `${name}.${columns.map((column) => column.name).join('+')}`
    const [, link] = columns
    const to = names.get(foreignTable as IdentifiedTable)
    if (columns[0]?.name !== 'tenant' || foreignColumns[0]?.name !== 'tenant') {
      yield `${where}: a foreign key begins with the tenant on both sides, so that no record can refer to another tenant's.`
    } else if (columns.length !== 2 || foreignColumns[1]?.name !== 'id' || !link) {
      yield `${where}: a foreign key is (tenant, column) to (tenant, id), because records are referred to by their ids.`
    } else if (!to) {
      yield `${where}: it refers to the table "${getTableConfig(foreignTable).name}", which is no resource of the model.`
    } else {
      if (link.columnType !== 'SQLiteText') yield `${where}: ids are text; make ${link.name} a text().`
      if (foreignKey.onDelete === 'set null' || foreignKey.onDelete === 'set default')
        yield `${where}: on delete ${foreignKey.onDelete} would take the tenant away too; use cascade or restrict.`
      if (!indexesOf(table).some((index) => index.columns[0] === link.name))
        yield `${where}: no index serves this foreign key, so that deleting one of ${to} would read all of ${name}; add index('${name}_by_${link.name}').on(t.tenant, t.${link.name}, t.id).`
    }
  }
}

function* checkUnique({ name, table, derived }: ResourceDeclaration): Generator<string> {
  const config = getTableConfig(table)
  const unique = [
    ...config.uniqueConstraints.map((each) => each.columns.map((column) => column.name)),
    ...config.columns.filter((column) => column.isUnique).map((column) => [column.name]),
    ...config.indexes
      .filter((index) => index.config.unique)
      .map((index) => index.config.columns.map((column) => ('name' in column ? String(column.name) : 'an expression'))),
  ]
  for (const columns of unique) {
    const where = `${name}.${columns.join('+')}`
    if (columns[0] !== 'tenant')
      yield `${where}: what is unique begins with the tenant, or one tenant could tell what another has; use uniqueIndex(...).on(t.tenant, ...).`
    const kept = columns.find((column) => Object.hasOwn(derived as object, column))
    if (kept) yield `${where}: ${kept} is derived, so it cannot be unique: other records' writes would fail by it.`
  }
}
