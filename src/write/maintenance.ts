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
