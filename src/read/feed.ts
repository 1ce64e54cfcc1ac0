import type { Seq } from '../log/position.ts'
import { assert } from '../problem.ts'
import { type Caller, resolve } from '../schema/access.ts'
import type { Image } from '../schema/image.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { Reader, Row } from '../store/reader.ts'
import type { Json, Value } from '../value.ts'
import type { ResourceView, View } from '../version/view.ts'
import { changedNames, mayRead, parsed, recordOf } from './image.ts'

/**
 * The log as callers follow it: from a position on, every change that a caller may see, in order, as its version of the
 * API shows the record. Whoever holds what a read answered at a position, and follows from there, has what the database
 * has: a record that leaves what the caller may read is told as deleted.
 */
export interface LoggedChange {
  readonly seq: Seq
  readonly time: string
  readonly tenant: string
  /** By its name in the tables. */
  readonly resource: string
  readonly id: string
  readonly operation: 'create' | 'update' | 'delete'
  readonly version: number
  /** The record after the change, null after its deletion; and before it, where a rule of access may tell the two apart. */
  readonly image: Image | null
  readonly previous: Image | null
  /** The columns that an update changed. */
  readonly changed: readonly string[] | null
  readonly actor: string | null
  readonly request: string | null
}

/** What a follower asks for. */
export interface Interest {
  readonly caller: Caller
  readonly view: View
  /** Null for all that the caller may read. */
  readonly resource: ResourceView | null
  readonly id: string | null
  /** The fields of the records; null for all. */
  readonly fields: readonly ShapeField[] | null
}

/** A change as a follower sees it. */
export interface ChangeEvent {
  readonly seq: Seq
  readonly time: string
  readonly resource: string
  readonly id: string
  readonly operation: LoggedChange['operation']
  readonly version: number
  readonly changed: readonly string[] | null
  readonly actor: string | null
  readonly request: string | null
  readonly record: Json
}

/** Part of the log, and how far it was read: everything up to `reached` is in it. */
export interface LogPage {
  readonly changes: readonly LoggedChange[]
  readonly reached: Seq
  /** The last change that there is. */
  readonly head: Seq
  /** Changes up to here may have been compacted: a follower who has not had them all cannot go on. */
  readonly horizon: Seq
}

/** Which part of the log is read. */
export interface LogPart {
  /** Null for the changes of all, for a node that serves many followers from one look at its log. */
  readonly tenant: string | null
  readonly after: Seq
  /** About the bytes of its records. One change is read however large it is. */
  readonly bytesMax: number
}

/** The changes after a position, at most `limits.feedScanRowsMax` of them. */
export async function readLog(model: Model, reader: Reader, { tenant, after, bytesMax }: LogPart): Promise<LogPage> {
  const sql = logSql(model, tenant !== null)
  const rows = await reader.rows(sql, [after, limits.feedScanRowsMax, bytesMax, ...(tenant === null ? [] : [tenant])])
  const facts = rows.at(-1)
  assert(facts, 'a page of the log always has its facts')
  const changes = rows.slice(0, -1).map(changeOf)
  const [head, horizon, found] = facts.map(Number) as [Seq, Seq, number]
  const isPart = found === limits.feedScanRowsMax || changes.length < found
  const last = changes.at(-1)?.seq ?? after
  return { changes, head, horizon, reached: isPart ? last : (Math.max(head, after) as Seq) }
}

/** The changes with these numbers that the log still has. */
export async function readChanges(model: Model, reader: Reader, seqs: readonly Seq[]): Promise<LoggedChange[]> {
  const sql = `select ${changeColumns(model)} from json_each(?1) j cross join changes c on c.seq = j.value`
  return (await reader.rows(sql, [JSON.stringify(seqs)])).map(changeOf)
}

const textByModel = new WeakMap<Model, Map<boolean, string>>()

function logSql(model: Model, ofOneTenant: boolean): string {
  const texts = textByModel.get(model) ?? new Map<boolean, string>()
  const known = texts.get(ofOneTenant)
  if (known) return known
  const where = ofOneTenant ? 'tenant = ?4 and seq > ?1' : 'seq > ?1'
  // What a page holds in memory is bounded: it ends with the change that passes the bytes.
  const preceding = 'rows between unbounded preceding and 1 preceding'
  const bytes = `coalesce(sum(coalesce(octet_length(image), 0)) over (order by seq ${preceding}), 0)`
  const found = `with found as materialized (select seq, ${bytes} as bytes from changes where ${where} order by seq limit ?2)`
  const page = `select ${changeColumns(model)} from found f cross join changes c on c.seq = f.seq where f.bytes < ?3 order by c.seq`
  const position = 'coalesce((select max(seq) from changes), 0)'
  const horizon = "coalesce((select cast(value as integer) from meta where name = 'horizon'), 0)"
  const facts = `${position}, ${horizon}, (select count(*) from found)${', null'.repeat(9)}`
  const sql = `${found} select * from (${page}) union all select ${facts}`
  textByModel.set(model, texts.set(ofOneTenant, sql))
  return sql
}

/** What `changeOf` takes of the change `c`: the image before it where a rule of access may tell the two apart. */
function changeColumns(model: Model): string {
  const ruled = [...model.resources.values()].filter(({ access }) => access.read.kind !== 'anyone')
  const names = ruled.map(({ name }) => `'${name}'`).join(', ')
  const before =
    '(select p.image from changes p where p.tenant = c.tenant and p.resource = c.resource and p.id = c.id and p.seq < c.seq order by p.seq desc limit 1)'
  const previous = `iif(c.operation = 'delete' or c.resource in (${names}), ${before}, null)`
  return `c.seq, c.time, c.tenant, c.resource, c.id, c.operation, c.version, c.image, ${previous}, c.changed, c.actor, c.request`
}

function changeOf(row: Row): LoggedChange {
  const [seq, time, tenant, resource, id, operation, version, image, previous, changed, actor, request] = row
  return {
    seq: Number(seq) as Seq,
    ...{ time: String(time), tenant: String(tenant), resource: String(resource), id: String(id) },
    operation: operation as LoggedChange['operation'],
    version: Number(version),
    ...{ image: parsed(image), previous: parsed(previous), changed: parsed(changed) },
    ...{ actor: textOf(actor), request: textOf(request) },
  }
}

function textOf(value: Value | undefined): string | null {
  return typeof value === 'string' ? value : null
}

/** What a change does to what a follower sees: it shows the record, takes it away, or is none of the follower's. */
export type Sight = 'shown' | 'gone' | 'hidden'

export function sightOf(change: LoggedChange, interest: Interest): Sight {
  const { caller, id } = interest
  if (change.tenant !== caller.tenant || (id !== null && change.id !== id)) return 'hidden'
  const view = viewOf(change, interest)
  if (view === null) return 'hidden'
  const rule = resolve(view.resource.access.read, caller)
  if (mayRead(change.image, rule, view.resource, caller)) return 'shown'
  return mayRead(change.previous, rule, view.resource, caller) ? 'gone' : 'hidden'
}

/**
 * A change as a follower sees it; null where it is none of the follower's. Of the caller only the sight is in it: those
 * who see the same of a change are told the same.
 */
export function eventOf(
  change: LoggedChange,
  interest: Interest,
  sight: Sight = sightOf(change, interest),
): ChangeEvent | null {
  const shown = sight === 'hidden' ? null : viewOf(change, interest)
  if (shown === null) return null
  const { seq, time, version, actor, request } = change
  const told = { seq, time, resource: shown.name, id: change.id, version, actor, request }
  if (sight === 'gone') return { ...told, operation: 'delete', changed: null, record: null }
  const changed = change.changed && changedNames(shown, change.changed)
  return { ...told, operation: change.operation, changed, record: recordOf(change.image, shown, interest.fields) }
}

/** The resource of a change as a follower's version shows it; null where the follower has not asked for it. */
function viewOf({ resource }: LoggedChange, { view, resource: only }: Interest): ResourceView | null {
  if (only) return only.resource.name === resource ? only : null
  for (const each of view.resources.values()) if (each.resource.name === resource) return each
  return null
}
