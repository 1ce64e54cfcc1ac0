import { fanoutStepSql } from '../schema/derived.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import type { Primary } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'

/** Rows of the idempotency table that one step looks at, so that no write waits long for the step. */
const sweepRowsMax = 500

/** Takes one bounded step of the oldest queued fan-out. Answers whether there was one. */
export async function stepFanout(model: Model, reader: Reader, primary: Primary): Promise<boolean> {
  const [job] = await reader.rows('select id, target, field from fanout order by id limit 1', [])
  if (!job) return false
  const [id, target, field] = job
  const derived = model.resources.get(String(target))?.derived.get(String(field))
  // A queued copy that the model no longer has is dropped: no column is left to keep true.
  const texts = derived ? fanoutStepSql(derived) : ['delete from fanout where id = ?1']
  const outcome = await primary.commit({ steps: texts.map((sql) => ({ sql, args: [id ?? null] })) })
  if (outcome.kind !== 'committed') throw new Error(`a fan-out step was not committed: ${JSON.stringify(outcome)}`)
  return true
}

/**
 * Removes the expired idempotency keys among the next `sweepRowsMax` rows after `from`. Answers where to go on, or null
 * where there is nothing more to remove: rows are in the order in which their keys were first claimed, so the first
 * step that finds none expired is the last.
 */
export async function sweepIdempotency(
  from: number,
  now: number,
  reader: Reader,
  primary: Primary,
): Promise<number | null> {
  const expiry = new Date(now - limits.idempotencyHoursKept * 3_600_000).toISOString()
  const [found] = await reader.rows(
    'select max(place), min(createdAt) from (select rowid as place, createdAt from idempotency where rowid > ? order by rowid limit ?)',
    [from, sweepRowsMax],
  )
  const [to, oldest] = found ?? []
  if (typeof to !== 'number' || typeof oldest !== 'string' || oldest >= expiry) return null
  const sql = 'delete from idempotency where rowid > ? and rowid <= ? and createdAt < ?'
  const outcome = await primary.commit({ steps: [{ sql, args: [from, to, expiry] }] })
  if (outcome.kind !== 'committed')
    throw new Error(`a sweep of idempotency keys was not committed: ${JSON.stringify(outcome)}`)
  return to
}

/** Rows of the log that one step of a compaction looks at. */
const compactRowsMax = 500

/**
 * Removes from the log, among the next `compactRowsMax` rows after `from`, what had been overtaken by `before`: the last
 * change of each record at that time stays, so that every record since can be told, and one that is made again goes on
 * from its last version. Where the log is whole from is remembered in the same transaction, as `horizon`: the highest
 * change that overtook one that was removed. Who follows from before it, or asks for records before it, is told so.
 * Answers where to go on, or null where nothing more is old enough.
 */
export async function compactLog(
  from: number,
  before: string,
  reader: Reader,
  primary: Primary,
): Promise<number | null> {
  const [found] = await reader.rows(
    'select max(seq), min(time) from (select seq, time from changes where seq > ? order by seq limit ?)',
    [from, compactRowsMax],
  )
  const [to, oldest] = found ?? []
  if (typeof to !== 'number' || typeof oldest !== 'string' || oldest >= before) return null
  const next = (column: string) =>
    `(select n.${column} from changes n where n.tenant = c.tenant and n.resource = c.resource and n.id = c.id and n.seq > c.seq order by n.seq limit 1)`
  const old = `from changes c where c.seq > ?1 and c.seq <= ?2 and ${next('time')} < ?3`
  const horizon = `insert into meta(name, value) select 'horizon', max(${next('seq')}) ${old} having count(*) > 0 on conflict(name) do update set value = excluded.value where cast(meta.value as integer) < cast(excluded.value as integer)`
  const args = [from, to, before]
  const isNone = (await reader.rows(`select 1 ${old} limit 1`, args)).length === 0
  if (isNone) return to
  const outcome = await primary.commit({
    steps: [
      { sql: horizon, args },
      { sql: `delete from changes where seq in (select c.seq ${old})`, args },
    ],
  })
  if (outcome.kind !== 'committed') throw new Error(`a compaction was not committed: ${JSON.stringify(outcome)}`)
  return to
}
