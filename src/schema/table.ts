import { getTableConfig } from 'drizzle-orm/sqlite-core'
import type { IdentifiedTable } from './columns.ts'
import type { ResourceDeclaration } from './resource.ts'

/** A foreign key between two resources: `column` of `from` holds the id of a record of `to`. */
export interface Reference {
  readonly from: string
  readonly column: string
  readonly to: string
  readonly onDelete: string
}

/** The foreign keys of a resource's table to other resources of the model. */
export function referencesOf(
  declared: ResourceDeclaration,
  nameByTable: ReadonlyMap<IdentifiedTable, string>,
): Reference[] {
  return getTableConfig(declared.table).foreignKeys.flatMap((key) => {
    const { columns, foreignColumns, foreignTable } = key.reference()
    const to = nameByTable.get(foreignTable as IdentifiedTable)
    const column = columns.find((_, i) => foreignColumns[i]?.name === 'id')
    return to && column ? [{ from: declared.name, column: column.name, to, onDelete: key.onDelete ?? 'no action' }] : []
  })
}

/** The columns of every index that begins with the tenant, the tenant left out. */
export function indexesOf(table: IdentifiedTable): string[][] {
  const config = getTableConfig(table)
  const lists = [
    ...config.primaryKeys.map((key) => key.columns.map((column) => column.name)),
    ...config.uniqueConstraints.map((unique) => unique.columns.map((column) => column.name)),
    ...config.indexes
      .filter((index) => index.config.where === undefined)
      .map((index) => index.config.columns.map((column) => ('name' in column ? String(column.name) : ''))),
  ]
  return lists.filter((columns) => columns[0] === 'tenant').map((columns) => columns.slice(1))
}
