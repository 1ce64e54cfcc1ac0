import { getTableConfig } from 'drizzle-orm/sqlite-core'
import type { IdentifiedTable } from './columns.ts'
import type { ResourceDeclaration } from './resource.ts'

/** The resource that has each table. */
export type Names = ReadonlyMap<IdentifiedTable, string>

/** A foreign key between two resources: `column` of `from` holds the id of a record of `to`. */
export interface Reference {
  readonly from: string
  readonly column: string
  readonly to: string
  readonly onDelete: string
}

/** The foreign keys of a resource's table to other resources of the model. */
export function referencesOf(declared: ResourceDeclaration, nameByTable: Names): Reference[] {
  return getTableConfig(declared.table).foreignKeys.flatMap((key) => {
    const { columns, foreignColumns, foreignTable } = key.reference()
    const to = nameByTable.get(foreignTable as IdentifiedTable)
    const column = columns.find((_, i) => foreignColumns[i]?.name === 'id')
    return to && column ? [{ from: declared.name, column: column.name, to, onDelete: key.onDelete ?? 'no action' }] : []
  })
}

/** An index that begins with the tenant, the tenant left out. `unique`: no two records have the same in its columns. */
export interface Index {
  readonly columns: readonly string[]
  readonly unique: boolean
}

/** The primary key and unique constraints are among them; partial indexes are not. */
export function indexesOf(table: IdentifiedTable): Index[] {
  const config = getTableConfig(table)
  const names = (columns: readonly { readonly name: string }[]) => columns.map((column) => column.name)
  const lists = [
    ...config.primaryKeys.map((key) => ({ columns: names(key.columns), unique: true })),
    ...config.uniqueConstraints.map((each) => ({ columns: names(each.columns), unique: true })),
    ...config.indexes
      .filter((index) => index.config.where === undefined)
      .map(({ config: { columns, unique } }) => ({
        columns: columns.map((column) => ('name' in column ? String(column.name) : '')),
        unique,
      })),
  ]
  return lists
    .filter(({ columns }) => columns[0] === 'tenant')
    .map(({ columns, unique }) => ({ columns: columns.slice(1), unique }))
}
