import { Database } from 'bun:sqlite'
import { databaseFile, fileStore } from '../../src/entry/file-store.ts'
import { createKey } from '../../src/entry/keys.ts'
import { openNode } from '../../src/entry/node.ts'
import { model } from '../../src/model/index.ts'
import { temporaryFolder } from './server.ts'

/** A migrated data folder with a key of the tenant `demo`, for servers in processes of their own. */
export interface DataFolder {
  readonly path: string
  readonly databaseFile: string
  readonly key: string
  remove(): void
}

export async function dataFolder(scopes: readonly string[] = ['read', 'write']): Promise<DataFolder> {
  const folder = temporaryFolder()
  await fileStore(folder.path).migrate()
  const node = await openNode(fileStore(folder.path), model, (error) => {
    throw error
  })
  const { key } = await createKey(node.primary, {
    tenant: 'demo',
    scopes,
    subject: null,
    version: null,
  })
  await node.close()
  return { ...folder, databaseFile: databaseFile(folder.path), key }
}

/** The first column of a query over a database file, as texts. */
export function textsIn(file: string, sql: string): string[] {
  using database = new Database(file, { readonly: true })
  return database
    .query(sql)
    .values()
    .map(([text]) => String(text))
}
