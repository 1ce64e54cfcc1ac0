import { join } from 'node:path'
import type { AppOptions } from '../http/service.ts'
import type { Model } from '../schema/model.ts'
import type { Migration } from '../store/migrations.ts'
import type { Primary } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'
import { type Identity, identitySql } from './identity.ts'
import { nodeIdentity } from './node-identity.ts'

export const projectRoot = join(import.meta.dirname, '..', '..')
export const migrationsFolder = join(projectRoot, 'drizzle')

/** A command cannot go on for a reason that its user can mend. */
export class CommandError extends Error {}

/** A database that a node may have, before it is opened. Whatever its user can mend is a Command- or SettingsError. */
export interface Store {
  /** Where it is, after "the database": "in ./data". */
  readonly place: string
  /** Brings it to the newest migration; makes it where there is none. Answers how many were applied. */
  migrate(): Promise<number>
  /** The migrations that it lacks. */
  pending(): Promise<readonly Migration[]>
  openReader(): Reader
  openPrimary(watch: {
    /** Called after each commit, before anyone is told of it. */
    readonly onCommit: () => void
    /** Nothing can be committed any more, by a fault of ours. */
    readonly onDeath: (error: Error) => void
  }): Promise<Primary>
}

/** The parts of a node that takes writes itself. */
export interface Node extends Identity, Pick<AppOptions, 'model' | 'reader'> {
  readonly primary: Primary
  close(): Promise<void>
}

/** Opens a database, which must have been migrated. `onCommit` is called when reads can see one. */
export async function openNode(
  store: Store,
  model: Model,
  onDeath: (error: Error) => void,
  onCommit: () => void = () => {},
): Promise<Node> {
  const pending = await store.pending()
  if (pending.length > 0)
    throw new CommandError(`The database ${store.place} lacks ${pending.length} migration(s). Run "bun run migrate".`)
  const reader = store.openReader()
  const identity = nodeIdentity(await reader.rows(identitySql, []))
  const primary = await store.openPrimary({
    onCommit() {
      reader.expire()
      onCommit()
    },
    onDeath,
  })
  return {
    ...identity,
    model,
    reader,
    primary,
    async close() {
      await primary.close()
      reader.close()
    },
  }
}
