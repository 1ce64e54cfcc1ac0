import type { Model } from '../schema/model.ts'
import { listen } from './listen.ts'
import { isPrimaryFolder } from './primary-folder.ts'
import { type Health, type RunningServer, type Runtime, type Surroundings, serveOn } from './server.ts'
import type { Settings } from './settings.ts'
import { storeOf } from './stores.ts'

export const bun: Runtime = {
  ...{ storeOf, listen },
  hasEdges: ({ libsql, dataDir }) => libsql !== null || isPrimaryFolder(dataDir),
}

/** Serves a migrated database over HTTP with Bun. */
export function startServer(
  settings: Settings,
  model: Model,
  health?: Health,
  surroundings?: Surroundings,
): Promise<RunningServer> {
  return serveOn(bun, settings, model, health, surroundings)
}
