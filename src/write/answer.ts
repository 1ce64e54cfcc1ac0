import type { Caller } from '../schema/access.ts'
import { quoted } from '../schema/field.ts'
import type { Text } from '../store/text.ts'
import { recordSql, rowLeaf } from '../version/expression-sql.ts'
import type { Command } from './command.ts'
import { type Bound, WriteParameters } from './parameters.ts'

/** What became of the command, read after it: status, version, record as JSON; and where it is read from. */
function resultOf(
  command: Command,
  p: WriteParameters,
): { status: string; version: string; record: string; from: string } {
  const { resource, fields } = command.view
  if (command.kind === 'delete') return { status: '204', version: 'null', record: 'null', from: '' }
  const last = `(select iif(operation = 'create', 201, 200) from changes where tenant = ${p.tenant} and resource = '${resource.name}' and id = ${p.id} order by seq desc limit 1)`
  const status = command.kind === 'create' ? '201' : command.kind === 'patch' ? '200' : last
  const from = ` from ${quoted(resource.name)} t where t.tenant = ${p.tenant} and t.id = ${p.id}`
  return { status, version: 't.version', record: recordSql(fields.values(), rowLeaf('t')), from }
}

/** The position of an answer that is read where nothing else writes. */
export const positionSql = '(select max(seq) from changes)'

/** The answer of a single command: status, version, record, position. */
export function compileAnswer(command: Command, caller: Caller): Text<Bound> {
  const p = new WriteParameters(caller)
  const { status, version, record, from } = resultOf(command, p)
  return p.text(`select ${status}, ${version}, ${record}, ${positionSql}${from}`)
}

/** The same, stored under the idempotency key. */
export function compileStoredAnswer(command: Command, caller: Caller): Text<Bound> {
  const p = new WriteParameters(caller)
  const { status, version, record, from } = resultOf(command, p)
  const claim = [p.tenant, p.stored('key'), p.stored('fingerprint'), p.now]
  const answer = `select ${claim.join(', ')}, ${status}, ${p.id}, ${version}, ${record}, ${positionSql}${from || ' where 1'}`
  return p.text(storeSql(answer, p.stored('expiry')))
}

/** Claims a key, or one that has expired, together with its answer; changes nothing where the key is taken. */
export function storeSql(answer: string, expiry: string): string {
  const sets = idempotencyColumns.slice(2).map((column) => `${column} = excluded.${column}`)
  return `insert into idempotency(${idempotencyColumns.join(', ')}) ${answer} on conflict(tenant, key) do update set ${sets.join(', ')} where idempotency.createdAt < ${expiry} returning status, version, body, seq`
}

const idempotencyColumns = [
  'tenant',
  'key',
  'fingerprint',
  'createdAt',
  'status',
  'id',
  'version',
  'body',
  'seq',
] as const

/** The command's result in a batch, put aside until the batch answers. */
export function compilePutAside(command: Command, caller: Caller): Text<Bound> {
  const p = new WriteParameters(caller)
  const { status, version, record, from } = resultOf(command, p)
  const index = p.add((bound) => bound.index)
  const name = command.view.name
  return p.text(
    `insert into batchResults(place, result) select ${index}, json_object('status', ${status}, 'resource', '${name}', 'id', ${p.id}, 'version', ${version}, 'record', ${record})${from}`,
  )
}

const batchBody = `(select '{"results":[' || group_concat(result, ',') || ']}' from (select result from batchResults order by place))`

/** The answer of a batch: status, no version, the results as one JSON text, position. */
export const batchAnswerSql = `select 200, null, ${batchBody}, ${positionSql}`
/** The same, stored under the idempotency key. Arguments: tenant, key, fingerprint, now, expiry. */
export const batchStoredAnswerSql = storeSql(
  `select ?1, ?2, ?3, ?4, 200, null, null, ${batchBody}, ${positionSql} where 1`,
  '?5',
)
export const batchClearSql = 'delete from batchResults'

/** What stands under a key and has not expired. Arguments: tenant, key, expiry. */
export const claimedSql =
  'select fingerprint, status, id, version, body, seq from idempotency where tenant = ? and key = ? and createdAt >= ?'
