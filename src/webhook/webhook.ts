import type { Seq } from '../log/position.ts'
import type { ChangeEvent, Interest, LoggedChange } from '../read/feed.ts'
import { eventOf } from '../read/feed.ts'
import type { Caller, TenantId } from '../schema/access.ts'
import type { Row } from '../store/reader.ts'
import type { View } from '../version/view.ts'

/** A receiver of changes, as the database has it. */
export interface Webhook {
  readonly tenant: TenantId
  readonly id: string
  readonly url: string
  readonly secret: string
  readonly previousSecret: string | null
  /** Until when the previous secret signs as well, as an instant. */
  readonly previousUntil: string | null
  /** Up to where its deliveries are in the database. */
  readonly cursor: Seq
  /** What it is told of; null where its version is no more. */
  readonly interest: Interest | null
  /** The names of the resources in its version; null for all. */
  readonly resources: ReadonlySet<string> | null
}

export const webhookColumns =
  'w.tenant, w.id, w.url, w.secret, w.previousSecret, w.previousUntil, w.cursor, w.resources, w.version, w.scopes, w.subject'

const kept = new WeakMap<ReadonlyMap<string, View>, Map<string, readonly [key: string, webhook: Webhook]>>()

/** A webhook of a row of `webhookColumns`: the same one as long as the row is the same, so that rules resolve once. */
export function webhookOf(row: Row, views: ReadonlyMap<string, View>): Webhook {
  const [tenant, id, url, secret, previousSecret, previousUntil, cursor, resources, version, scopes, subject] = row
  const known = kept.get(views) ?? new Map<string, readonly [string, Webhook]>()
  kept.set(views, known)
  const key = JSON.stringify(row.slice(0, 11))
  const [knownKey, before] = known.get(String(id)) ?? []
  if (before && knownKey === key) return before
  const view = views.get(String(version))
  const caller = callerOf(String(tenant) as TenantId, String(id), String(scopes), subject as string | null)
  const webhook: Webhook = {
    ...{ tenant: caller.tenant, id: String(id), url: String(url), secret: String(secret) },
    previousSecret: previousSecret as string | null,
    previousUntil: previousUntil as string | null,
    cursor: Number(cursor) as Seq,
    interest: view ? { caller, view, resource: null, id: null, fields: null } : null,
    resources: typeof resources === 'string' ? new Set(JSON.parse(resources) as string[]) : null,
  }
  known.set(webhook.id, [key, webhook])
  return webhook
}

/** It may read what the key could that made it. */
function callerOf(tenant: TenantId, id: string, scopes: string, subject: string | null): Caller {
  const base = { tenant, scopes: new Set(JSON.parse(scopes) as string[]), actor: `webhook:${id}` }
  return subject === null ? { ...base, kind: 'service' } : { ...base, kind: 'user', subject }
}

/** A change as a webhook is told of it; null where it is not. */
export function toldOf(change: LoggedChange, { interest, resources }: Webhook): ChangeEvent | null {
  const event = interest && eventOf(change, interest)
  return event && (resources === null || resources.has(event.resource)) ? event : null
}

/** Says whether a webhook may have a URL: throws `webhook-url-refused` with the reason where it may not. */
export interface UrlCheck {
  of(text: string): Promise<{ readonly url: URL }>
}
