import type { Epoch, Seq } from '../log/position.ts'
import { type CursorSigner, openCursor, sealCursor } from '../read/cursor.ts'
import type { Caller } from '../schema/access.ts'
import type { Reader, Row } from '../store/reader.ts'
import { type Bind, callOf } from '../store/text.ts'
import type { View } from '../version/view.ts'
import { messageId } from './message.ts'
import { isOwn, webhookSql } from './plan.ts'

const positionSql = '(select coalesce(max(seq), 0) from changes)'

/** The webhooks that a caller may see, the newest first, each as JSON; and the position that they were read at. */
export async function readWebhooks(
  caller: Caller,
  id: string | null,
  now: string,
  reader: Reader,
): Promise<{ readonly found: readonly string[]; readonly seq: Seq }> {
  const rows = await ask(reader, (bind) => {
    const which = id === null ? '' : `w.id = ${bind(id)} and `
    const own = `select ${webhookSql(bind(now))} as body from webhooks w where ${which}${isOwn(caller, bind)} order by w.id desc`
    return `select ${positionSql} union all select body from (${own})`
  })
  return { found: rows.slice(1).map(([body]) => String(body)), seq: Number(rows[0]?.[0] ?? 0) as Seq }
}

/** The view that a webhook is pinned to; null where the caller has no such webhook. */
export async function viewOfWebhook(
  caller: Caller,
  id: string,
  reader: Reader,
  views: ReadonlyMap<string, View>,
): Promise<View | null> {
  const [row] = await ask(
    reader,
    (bind) => `select w.version from webhooks w where w.id = ${bind(id)} and ${isOwn(caller, bind)}`,
  )
  return row ? (views.get(String(row[0])) ?? null) : null
}

/** What pages of deliveries are read with. */
export interface DeliveryPlaces {
  readonly reader: Reader
  readonly cursors: CursorSigner
  readonly epoch: Epoch
  readonly views: ReadonlyMap<string, View>
}

/** A page of the deliveries of a webhook, the newest change first; null where the caller has no such webhook. */
export async function readDeliveries(
  caller: Caller,
  id: string,
  { limit, after }: { readonly limit: number; readonly after: string | null },
  { reader, cursors, epoch, views }: DeliveryPlaces,
): Promise<{ readonly records: string; readonly next: string | null; readonly seq: Seq } | null> {
  const use = { cursors, identity: `deliveries ${id}`, caller }
  const start = after === null ? null : openCursor(after, { ...use, keys: 1 })
  const columns = [
    'seq',
    'resource',
    'record',
    'state',
    'attempts',
    'nextAt',
    'status',
    'error',
    'createdAt',
    'endedAt',
  ]
  const rows = await ask(reader, (bind) => {
    const before = start === null ? '' : ` and seq < ${bind(start[0] ?? 0)}`
    const page = `select ${columns.join(', ')} from deliveries where webhook = ${bind(id)}${before} order by seq desc limit ${bind(limit + 1)}`
    const version = `(select w.version from webhooks w where w.id = ${bind(id)} and ${isOwn(caller, bind)})`
    return `select * from (${page}) union all select ${positionSql}, ${version}${', null'.repeat(8)}`
  })
  const facts = rows.at(-1)
  if (typeof facts?.[1] !== 'string') return null
  const found = rows.slice(0, -1)
  const view = views.get(facts[1])
  const page = found.slice(0, limit)
  const last = page.at(-1)
  return {
    records: page.map((row) => JSON.stringify(deliveryOf(row, epoch, view))).join(','),
    next: found.length > limit && last ? sealCursor([last[0] ?? 0], use) : null,
    seq: Number(facts[0]) as Seq,
  }
}

/** A delivery as callers see it, its resource by the name that the webhook's version has for it. */
function deliveryOf(row: Row, epoch: Epoch, view: View | undefined) {
  const [seq, table, recordId, state, attempts, nextAt, status, error, createdAt, endedAt] = row
  const shown = view && [...view.resources.values()].find(({ resource }) => resource.name === table)
  return {
    ...{ id: messageId(epoch, Number(seq)), resource: shown?.name ?? table, recordId, state, attempts },
    ...{ nextAt, status, error, createdAt, endedAt },
  }
}

async function ask(reader: Reader, write: (bind: Bind) => string): Promise<readonly Row[]> {
  const { sql, args } = callOf(write)
  return reader.rows(sql, args)
}
