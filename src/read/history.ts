import type { Seq } from '../log/position.ts'
import { type Caller, predicateSql, resolve } from '../schema/access.ts'
import type { Image } from '../schema/image.ts'
import type { Reader, Row } from '../store/reader.ts'
import type { Value } from '../value.ts'
import type { ResourceView } from '../version/view.ts'
import { type CursorSigner, openCursor, sealCursor } from './cursor.ts'
import { changedNames, parsed, recordOf } from './image.ts'
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
  const columns = 'seq, time, operation, version, changed, actor, request, image'
  const rows = await reader.rows(
    `select * from (select ${columns} from changes h where tenant = ?1 and resource = ?2 and id = ?3 and (?4 is null or seq < ?4) and ${visible} order by seq desc limit ?5) union all select ${positionSql}${', null'.repeat(7)}`,
    args,
  )
  const found = rows.slice(0, -1)
  const page = found.slice(0, paging.limit)
  const last = page.at(-1)
  const more = found.length > paging.limit && last
  const seq = Number(rows.at(-1)?.[0] ?? 0) as Seq
  return {
    records: joined(page, (row) => entryText(row, view)),
    next: more ? sealCursor([last[0] ?? 0], { cursors, identity, caller }) : null,
    previous: null,
    count: null,
    seq,
    head: seq,
  }
}

function entryText([seq, time, operation, version, changed, actor, request, image]: Row, view: ResourceView): string {
  const columns = parsed<string[]>(changed)
  return JSON.stringify({
    ...{ seq, time, operation, version, changed: columns && changedNames(view, columns) },
    ...{ actor, request, record: recordOf(parsed<Image>(image), view) },
  })
}
