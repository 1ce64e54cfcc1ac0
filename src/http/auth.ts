import { Problem } from '../problem.ts'
import type { Caller, TenantId } from '../schema/access.ts'
import { limits } from '../schema/limits.ts'
import type { Soon } from '../soon.ts'
import type { Reader } from '../store/reader.ts'

/** Who a request comes from. Throws `unauthorized`, in the same time for every wrong key. */
export type Authenticate = (authorization: string | null) => Soon<Caller>

export interface AuthOptions {
  readonly reader: Reader
  /** SHA-256 of a text, as URL-safe text. Keys are looked up by it, so that no comparison tells how far a guess is right. */
  readonly digest: (text: string) => string
  readonly now: () => number
  /** Whose public records may be read without a key; null for none. */
  readonly publicTenant: TenantId | null
}

const keysKept = 10_000
const findSql = 'select id, tenant, scopes, subject, version from keys where hash = ? and revokedAt is null'

/** `pgk_` and 256 random bits as URL-safe base64. */
export const keyForm = /^pgk_[\w-]{43}$/

export function createAuthenticate({ reader, digest, now, publicTenant }: AuthOptions): Authenticate {
  const trusted = new Map<string, { readonly caller: Caller; readonly until: number }>()
  const anonymous: Caller | null = publicTenant && {
    kind: 'anonymous',
    tenant: publicTenant,
    scopes: new Set(),
    actor: 'anonymous',
  }

  async function check(authorization: string): Promise<Caller> {
    const key = /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? ''
    const [row] = keyForm.test(key) ? await reader.rows(findSql, [digest(key)]) : []
    if (!row) {
      trusted.delete(authorization)
      throw unauthorized('The API key is unknown or was revoked.')
    }
    const caller = callerOf(row as unknown as KeyRow)
    if (trusted.size >= keysKept) trusted.delete(trusted.keys().next().value ?? '')
    trusted.set(authorization, { caller, until: now() + limits.keyTrustMsMax })
    return caller
  }

  return (authorization) => {
    if (authorization === null) {
      if (anonymous) return anonymous
      throw unauthorized('Send an API key as "Authorization: Bearer pgk_...".')
    }
    const known = trusted.get(authorization)
    return known && known.until > now() ? known.caller : check(authorization)
  }
}

type KeyRow = [id: string, tenant: TenantId, scopes: string, subject: string | null, version: string | null]

function callerOf([key, tenant, scopes, subject, version]: KeyRow): Caller {
  const base = {
    ...{ key, tenant, scopes: new Set(scopes.split(' ').filter((scope) => scope !== '')) },
    ...(version !== null && { version }),
  }
  return subject === null
    ? { ...base, kind: 'service', actor: `key:${key}` }
    : { ...base, kind: 'user', subject, actor: `key:${key} user:${subject}` }
}

function unauthorized(detail: string): Problem {
  return new Problem('unauthorized', { detail, headers: { 'WWW-Authenticate': 'Bearer realm="perigee"' } })
}

/**
 * A key needs the scope `read` to read anything and `write` to write anything, whatever the rules of the resource; and
 * `webhooks` beside them to do so with webhooks.
 */
export function requireScope(caller: Caller, scope: 'read' | 'write' | 'webhooks') {
  if (caller.kind === 'anonymous') {
    const what = { read: null, write: 'Writing takes', webhooks: 'Webhooks take' }[scope]
    if (what !== null) throw unauthorized(`${what} an API key: send "Authorization: Bearer pgk_...".`)
  } else if (!caller.scopes.has(scope)) {
    throw new Problem('forbidden', { detail: `This key lacks the scope "${scope}".` })
  }
}

/** A resource that no record of which the caller could ever read. */
export function refuseUnreadable(caller: Caller, name: string): never {
  if (caller.kind === 'anonymous')
    throw unauthorized(`Reading ${name} takes an API key: send "Authorization: Bearer pgk_...".`)
  throw new Problem('forbidden', { detail: `This key may not read ${name}.` })
}
