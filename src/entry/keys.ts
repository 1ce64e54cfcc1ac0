import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { keyForm } from '../http/auth.ts'
import type { Primary } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'
import type { Value } from '../value.ts'
import { CommandError } from './node.ts'
import { digest } from './node-identity.ts'

export interface NewKey {
  readonly tenant: string
  readonly scopes: readonly string[]
  /** The id of the user that owner rules compare; null for a key that acts for the whole tenant. */
  readonly subject: string | null
  /** The date of the API version that it is pinned to; null for none. */
  readonly version: string | null
}

export interface KeyInfo {
  readonly id: string
  readonly tenant: string
  readonly scopes: string
  readonly subject: string | null
  readonly version: string | null
  readonly createdAt: string
  readonly revokedAt: string | null
}

/** Makes a key of 256 random bits and stores its hash. The key is in the answer and nowhere else. */
export async function createKey(primary: Primary, key: NewKey): Promise<{ id: string; key: string }> {
  const text = `pgk_${crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: 'base64url', omitPadding: true })}`
  // Hexadecimal, because an id that began with a dash would be read as an option of `keys revoke`.
  const id = createHash('sha256').update(text).digest('hex').slice(0, 12)
  const args = [digest(text), id, key.tenant, key.scopes.join(' '), key.subject, key.version, new Date().toISOString()]
  await change(
    primary,
    'insert into keys(hash, id, tenant, scopes, subject, version, createdAt) values (?, ?, ?, ?, ?, ?, ?)',
    args,
  )
  return { id, key: text }
}

export async function listKeys(reader: Reader): Promise<KeyInfo[]> {
  const rows = await reader.rows(
    'select id, tenant, scopes, subject, version, createdAt, revokedAt from keys order by createdAt',
    [],
  )
  return rows.map(([id, tenant, scopes, subject, version, createdAt, revokedAt]) => ({
    id: String(id),
    tenant: String(tenant),
    scopes: String(scopes),
    subject: subject as string | null,
    version: version as string | null,
    createdAt: String(createdAt),
    revokedAt: revokedAt as string | null,
  }))
}

/** Revokes a key by the id that `keys list` shows. */
export async function revokeKey(primary: Primary, id: string): Promise<void> {
  const found = await change(primary, 'update keys set revokedAt = ? where id = ? and revokedAt is null', [
    new Date().toISOString(),
    id,
  ])
  if (!found) throw new CommandError(`There is no key ${id} that could be revoked. "bun run keys list" shows them.`)
}

/** Pins a valid key to an API version by its date, or to none. */
export async function pinKey(primary: Primary, id: string, version: string | null): Promise<void> {
  const found = await change(primary, 'update keys set version = ? where id = ? and revokedAt is null', [version, id])
  if (!found) throw new CommandError(`There is no valid key ${id}. "bun run keys list" shows them.`)
}

/** The key that `dev-key` keeps, where it is still valid; else null. */
export async function keptKey(dataDir: string, reader: Reader): Promise<string | null> {
  const file = join(dataDir, 'dev-key')
  if (!existsSync(file)) return null
  const kept = readFileSync(file, 'utf8').trim()
  const known = await reader.rows('select 1 from keys where hash = ? and revokedAt is null', [digest(kept)])
  return keyForm.test(kept) && known.length > 0 ? kept : null
}

/** Makes a key that reads and writes and keeps it in `dev-key`, for its owner's eyes only. */
export async function makeDevKey(
  dataDir: string,
  primary: Primary,
  { tenant, version }: Pick<NewKey, 'tenant' | 'version'>,
): Promise<string> {
  const file = join(dataDir, 'dev-key')
  const { key } = await createKey(primary, { tenant, scopes: ['read', 'write'], subject: null, version })
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  writeFileSync(file, `${key}\n`, { mode: 0o600 })
  chmodSync(file, 0o600)
  return key
}

async function change(primary: Primary, sql: string, args: readonly Value[]): Promise<boolean> {
  const outcome = await primary.commit({ steps: [{ sql, args, guarded: true }] })
  if (outcome.kind === 'committed') return true
  if (outcome.kind === 'refused' && outcome.cause === 'guard') return false
  throw new CommandError(`The database did not take the change: ${JSON.stringify(outcome)}`)
}
