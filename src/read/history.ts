import type { Seq } from '../log/position.ts'
import { assert } from '../problem.ts'
import { type Caller, predicateSql, resolve } from '../schema/access.ts'
import { leavesOf } from '../schema/expression.ts'
import type { Reader } from '../store/reader.ts'
import type { Value } from '../value.ts'
import { formOf, type LeafSql, literalSql, recordSql } from '../version/expression-sql.ts'
import type { ResourceView } from '../version/view.ts'
import { type CursorSigner, openCursor, sealCursor } from './cursor.ts'
import { joined, type Page } from './page.ts'
import { positionSql } from './sql.ts'

/**
 * The changes of one record, the newest first, from the log, each as the caller's version shows the record; none where
 * there is no record that the caller may see. A caller sees a change where it could have read the record as it was then;
 * a deletion, which leaves no record to judge by, is seen by callers who may read every record.
 */
export async function readHistory(
  view: ResourceView,
  id: string,
  paging: { readonly limit: number; readonly after: string | null },
  caller: Caller,
  reader: Reader,
  cursors: CursorSigner,
): Promise<Page> {
  const identity = `history ${view.version} ${view.name} ${id}`
  const start = paging.after !== null ? openCursor(paging.after, { cursors, identity, caller, keys: 1 }) : null
  const args: Value[] = [caller.tenant, view.resource.name, id, start?.[0] ?? null, paging.limit + 1]
  const subject = () => `?${args.push(caller.kind === 'user' ? caller.subject : null)}`
  const visible = predicateSql(
    resolve(view.resource.access.read, caller),
    (field) => `json_extract(h.image, '$.${field}')`,
    subject,
  )
  const entry = `json_object('seq', seq, 'time', time, 'operation', operation, 'version', version, 'changed', ${changedSql(view)}, 'actor', actor, 'request', request, 'record', ${imageSql(view)})`
  const rows = await reader.rows(
    `select * from (select ${entry}, seq from changes h where tenant = ?1 and resource = ?2 and id = ?3 and (?4 is null or seq < ?4) and ${visible} order by seq desc limit ?5) union all select null, ${positionSql}`,
    args,
  )
  const found = rows.slice(0, -1)
  const page = found.slice(0, paging.limit)
  const last = page.at(-1)
  const more = found.length > paging.limit && last
  const seq = Number(rows.at(-1)?.[1] ?? 0) as Seq
  return {
    records: joined(page, (row) => String(row[0])),
    next: more ? sealCursor([last[1] ?? 0], { cursors, identity, caller }) : null,
    previous: null,
    count: null,
    seq,
    head: seq,
  }
}

/** The record after a change, as the view shows it. What the log wrote before a column was there has its default. */
function imageSql(view: ResourceView): string {
  const leaf: LeafSql = (each) => {
    assert(each.op === 'column', 'a record is read from columns')
    const fallback = view.resource.fields.get(each.name)?.fallback ?? null
    const path = `'$.${each.name}'`
    const found = each.kind === 'json' ? `nullif(h.image -> ${path}, 'null')` : `json_extract(h.image, ${path})`
    // A null that the log has is the record's own.
    const whole = `iif(json_type(h.image, ${path}) is null, ${literalSql(fallback).sql}, ${found})`
    return { sql: fallback === null ? found : whole, form: formOf(each.kind) }
  }
  return `json(iif(h.image is null, null, ${recordSql(view.fields.values(), leaf)}))`
}

/** The names of the fields that a change changed, from the names of the columns. */
function changedSql(view: ResourceView): string {
  const pairs = [...view.fields.values()].flatMap(({ name, read }) =>
    leavesOf(read).flatMap((leaf) => (leaf.op === 'column' ? [[leaf.name, name] as const] : [])),
  )
  if (pairs.every(([column, name]) => column === name)) return 'json(h.changed)'
  const names = pairs.map(([column, name]) => `('${column}', '${name}')`).join(', ')
  return `json(iif(h.changed is null, null, (select json_group_array(distinct m.column2) from json_each(h.changed) c join (values ${names}) m on m.column1 = c.value)))`
}
