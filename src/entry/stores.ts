import { bunSqlite } from '../store/bun-sqlite.ts'
import { fileStore } from './file-store.ts'
import { libsqlStore } from './libsql-store.ts'
import type { Store } from './node.ts'
import { isPrimaryFolder, ownDatabase } from './primary-folder.ts'
import type { Settings } from './settings.ts'

/** The database that the settings name: at a libSQL server, of the primary whose data folder it is, or a file. */
export function storeOf(settings: Settings): Store {
  const { libsql, dataDir } = settings
  if (libsql) return libsqlStore(libsql)
  return isPrimaryFolder(dataDir) ? libsqlStore(ownDatabase(settings)) : fileStore(dataDir, bunSqlite)
}
