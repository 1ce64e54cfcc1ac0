import { Database } from 'bun:sqlite'
import { databaseFile, fileStore } from '../../src/entry/file-store.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { type Owner, ownerOf } from './keys.ts'
import { temporaryFolder } from './server.ts'

/** A migrated data folder with a key of the tenant `demo`, for servers in processes of their own. */
export interface DataFolder {
  readonly path: string
  readonly databaseFile: string
  readonly key: string
  readonly owner: Owner
  remove(): void
}

export async function dataFolder(scopes: readonly string[] = ['read', 'write']): Promise<DataFolder> {
  const folder = temporaryFolder()
  const store = fileStore(folder.path, bunSqlite)
  await store.migrate()
  const owner = ownerOf(store)
  return { ...folder, databaseFile: databaseFile(folder.path), key: await owner.key({ scopes }), owner }
}

/** The first column of a query over a database file, as texts. */
export function textsIn(file: string, sql: string): string[] {
  using database = new Database(file, { readonly: true })
  return database
    .query(sql)
    .values()
    .map(([text]) => String(text))
}
