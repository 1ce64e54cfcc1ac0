import { is } from 'drizzle-orm'
import { getTableConfig, SQLiteTable } from 'drizzle-orm/sqlite-core'
import { checkApart, checkProjection } from './check-projection.ts'
import { checkDerived, checkRelation } from './check-relation.ts'
import { checkAccess, checkRetiring, checkServed, checkValidate } from './check-served.ts'
import { checkTable, isDate, isName, nameRule } from './check-table.ts'
import type { DerivedDeclaration } from './derived.ts'
import type { ModelDeclaration } from './model.ts'
import type { ResourceDeclaration } from './resource.ts'
import { departuresOf } from './retiring.ts'
import type { Names } from './table.ts'

/** The model cannot be built; `mistakes` are sentences, each naming the resource and the field. */
export class ModelError extends Error {
  readonly mistakes: readonly string[]
  constructor(mistakes: readonly string[]) {
    super(`The model has ${mistakes.length} mistake(s):\n${mistakes.map((each) => `  - ${each}`).join('\n')}`)
    this.name = 'ModelError'
    this.mistakes = mistakes
  }
}

/** Paths of the API and tables of the engine: no resource may have these names. */
export const reservedResources = [
  'batch',
  'changes',
  'docs',
  'problems',
  'metrics',
  'livez',
  'readyz',
  'nudge',
  'versions',
  'changelog',
  'heads',
  'fanout',
  'context',
  'idempotency',
  'keys',
  'retiring',
  'projections',
  'projected',
  'batchResults',
  'mustChange',
  'meta',
  'webhooks',
  'deliveries',
]

/** Every mistake of the declarations that the compiler cannot see. */
export function checkModel(declaration: ModelDeclaration, names: Names): string[] {
  const { resources } = declaration
  const mistakes = [...checkVersions(declaration), ...checkNames(resources)]
  const unreadable = resources.flatMap(checkReadable)
  // What follows holds tables against one another, so it waits until each can be read.
  if (unreadable.length > 0) return [...mistakes, ...unreadable]
  mistakes.push(...checkIndexNames(declaration))
  for (const declared of resources) {
    const departures = departuresOf(declared.name, declared.table, declaration.versions)
    mistakes.push(...checkTable(declared, names, departures), ...checkServed(declared))
    mistakes.push(...checkRetiring(declared, departures))
    mistakes.push(...checkAccess(declared), ...checkValidate(declared))
    mistakes.push(...checkProjection(declared, declaration), ...checkApart(declared, declaration))
    for (const [name, relation] of Object.entries(declared.relations))
      mistakes.push(...checkRelation(declared, name, relation, declaration, names))
    for (const [column, derived] of Object.entries(declared.derived as Record<string, DerivedDeclaration>))
      mistakes.push(...checkDerived(declared, column, derived, declaration, names))
  }
  return mistakes
}

function* checkVersions({ versions, resources }: ModelDeclaration): Generator<string> {
  if (versions.length === 0) yield 'The model declares no version; add one, such as version("2026-11-01", ...).'
  for (const { date, alias } of versions) {
    if (!isDate(date)) yield `Version ${date}: a version is a date, YYYY-MM-DD.`
    if (!isName(alias) || [...reservedResources, ...resources.map((each) => each.name)].includes(alias))
      yield `Version ${date}: its alias "${alias}" begins paths; ${nameRule}, and not a resource's name.`
  }
  const isOrdered = versions.every(({ date }, i) => i === 0 || date > (versions[i - 1]?.date ?? ''))
  if (!isOrdered) yield 'The versions must stand in the order of their dates, each once.'
  const aliases = versions.map((version) => version.alias)
  // Views of the database begin with it, and SQLite does not tell their names apart by the case of their letters.
  for (const alias of twice(aliases.map((each) => each.toLowerCase()))) yield `Two versions have the alias "${alias}".`
}

function* checkNames(resources: readonly ResourceDeclaration[]): Generator<string> {
  for (const { name, description } of resources) {
    if (!isName(name) || reservedResources.includes(name))
      yield `${name}: a resource's name is letters and digits beginning with a small letter, and none of ${reservedResources.join(', ')}.`
    if (description.trim() === '') yield `${name}: the API's documentation needs a description of it, one sentence.`
  }
  // SQLite does not tell the names of tables apart by the case of their letters.
  for (const name of twice(resources.map((each) => each.name.toLowerCase())))
    yield `${name}: two resources have this name.`
}

/** The table can be read: it is one, and its keys and indexes name columns that there are. */
function checkReadable({ name, table }: ResourceDeclaration): string[] {
  if (!is(table, SQLiteTable))
    return [`${name}: its table is ${typeof table}; is it exported by the file that it is imported from?`]
  const config = getTableConfig(table)
  const references = config.foreignKeys.map((key) => key.reference())
  const lists: (readonly [string, readonly unknown[]])[] = [
    ...config.primaryKeys.map((key) => ['the primary key', key.columns] as const),
    ...references.map(({ columns, foreignColumns }) => ['a foreign key', [...columns, ...foreignColumns]] as const),
    ...config.uniqueConstraints.map((each) => [`the constraint "${each.name}"`, each.columns] as const),
    ...config.indexes.map((index) => [`the index "${index.config.name}"`, index.config.columns] as const),
  ]
  return lists
    .filter(([, columns]) => columns.includes(undefined))
    .map(([what]) => `${name}: ${what} names a column that there is not.`)
}

/** SQLite has one name space for the indexes of all tables, and for the tables. */
function* checkIndexNames({ resources, versions }: ModelDeclaration): Generator<string> {
  const indexes = resources.flatMap(({ name, table }) =>
    getTableConfig(table).indexes.map((index) => ({ name, index: index.config.name })),
  )
  const taken = new Set(['changes_of_record', ...reservedResources, ...resources.map((each) => each.name)])
  const seen = new Map([...taken].map((name) => [name.toLowerCase(), 'a table or an index of the engine']))
  for (const { name, index } of indexes) {
    const other = seen.get(index.toLowerCase())
    if (other)
      yield `${name}: the index "${index}" has the name of ${other}; names of indexes are of the whole database.`
    seen.set(index.toLowerCase(), `an index of ${name}`)
    const alias = versions
      .map((each) => each.alias)
      .find((each) => index.toLowerCase().startsWith(`${each.toLowerCase()}_`))
    if (alias !== undefined)
      yield `${name}: the index "${index}" begins as the names of the views of ${alias} do; give it another.`
  }
}

/** The values that a list has more than once, each once. */
function twice(values: readonly string[]): string[] {
  return [...new Set(values.filter((value, i) => values.indexOf(value) !== i))]
}
