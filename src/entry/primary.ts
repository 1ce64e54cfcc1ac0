import { join } from 'node:path'
import { metric } from '../http/metrics.ts'
import type { Model } from '../schema/model.ts'
import { migrateWhole } from './backfill.ts'
import { startServer } from './bun.ts'
import { libsqlStore } from './libsql-store.ts'
import { holdFolder, ownDatabase, replicaToken, requireWhole, sqldFolder } from './primary-folder.ts'
import type { RunningServer } from './server.ts'
import { type Settings, SettingsError } from './settings.ts'
import { answering, type Sqld, startSqld } from './sqld.ts'
import { sqldKeys, writeWhole } from './sqld-keys.ts'
import { type SqldWatch, startMsMax, watchSqld } from './sqld-watch.ts'
import { type Supervisor, supervise } from './supervise.ts'

/** How long the token lasts that is kept for replicas. */
export const replicaTokenDays = 365

export interface RunningPrimary extends RunningServer {
  /** The database's URL for replicas, and the file that keeps a token for them. */
  readonly databaseUrl: string
  readonly tokenFile: string
}

/**
 * A primary node and its sqld, which is watched, and started again where it ends or hangs. Migrates the database first.
 * Throws where the folder is in use, or sqld or the server cannot be started.
 */
export async function startPrimary(settings: Settings, model: Model): Promise<RunningPrimary> {
  const { dataDir, libsqlListen } = settings
  const lock = await holdFolder(dataDir)
  let sqld: Supervisor<Sqld> | undefined
  const end = async () => {
    await sqld?.stop()
    lock.release()
  }
  try {
    requireWhole(dataDir)
    requireFree(libsqlListen)
    sqld = await supervisedSqld(dataDir, libsqlListen)
    const tokenFile = join(dataDir, 'replica-token')
    writeWhole(tokenFile, `${replicaToken(dataDir, replicaTokenDays)}\n`, 0o600)
    const libsql = ownDatabase(settings)
    await migrateWhole(libsqlStore(libsql), model)
    const server = await serveOver(sqld, { ...settings, libsql }, model)
    return {
      ...server,
      databaseUrl: libsql.url,
      tokenFile,
      async stop() {
        await server.stop()
        await end()
      },
    }
  } catch (error) {
    await end()
    throw error
  }
}

/** Whoever else listens there would answer in the place of sqld, which takes a moment to find out. */
function requireFree(address: string) {
  const [, host = '', port] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? []
  try {
    Bun.listen({ hostname: host, port: Number(port), socket: { data() {} } }).stop(true)
  } catch (error) {
    throw new SettingsError(`LIBSQL_LISTEN=${address} cannot be listened on: ${(error as Error).message}.`)
  }
}

async function supervisedSqld(dataDir: string, address: string): Promise<Supervisor<Sqld>> {
  const options = { folder: sqldFolder(dataDir), address, keyFile: sqldKeys(dataDir).publicFile }
  const first = startSqld(options)
  try {
    await answering(first, startMsMax)
  } catch (error) {
    first.kill('SIGKILL')
    throw error
  }
  return supervise(first, () => startSqld(options), tell)
}

/** Serves over a sqld that runs, and watches it by the writes of the server. */
async function serveOver(sqld: Supervisor<Sqld>, settings: Settings, model: Model): Promise<RunningServer> {
  let watch: SqldWatch | undefined
  const server = await startServer(settings, model, {
    unready: () => watch?.unready() ?? null,
    metrics: () => numbersOf(sqld, watch?.unready() === null),
  })
  watch = watchSqld(sqld, server.node.primary, tell)
  const { stop } = watch
  return {
    ...server,
    async stop() {
      await server.stop()
      stop()
    },
  }
}

function numbersOf(sqld: Supervisor<Sqld>, isUp: boolean): string[] {
  return [
    ...metric('perigee_sqld_up', 'gauge', 'Whether the sqld of this node takes writes.', isUp ? 1 : 0),
    ...metric('perigee_sqld_restarts_total', 'counter', 'Times that it was started again.', sqld.restarts()),
  ]
}

function tell(sentence: string) {
  console.error(`perigee: ${sentence}`)
}
