import type { Seq } from '../log/position.ts'
import type { Call, Primary } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'
import type { View } from '../version/view.ts'
import { type Webhook, webhookColumns, webhookOf } from './webhook.ts'

/** The one place where the deliveries of webhooks are put into SQL, but for what callers ask of them: `plan.ts`. */

/** An active webhook, and where the log stands. */
export interface Standing {
  readonly webhook: Webhook
  /** The last change of its tenant, and of all. */
  readonly tenantHead: Seq
  readonly head: Seq
}

export async function activeWebhooks(reader: Reader, views: ReadonlyMap<string, View>): Promise<Standing[]> {
  const tenantHead = '(select coalesce(max(h.seq), 0) from heads h where h.tenant = w.tenant)'
  const head = '(select coalesce(max(seq), 0) from changes)'
  const sql = `select ${webhookColumns}, ${tenantHead}, ${head} from webhooks w where w.state = 'active'`
  const rows = await reader.rows(sql, [])
  return rows.map((row) => ({
    webhook: webhookOf(row, views),
    tenantHead: Number(row.at(-2)) as Seq,
    head: Number(row.at(-1)) as Seq,
  }))
}

/** A change that a webhook is to be told of, once more or for the first time. */
export interface Due {
  readonly webhook: Webhook
  readonly seq: Seq
  /** The resource by its name in the tables, and the record's id. */
  readonly resource: string
  readonly record: string
  /** Tries that have failed. */
  readonly attempts: number
}

/** What is due at `now`, at most `each` of one webhook, the earliest first. */
export async function dueDeliveries(
  reader: Reader,
  views: ReadonlyMap<string, View>,
  now: string,
  each: number,
): Promise<Due[]> {
  const first =
    'select x.seq from deliveries x where x.webhook = w.id and x.nextAt <= ?1 order by x.nextAt, x.seq limit ?2'
  const sql = `select ${webhookColumns}, d.seq, d.resource, d.record, d.attempts from webhooks w join deliveries d on d.webhook = w.id and d.seq in (${first}) where w.state = 'active' order by d.nextAt, d.seq`
  const rows = await reader.rows(sql, [now, each])
  return rows.map((row) => ({
    webhook: webhookOf(row, views),
    seq: Number(row.at(-4)) as Seq,
    resource: String(row.at(-3)),
    record: String(row.at(-2)),
    attempts: Number(row.at(-1)),
  }))
}

/** When the next of those that are not due yet is; null for none. */
export async function nextDue(reader: Reader, now: string): Promise<string | null> {
  const next = '(select min(d.nextAt) from deliveries d where d.webhook = w.id and d.nextAt > ?1)'
  const [row] = await reader.rows(`select min(${next}) from webhooks w where w.state = 'active'`, [now])
  return (row?.[0] ?? null) as string | null
}

/** How many deliveries of a webhook have not ended. */
export async function pendingOf(reader: Reader, { id }: Webhook): Promise<number> {
  const [row] = await reader.rows("select count(*) from deliveries where webhook = ?1 and state = 'pending'", [id])
  return Number(row?.[0] ?? 0)
}

/** How many deliveries of active webhooks have not ended, and since when the oldest waits. */
export async function backlog(reader: Reader): Promise<{ readonly waiting: number; readonly oldest: string | null }> {
  const sql =
    "select count(*), min(d.createdAt) from webhooks w join deliveries d on d.webhook = w.id and d.state = 'pending' where w.state = 'active'"
  const [row] = await reader.rows(sql, [])
  return { waiting: Number(row?.[0] ?? 0), oldest: (row?.[1] ?? null) as string | null }
}

/**
 * Makes due what waits for no earlier change of its record. Arguments: the webhook, when. It does nothing where the
 * webhook is not active: `nextAt` is set for those of active ones only.
 */
export const releaseSql = `update deliveries as d set nextAt = ?2, attempts = 0 where webhook = ?1 and state = 'pending' and nextAt is null and exists (select 1 from webhooks w where w.id = ?1 and w.state = 'active') and not exists (select 1 from deliveries e where e.webhook = ?1 and e.state = 'pending' and e.resource = d.resource and e.record = d.record and e.seq < d.seq)`

/** Puts the deliveries of changes into the database, with how far the log was read for them: both or neither. */
export function queueSteps(
  { id }: Webhook,
  events: readonly Pick<Due, 'seq' | 'resource' | 'record'>[],
  to: Seq,
  now: string,
): Call[] {
  const list = JSON.stringify(events.map(({ seq, resource, record }) => [seq, resource, record]))
  const values = "?1, j.value ->> 0, j.value ->> 1, j.value ->> 2, 'pending', 0, ?3"
  const insert = `insert into deliveries(webhook, seq, resource, record, state, attempts, createdAt) select ${values} from json_each(?2) j where exists (select 1 from webhooks w where w.id = ?1) on conflict(webhook, seq) do nothing`
  return [{ sql: insert, args: [id, list, now] }, { sql: releaseSql, args: [id, now] }, cursorStep([[id, to]])]
}

/** Remembers how far the log was read for webhooks. */
export function cursorStep(cursors: readonly (readonly [id: string, to: Seq])[]): Call {
  const list = 'json_each(?1) j'
  const sql = `update webhooks as w set cursor = max(cursor, (select j.value ->> 1 from ${list} where j.value ->> 0 = w.id)) where w.id in (select j.value ->> 0 from ${list})`
  return { sql, args: [JSON.stringify(cursors)] }
}

/** What came of a try. */
export type Ending =
  | { readonly state: 'delivered' | 'failed'; readonly status: number | null; readonly error: string | null }
  | { readonly state: 'pending'; readonly status: number | null; readonly error: string; readonly nextAt: string }

/** Writes down what came of a try, and makes the next change of the record due where this one has ended. */
export function endingSteps({ webhook, seq, resource, record, attempts }: Due, ending: Ending, now: string): Call[] {
  const { state, status, error } = ending
  const [nextAt, endedAt] = ending.state === 'pending' ? [ending.nextAt, null] : [null, now]
  const isActive = "exists (select 1 from webhooks w where w.id = ?1 and w.state = 'active')"
  const sql = `update deliveries set state = ?3, attempts = ?4, status = ?5, error = ?6, nextAt = iif(${isActive}, ?7, null), endedAt = ?8 where webhook = ?1 and seq = ?2`
  const update = { sql, args: [webhook.id, seq, state, attempts + 1, status, error, nextAt, endedAt] }
  if (endedAt === null) return [update]
  // The next of this record alone: others that wait do so for reasons of their own.
  const first = `(select min(e.seq) from deliveries e where e.webhook = ?1 and e.state = 'pending' and e.resource = ?3 and e.record = ?4)`
  const release = `update deliveries set nextAt = ?2 where webhook = ?1 and seq = ${first} and nextAt is null and ${isActive}`
  return [update, { sql: release, args: [webhook.id, now, resource, record] }]
}

/** Stops a webhook, for its owner to see why. What waits for it is kept. */
export function disableSteps({ id }: Webhook, reason: string, now: string): Call[] {
  const update =
    "update webhooks set state = 'disabled', reason = ?2, updatedAt = ?3 where id = ?1 and state = 'active'"
  return [
    { sql: update, args: [id, reason, now] },
    { sql: parkSql, args: [id] },
  ]
}

/** Takes what waits for a webhook that is not active off the clock. Arguments: the webhook. */
export const parkSql = `update deliveries set nextAt = null where webhook = ?1 and state = 'pending' and nextAt is not null and exists (select 1 from webhooks w where w.id = ?1 and w.state <> 'active')`

/** Deliveries that one step of a sweep removes. */
const sweptRowsMax = 500

/**
 * Removes deliveries that have ended before `before`, and those of webhooks that are gone, a bounded number. Answers
 * whether there may be more.
 */
export async function sweepDeliveries(before: string, reader: Reader, primary: Primary): Promise<boolean> {
  const old = 'select webhook, seq from deliveries where endedAt < ?1'
  // The webhooks that have deliveries, each found by one step along the primary key.
  const some =
    'with recursive some(id) as (select min(webhook) from deliveries union all select (select min(webhook) from deliveries where webhook > id) from some where id is not null)'
  const orphaned = `${some} select d.webhook, d.seq from some s join deliveries d on d.webhook = s.id where not exists (select 1 from webhooks w where w.id = s.id)`
  for (const [select, args] of [
    [old, [before]],
    [orphaned, []],
  ] as const) {
    const rows = await reader.rows(`${select} limit ${sweptRowsMax}`, args)
    if (rows.length === 0) continue
    const sql =
      'delete from deliveries where (webhook, seq) in (select j.value ->> 0, j.value ->> 1 from json_each(?1) j)'
    await commitSteps(primary, [{ sql, args: [JSON.stringify(rows)] }])
    return true
  }
  return false
}

/** Commits work of our own. Rejects where it was not committed: it is done again later. */
export async function commitSteps(primary: Primary, steps: readonly Call[]): Promise<void> {
  const outcome = await primary.commit({ steps })
  if (outcome.kind !== 'committed') throw new Error(`work for webhooks was not committed: ${JSON.stringify(outcome)}`)
}
