import { type Position, type Seq, type TokenSealer, tokenForm } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { type Caller, resolve } from '../schema/access.ts'
import { parseInstant } from '../schema/field.ts'
import type { Image } from '../schema/image.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { Reader } from '../store/reader.ts'
import type { ResourceView } from '../version/view.ts'
import { mayRead, parsed, recordOf } from './image.ts'
import type { Found } from './page.ts'

export const momentExpected =
  '"as-of" is a position, as a Consistency-Token tells it, or a time such as 2026-01-31T12:00:00Z.'

/** Whether a text is of one of the forms that `as-of` takes. */
export function mayBeMoment(text: string): boolean {
  return tokenForm.test(text) || parseInstant(text) !== null
}

/** A moment of the log that a read asks for, and how far the log has come since. */
export interface Moment {
  readonly seq: Seq
  readonly head: Seq
}

/**
 * The last change of the log at or before a time, by halves: changes are in the order of their commits, and their times
 * never fall with it, but for those of raw SQL while the clock of the database goes back.
 */
const middle = '(low + high + 1) / 2'
const isEarly = `coalesce((select time from changes where seq <= ${middle} order by seq desc limit 1), '') <= ?1`
const momentSql = `with recursive half(low, high) as (
  select 0, coalesce(max(seq), 0) from changes
  union all
  select iif(${isEarly}, ${middle}, low), iif(${isEarly}, high, ${middle} - 1) from half where low < high
)
select low from half where low = high limit 1`

const edgesSql =
  "select coalesce((select max(seq) from changes), 0), coalesce((select cast(value as integer) from meta where name = 'horizon'), 0)"

/** The moment that `as-of` names: a position, or an instant. Throws a Problem where it is neither, or not kept. */
export async function momentOf(
  text: string,
  {
    reader,
    sealer,
    epoch,
  }: { readonly reader: Reader; readonly sealer: TokenSealer; readonly epoch: Position['epoch'] },
): Promise<Moment> {
  const position = sealer.open(text)
  const time = position === null ? parseInstant(text) : null
  if (position === null && time === null) {
    const fault = { parameter: 'as-of', code: 'invalid-value', message: momentExpected }
    throw new Problem('invalid-parameter', { detail: momentExpected, errors: [fault] })
  }
  if (position !== null && position.epoch !== epoch) {
    throw new Problem('token-from-another-epoch', {
      detail: 'The primary was restored from a backup since. What was there before can be told by time only.',
    })
  }
  const [edges] = await reader.rows(edgesSql, [])
  const [head, horizon] = [Number(edges?.[0]) as Seq, Number(edges?.[1]) as Seq]
  const found = time === null ? null : Number((await reader.rows(momentSql, [time]))[0]?.[0])
  const seq = (position?.seq ?? found ?? 0) as Seq
  if (seq > head) {
    throw new Problem('position-not-reached', {
      detail: 'This node has not reached the position that "as-of" names.',
      headers: { 'Retry-After': '1' },
    })
  }
  if (seq < horizon) throw new Problem('past-not-kept', { seq: head })
  return { seq, head }
}

const lastSql =
  'select image, version from changes where tenant = ?1 and resource = ?2 and id = ?3 and seq <= ?4 order by seq desc limit 1'

/** A record as it was at a moment, as the view shows it. */
export async function readPastRecord(
  view: ResourceView,
  id: string,
  fields: readonly ShapeField[] | null,
  caller: Caller,
  { seq }: Moment,
  reader: Reader,
): Promise<Found> {
  const [row] = await reader.rows(lastSql, [caller.tenant, view.resource.name, id, seq])
  const image = parsed<Image>(row?.[0])
  const rule = resolve(view.resource.access.read, caller)
  if (!mayRead(image, rule, view.resource, caller)) return { record: null, version: 0, seq, head: null }
  return { record: JSON.stringify(recordOf(image, view, fields)), version: Number(row?.[1]), seq, head: null }
}
