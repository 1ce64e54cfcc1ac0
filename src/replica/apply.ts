import type { Seq } from '../log/position.ts'
import type { Row } from '../store/reader.ts'
import type { Value } from '../value.ts'
import type { CopySchema } from './copy-schema.ts'

/** The database of a copy, which it has for itself. Driver: `store/object-sqlite.ts`. */
export interface CopyDatabase {
  rows(sql: string, args: readonly Value[]): readonly Row[]
  /** What is done in `work` is done as a whole or not at all, and outlives a crash. */
  transaction(work: () => void): void
}

/** Applies one change of the log, inside the transaction that moves the copy to its position. */
export function applyChange(database: CopyDatabase, tables: CopySchema, change: Row) {
  const [seq = null, , tenant = null, resource = null, id = null, operation, , image = null] = change
  database.rows(putChangeSql, change)
  const head = operation === 'create' ? headSql.create : operation === 'delete' ? headSql.delete : headSql.update
  database.rows(head, [tenant, resource, seq])
  // A resource that this program does not know is one of a release to come.
  const texts = tables.rowTexts.get(String(resource))
  if (!texts) return
  if (operation === 'delete') database.rows(texts.remove, [tenant, id])
  else database.rows(texts.put, [tenant, id, image])
}

/** Takes out of the log what was taken out of the primary's, and perhaps what soon will be. */
export function compact(database: CopyDatabase, horizon: Seq) {
  database.rows(compactSql, [horizon])
  database.rows(putMetaSql, ['horizon', String(horizon)])
}

export const putMetaSql =
  'insert into meta(name, value) values (?1, ?2) on conflict(name) do update set value = excluded.value'

const putChangeSql =
  'insert or replace into changes(seq, time, tenant, resource, id, operation, version, image, changed, actor, request) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)'

/** What a change does to how many records there are, unless the head that was brought has counted it. */
const headSql = {
  create: headText(1, '+ 1'),
  update: headText(0, ''),
  delete: headText(0, '- 1'),
}

function headText(first: number, change: string): string {
  return `insert into heads(tenant, resource, seq, rows) values (?1, ?2, ?3, ${first}) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows ${change} where excluded.seq > seq`
}

const compactSql =
  'delete from changes where seq in (select c.seq from changes c where c.seq < ?1 and exists (select 1 from changes n where n.tenant = c.tenant and n.resource = c.resource and n.id = c.id and n.seq > c.seq and n.seq <= ?1))'
