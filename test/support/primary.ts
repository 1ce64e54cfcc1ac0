import { join } from 'node:path'
import { runCommand } from './command.ts'
import { type SpawnedServer, type SpawnOptions, spawnServer } from './process.ts'
import { freePort } from './sqld.ts'

/** A primary in a process of its own, as `bun run primary` starts it, with its sqld. */
export interface SpawnedPrimary extends SpawnedServer {
  /** Settings with which commands reach it, and it is started again. */
  readonly env: { readonly DATA_DIR: string; readonly LIBSQL_LISTEN: string }
  /** Where its sqld is. */
  readonly databaseUrl: string
  /** The process of its sqld; null while there is none. */
  sqldPid(): number | null
}

export async function spawnPrimary(options: Omit<SpawnOptions, 'command'>): Promise<SpawnedPrimary> {
  const LIBSQL_LISTEN = options.env?.LIBSQL_LISTEN ?? `127.0.0.1:${freePort()}`
  const env = { DATA_DIR: options.dataDir, LIBSQL_LISTEN }
  const server = await spawnServer({ ...options, env: { ...options.env, ...env }, command: 'primary' })
  return {
    ...server,
    env,
    databaseUrl: `http://${LIBSQL_LISTEN}`,
    sqldPid: () => Number(Bun.spawnSync(['pgrep', '-P', String(server.pid), 'sqld']).stdout.toString()) || null,
  }
}

/** The database of a primary's data folder. */
export function primaryDatabase(dataDir: string): string {
  return databaseIn(join(dataDir, 'sqld'))
}

/** The database in the folder of a sqld. */
export function databaseIn(sqldFolder: string): string {
  return join(sqldFolder, 'dbs', 'default', 'data')
}

/** A key of the tenant `demo` that may read and write. */
export async function makeKey(env: SpawnedPrimary['env']): Promise<string> {
  const { code, out, err } = await runCommand(['keys', 'create', '--tenant', 'demo', '--scopes', 'read,write'], { env })
  if (code !== 0) throw new Error(`no key was made: ${err}`)
  return out.trim()
}
