import { getTableColumns } from 'drizzle-orm'
import { getTableConfig, type SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { ruleFields } from './access.ts'
import { type IdentifiedTable, identityFields } from './columns.ts'
import type { DerivedDeclaration } from './derived.ts'
import { fieldKind } from './field.ts'
import { limits } from './limits.ts'
import type { ModelDeclaration } from './model.ts'
import type { RelationDeclaration } from './relation.ts'
import type { ResourceDeclaration } from './resource.ts'
import { indexesOf, referencesOf } from './table.ts'

/** The model cannot be built; `mistakes` are sentences, each naming the resource and the field. */
export class ModelError extends Error {
  readonly mistakes: readonly string[]
  constructor(mistakes: readonly string[]) {
    super(`The model has ${mistakes.length} mistake(s):\n${mistakes.map((each) => `  - ${each}`).join('\n')}`)
    this.name = 'ModelError'
    this.mistakes = mistakes
  }
}

/** Names that queries use, so that no field may have them. */
export const reservedNames = ['sort', 'limit', 'after', 'before', 'include', 'fields', 'count', 'tenant'] as const
const reservedResources = [
  'batch',
  'changes',
  'docs',
  'problems',
  'metrics',
  'livez',
  'readyz',
  'versions',
  'heads',
  'fanout',
  'context',
  'idempotency',
  'keys',
  'batchResults',
  'meta',
]
const nameForm = /^[a-z][a-zA-Z0-9]{0,62}$/

type Names = ReadonlyMap<IdentifiedTable, string>

/** Every mistake of the declarations that the compiler cannot see. */
export function checkModel(declaration: ModelDeclaration, names: Names): string[] {
  const mistakes = checkVersions(declaration)
  const seen = new Set<string>()
  for (const declared of declaration.resources) {
    if (seen.has(declared.name)) mistakes.push(`${declared.name}: two resources have this name.`)
    seen.add(declared.name)
    mistakes.push(...checkTable(declared), ...checkServed(declared), ...checkRules(declared))
    for (const [name, relation] of Object.entries(declared.relations)) {
      mistakes.push(...checkRelation(declared, name, relation, names))
    }
    for (const [column, each] of Object.entries(declared.derived as Record<string, DerivedDeclaration>)) {
      mistakes.push(...checkDerived(declared, column, each, declaration, names))
    }
  }
  return mistakes
}

function checkVersions(declaration: ModelDeclaration): string[] {
  const dates = declaration.versions.map((version) => version.date)
  if (dates.length === 0) return ['The model declares no version; add one, such as version("2026-11-01", ...).']
  const wrong = dates
    .filter((date) => !/^\d{4}-\d\d-\d\d$/.test(date))
    .map((date) => `Version ${date}: a version is a date, YYYY-MM-DD.`)
  const ordered = dates.every((date, i) => i === 0 || date > (dates[i - 1] ?? ''))
  return ordered ? wrong : [...wrong, 'The versions must stand in the order of their dates, each once.']
}

function columnsOf(table: IdentifiedTable): Record<string, SQLiteColumn> {
  return getTableColumns(table) as Record<string, SQLiteColumn>
}

function checkTable(declared: ResourceDeclaration): string[] {
  const { name, table } = declared
  const mistakes: string[] = []
  const config = getTableConfig(table)
  const columns = columnsOf(table)
  if (!nameForm.test(name) || reservedResources.includes(name)) {
    mistakes.push(
      `${name}: a resource's name is letters and digits beginning with a small letter, and none of ${reservedResources.join(', ')}.`,
    )
  }
  if (config.name !== name)
    mistakes.push(`${name}: its table is named "${config.name}"; resource and table have one name.`)
  const key = config.primaryKeys[0]?.columns.map((column) => column.name).join()
  if (key !== 'tenant,id') mistakes.push(`${name}: the primary key must be (tenant, id), tenant first.`)
  for (const required of ['tenant', ...identityFields]) {
    if (!columns[required]?.notNull) mistakes.push(`${name}.${required}: every table begins with ...identity.`)
  }
  for (const [field, column] of Object.entries(columns)) {
    if (column.name !== field)
      mistakes.push(`${name}.${field}: the column is named "${column.name}"; leave its name out, so that both are one.`)
    if (!nameForm.test(field))
      mistakes.push(`${name}.${field}: a field's name is letters and digits beginning with a small letter.`)
    if (field !== 'tenant' && (reservedNames as readonly string[]).includes(field))
      mistakes.push(`${name}.${field}: queries use this name; choose another.`)
    if (fieldKind(column, false) === null)
      mistakes.push(
        `${name}.${field}: columns of type ${column.columnType} are not served; use text, integer, real, boolean, instant or json.`,
      )
    if (column.hasDefault && column.default === undefined)
      mistakes.push(`${name}.${field}: a default must be a plain value, so that the API can document it.`)
  }
  for (const field of Object.keys(declared.validate)) {
    if (!columns[field]) mistakes.push(`${name}.${field}: validate names a field that the table does not have.`)
  }
  for (const foreignKey of config.foreignKeys) {
    const { columns: from, foreignColumns } = foreignKey.reference()
    if (from[0]?.name !== 'tenant' || foreignColumns[0]?.name !== 'tenant') {
      mistakes.push(
        `${name}.${from.map((column) => column.name).join('+')}: a foreign key begins with the tenant on both sides, so that no record can refer to another tenant's.`,
      )
    }
  }
  return mistakes
}

function checkServed(declared: ResourceDeclaration): string[] {
  const { name, table } = declared
  const columns = columnsOf(table)
  const indexes = indexesOf(table)
  const mistakes: string[] = []
  const firsts = new Set(indexes.map((index) => index.columns[0]))
  for (const [use, fields] of [
    ['filter', declared.filter],
    ['sort', declared.sort],
  ] as const) {
    for (const field of fields) {
      const column = columns[field]
      if (!column || field === 'tenant')
        mistakes.push(`${name}.${field}: ${use} names a field that the table does not have.`)
      else if (!firsts.has(field))
        mistakes.push(
          `${name}.${field}: no index serves this ${use}; add index('${name}_by_${field}').on(t.tenant, t.${field}, t.id).`,
        )
      else if (use === 'sort' && !column.notNull)
        mistakes.push(`${name}.${field}: a sort needs a field that is never null; add .notNull().`)
      else if (fieldKind(column, false) === 'json')
        mistakes.push(`${name}.${field}: a json field has no order and no equality; it cannot be a ${use}.`)
    }
  }
  const rows = declared.limits.pageRowsMax
  if (rows !== undefined && (rows < 1 || rows > limits.pageRowsMax))
    mistakes.push(`${name}: pageRowsMax must be from 1 to ${limits.pageRowsMax}.`)
  return mistakes
}

function checkRules(declared: ResourceDeclaration): string[] {
  const columns = columnsOf(declared.table)
  return [declared.access.read, declared.access.write]
    .flatMap(ruleFields)
    .filter((field) => !columns[field] || field === 'tenant')
    .map((field) => `${declared.name}.${field}: an access rule names a field that the table does not have.`)
}

function checkRelation(
  declared: ResourceDeclaration,
  name: string,
  relation: RelationDeclaration,
  names: Names,
): string[] {
  const where = `${declared.name}.${name}`
  const target = names.get(relation.target())
  const mistakes: string[] = []
  if (columnsOf(declared.table)[name]) mistakes.push(`${where}: a relation and a field have the same name.`)
  if (!nameForm.test(name))
    mistakes.push(`${where}: a relation's name is letters and digits beginning with a small letter.`)
  if (!target) return [...mistakes, `${where}: its table is no resource of the model.`]
  const links =
    relation.kind === 'belongsTo'
      ? [[declared.table, relation.column, target] as const]
      : relation.kind === 'hasMany'
        ? [[relation.target(), relation.column, declared.name] as const]
        : [
            [relation.through(), relation.near, declared.name] as const,
            [relation.through(), relation.far, target] as const,
          ]
  for (const [table, column, to] of links) {
    const from = names.get(table)
    if (!from) mistakes.push(`${where}: its joining table is no resource of the model.`)
    else if (!refersTo(table, column, to, names))
      mistakes.push(`${where}: ${from}.${column} needs a foreign key (tenant, ${column}) to ${to} (tenant, id).`)
  }
  const [link] = links
  if (relation.kind !== 'belongsTo' && link && !indexesOf(link[0]).some((index) => index.columns[0] === link[1])) {
    mistakes.push(
      `${where}: no index serves this relation; add index(...).on(t.tenant, t.${link[1]}, t.id) to ${names.get(link[0])}.`,
    )
  }
  return mistakes
}

function refersTo(table: IdentifiedTable, column: string, to: string, names: Names): boolean {
  return getTableConfig(table).foreignKeys.some((key) => {
    const { columns, foreignTable } = key.reference()
    return names.get(foreignTable as IdentifiedTable) === to && columns.some((each) => each.name === column)
  })
}

function checkDerived(
  declared: ResourceDeclaration,
  column: string,
  derived: DerivedDeclaration,
  declaration: ModelDeclaration,
  names: Names,
): string[] {
  const where = `${declared.name}.${column}`
  const own = columnsOf(declared.table)[column]
  const relation = declared.relations[derived.relation]
  if (!own) return [`${where}: a derived column is a real column; add it to the table.`]
  if (!relation)
    return [
      `${where}: ${derived.kind} names the relation "${derived.relation}", which ${declared.name} does not declare.`,
    ]
  const wanted = derived.kind === 'copy' ? 'belongsTo' : 'hasMany'
  if (relation.kind !== wanted)
    return [`${where}: ${derived.kind} follows a ${wanted} relation; "${derived.relation}" is ${relation.kind}.`]
  const source = declaration.resources.find((each) => each.table === relation.target())
  if (!source) return []
  if (source.name === declared.name)
    return [`${where}: a derived column cannot follow a relation of ${declared.name} to itself.`]
  return checkDerivedColumns(where, own, derived, relation.column, declared, source, names)
}

function checkDerivedColumns(
  where: string,
  own: SQLiteColumn,
  derived: DerivedDeclaration,
  link: string,
  declared: ResourceDeclaration,
  source: ResourceDeclaration,
  names: Names,
): string[] {
  const mistakes: string[] = []
  const linkTable = derived.kind === 'copy' ? declared : source
  const [second, third] = derived.kind === 'max' ? [link, derived.field] : [link, 'id']
  const linked = indexesOf(linkTable.table).some(
    ({ columns }) =>
      columns[0] === second && (derived.kind === 'count' || derived.kind === 'sum' || columns[1] === third),
  )
  if (!linked)
    mistakes.push(
      `${where}: keeping it true needs an index; add index(...).on(t.tenant, t.${second}, t.${third}) to ${linkTable.name}.`,
    )
  if (derived.kind !== 'count') {
    const field = columnsOf(source.table)[derived.field]
    if (!field) return [...mistakes, `${where}: ${source.name} has no field "${derived.field}".`]
    if (Object.hasOwn(source.derived as object, derived.field))
      mistakes.push(`${where}: ${source.name}.${derived.field} is derived itself; derive from the field it comes from.`)
    const linkColumn = columnsOf(linkTable.table)[link]
    const mayBeNull = derived.kind === 'max' || (derived.kind === 'copy' && (!field.notNull || !linkColumn?.notNull))
    if (mayBeNull && own.notNull)
      mistakes.push(`${where}: it may be null (no record to take it from, or a null there); take .notNull() away.`)
    if (derived.kind === 'sum' && field.columnType !== 'SQLiteInteger')
      mistakes.push(`${where}: sum takes an integer field; sums of fractions drift.`)
    if (derived.kind !== 'sum' && field.getSQLType().split('(')[0] !== own.getSQLType().split('(')[0])
      mistakes.push(
        `${where}: its type is ${own.getSQLType()}, that of ${source.name}.${derived.field} is ${field.getSQLType()}.`,
      )
  }
  if ((derived.kind === 'count' || derived.kind === 'sum') && !(own.notNull && own.default === 0)) {
    mistakes.push(`${where}: a ${derived.kind} is integer().notNull().default(0).`)
  }
  if (derived.kind === 'copy' && referencesOf(declared, names).some((reference) => reference.column === own.name)) {
    mistakes.push(`${where}: a foreign key cannot be a copy.`)
  }
  return mistakes
}
