import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type { Rule } from './access.ts'
import { columnsOf } from './check-table.ts'
import { type IdentityField, identityFields } from './columns.ts'
import { fieldKind } from './field.ts'
import { limits } from './limits.ts'
import type { ResourceDeclaration } from './resource.ts'
import type { Departures } from './retiring.ts'
import { indexesOf } from './table.ts'

/** What is wrong with what lists may be filtered and sorted by, and with the limits. */
export function* checkServed(declared: ResourceDeclaration): Generator<string> {
  const { name, table } = declared
  const columns = columnsOf(table)
  const firsts = new Set(indexesOf(table).map((index) => index.columns[0]))
  for (const [use, fields] of [
    ['filter', declared.filter],
    ['sort', declared.sort],
  ] as const) {
    for (const field of fields) {
      const column = columns[field]
      const where = `${name}.${field}`
      if (!column || field === 'tenant') yield `${where}: ${use} names a field that the table does not have.`
      else if (fieldKind(column, false) === 'json')
        yield `${where}: a json field has no order and no equality; it cannot be a ${use}.`
      else if (!firsts.has(field))
        yield `${where}: no index serves this ${use}; add index('${name}_by_${field}').on(t.tenant, t.${field}, t.id).`
      else if (use === 'sort' && !column.notNull)
        yield `${where}: a sort needs a field that is never null; add .notNull().`
    }
  }
  const rows = declared.limits.pageRowsMax
  if (rows !== undefined && !(Number.isInteger(rows) && rows >= 1 && rows <= limits.pageRowsMax))
    yield `${name}: pageRowsMax must be a whole number from 1 to ${limits.pageRowsMax}.`
}

export function* checkAccess(declared: ResourceDeclaration): Generator<string> {
  for (const rule of [declared.access.read, declared.access.write]) yield* checkRule(declared, rule)
}

function* checkRule(declared: ResourceDeclaration, rule: Rule): Generator<string> {
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') {
    for (const part of rule.rules) yield* checkRule(declared, part)
  }
  // A scope is a word of a key: `keys create` takes no other form.
  if (rule.kind === 'scope' && !/^[a-z][a-z0-9:_-]{0,63}$/.test(rule.scope))
    yield `${declared.name}: no key can have the scope "${rule.scope}"; a scope is small letters, digits, ":", "_" and "-".`
  if (rule.kind !== 'owner' && rule.kind !== 'when') return
  const column = columnsOf(declared.table)[rule.field]
  const where = `${declared.name}.${rule.field}`
  if (!column || rule.field === 'tenant') yield `${where}: an access rule names a field that the table does not have.`
  else if (rule.kind === 'owner' && column.columnType !== 'SQLiteText')
    yield `${where}: owner() compares a user's id, which is text, with it.`
  else if (rule.kind === 'when' && !isValueOf(column, rule.equals))
    yield `${where}: when() compares it with ${JSON.stringify(rule.equals)}, which it never is.`
}

function isValueOf(column: SQLiteColumn, value: string | number): boolean {
  switch (fieldKind(column, false)) {
    case 'enum':
      return (column.enumValues ?? []).includes(String(value))
    case 'text':
    case 'id':
    case 'instant':
      return typeof value === 'string'
    case 'integer':
      return Number.isInteger(value)
    case 'real':
      return typeof value === 'number' && !Number.isNaN(value)
    case 'boolean':
      return value === 0 || value === 1
    default:
      return false
  }
}

export function* checkValidate({ name, table, validate, derived }: ResourceDeclaration): Generator<string> {
  const columns = columnsOf(table)
  for (const field of Object.keys(validate)) {
    if (!columns[field] || field === 'tenant')
      yield `${name}.${field}: validate names a field that the table does not have.`
    else if (identityFields.includes(field as IdentityField) || Object.hasOwn(derived as object, field))
      yield `${name}.${field}: validate names a field that Perigee keeps and callers cannot write.`
  }
}

/** A column that retires is there for nodes of the release before and for no one else; a derived column may read it. */
export function* checkRetiring(declared: ResourceDeclaration, { retiring }: Departures): Generator<string> {
  const links = Object.values(declared.relations).flatMap((each) => (each.kind === 'belongsTo' ? [each.column] : []))
  const uses = {
    ...{ filter: declared.filter, sort: declared.sort, validate: Object.keys(declared.validate) },
    ...{ derived: Object.keys(declared.derived as object), relations: links },
    access: [declared.access.read, declared.access.write].flatMap(fieldsOfRule),
  }
  for (const [use, names] of Object.entries(uses)) {
    for (const field of new Set(names)) {
      if (retiring.has(field))
        yield `${declared.name}.${field}: a lens says that it went, so it is no field any more; ${use} cannot name it.`
    }
  }
}

function fieldsOfRule(rule: Rule): string[] {
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') return rule.rules.flatMap(fieldsOfRule)
  return rule.kind === 'owner' || rule.kind === 'when' ? [rule.field] : []
}
