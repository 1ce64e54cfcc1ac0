import { fileStore } from './file-store.ts'
import { libsqlStore } from './libsql-store.ts'
import type { Store } from './node.ts'
import type { Settings } from './settings.ts'

/** The database that the settings name. */
export function storeOf({ libsql, dataDir }: Settings): Store {
  return libsql ? libsqlStore(libsql) : fileStore(dataDir)
}
