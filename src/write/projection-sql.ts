import { quoted } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { Projection, ProjectionSource } from '../schema/projection.ts'

/** Where rows of a read model are: each text takes one argument, JSON. */
export interface RowTexts {
  /** The rows that there are of a list of `[tenant, id]`: tenant, id, and the row's key and totals as JSON. */
  readonly read: string
  /** Makes or replaces a list of `[tenant, id, row]`. */
  readonly write: string
  /** Removes a list of `[tenant, id]`. */
  readonly remove: string
}

export interface ProjectionTexts {
  readonly rowsMax: number
  /**
   * Changes of the sources, in order. Arguments: the positions that it is after and up to, and a tenant and id to compare
   * with. Rows: seq, tenant, resource, id, whether (tenant, id) is at most the other, then `imageOf` of the record after
   * and before the change. The last row is how far was read, the horizon of the log, and its last change.
   */
  readonly tail: string
  /** All columns that `tail` reads of images. */
  readonly columns: readonly string[]
  /**
   * Records of each source in the order of their keys. Arguments: tenant and id to start after. Rows: tenant, id,
   * `imageOf` the record as its last change made it. The last row is the last change of all at that moment.
   */
  readonly scans: readonly string[]
  readonly table: RowTexts
  readonly made: RowTexts
  /** How many rows were made before, at most one more than a step removes; and the step. */
  readonly countMade: string
  readonly clearMade: string
  /** The next rows that are there or were made. Arguments: tenant and id to start after. Rows: tenant, id, both as JSON. */
  readonly replace: string
  /** Passes over what the step itself wrote, unless a source has changed meanwhile. Argument: the position that was read. */
  readonly settle: string
}

export const standSql =
  'select digest, phase, step, seq, source, tenant, id, (select coalesce(max(seq), 0) from changes) from projections where name = ?1'

const unread = (columns: string) =>
  `select ${columns} from changes c where c.seq > coalesce(p.seq, 0) and c.resource in (select value from json_each(n.value, '$[1]'))`

/** Argument: `[name, its sources]` as JSON. Rows: name, phase, seq, unread changes of the sources, the time of the first. */
export const lagsSql = `select n.value ->> 0, p.phase, coalesce(p.seq, 0), (select count(*) from (${unread('1')} limit ${limits.lagChangesMax})), (${unread('c.time')} order by c.seq limit 1) from json_each(?1) n left join projections p on p.name = n.value ->> 0 order by n.key`

/** Arguments: name, digest. Nothing has been read yet, so that any position is right. */
export const beginSql = `insert into projections(name, digest, phase, step, seq, source, tenant, id) select ?1, ?2, 'clear', 1, coalesce(max(seq), 0), 0, '', '' from changes where true on conflict(name) do update set digest = excluded.digest, phase = excluded.phase, step = projections.step + 1, seq = excluded.seq, source = 0, tenant = '', id = ''`

/** Arguments: name, digest, step, and the new phase, seq, source, tenant and id. */
export const moveSql =
  'update projections set step = step + 1, phase = ?4, seq = ?5, source = ?6, tenant = ?7, id = ?8 where name = ?1 and digest = ?2 and step = ?3'

const known = new WeakMap<Projection, Map<number, ProjectionTexts>>()

/** The texts of steps that look at so many rows at most. */
export function projectionTexts(projection: Projection, rowsMax: number): ProjectionTexts {
  const byRows = known.get(projection) ?? new Map<number, ProjectionTexts>()
  const texts = byRows.get(rowsMax) ?? compile(projection, rowsMax)
  known.set(projection, byRows.set(rowsMax, texts))
  return texts
}

const listed = 'select e.value ->> 0, e.value ->> 1 from json_each(?1) e'

function compile(projection: Projection, rowsMax: number): ProjectionTexts {
  const { name, sources } = projection
  const columns = [...new Set(sources.flatMap((source) => source.columns))]
  const made = `projected where projection = '${name}'`
  const resources = sources.map(({ resource }) => `'${resource.name}'`).join(', ')
  return {
    ...{ rowsMax, columns },
    tail: tailSql(columns, resources, rowsMax),
    scans: sources.map((source) => scanSql(source, rowsMax)),
    table: tableTexts(projection),
    made: {
      read: `select p.tenant, p.id, p.record from json_each(?1) e cross join projected p on p.projection = '${name}' and p.tenant = e.value ->> 0 and p.id = e.value ->> 1`,
      write: `insert into projected(projection, tenant, id, record) select '${name}', e.value ->> 0, e.value ->> 1, e.value ->> 2 from json_each(?1) e where true on conflict do update set record = excluded.record`,
      remove: `delete from ${made} and (tenant, id) in (${listed})`,
    },
    countMade: `select count(*) from (select 1 from ${made} limit ${rowsMax + 1})`,
    clearMade: `delete from ${made} and (tenant, id) in (select tenant, id from ${made} order by tenant, id limit ${rowsMax})`,
    replace: replaceSql(projection, rowsMax),
    settle: `update projections set seq = (select max(seq) from changes) where name = '${name}' and not exists (select 1 from changes where seq > ?1 and resource in (${resources}))`,
  }
}

/** What of an image is asked for: whether there is one, and each column as JSON, null where the image does not have it. */
function imageOf(columns: readonly string[], alias: string): string {
  return [`${alias}.image is not null`, ...columns.map((column) => `${alias}.image -> '${column}'`)].join(', ')
}

/** Ends a list with the row that passes the bytes, so that what a step holds in memory is bounded. */
function within(rows: string, order: string, rowsMax: number): string {
  const before = `sum(size) over (order by ${order} rows between unbounded preceding and 1 preceding)`
  return `(select *, coalesce(${before}, 0) as bytes from (${rows} order by ${order} limit ${rowsMax}))`
}

const sizeOf = (alias: string) => `coalesce(octet_length(${alias}.image), 0)`
const lastOf = (row: string, resource: string) =>
  `(select max(l.seq) from changes l where l.tenant = ${row}.tenant and l.resource = ${resource} and l.id = ${row}.id`

function tailSql(columns: readonly string[], resources: string, rowsMax: number): string {
  const found = `select c.seq, ${sizeOf('c')} as size from changes c where c.seq > ?1 and c.seq <= ?2`
  const taken = `with taken as materialized (select seq from ${within(found, 'seq', rowsMax)} where bytes < ${limits.projectionBytesMax})`
  const previous = `left join changes p on p.seq = ${lastOf('c', 'c.resource')} and l.seq < c.seq)`
  const images = `${imageOf(columns, 'c')}, ${imageOf(columns, 'p')}`
  const page = `select c.seq, c.tenant, c.resource, c.id, (c.tenant, c.id) <= (?3, ?4), ${images} from taken t cross join changes c on c.seq = t.seq ${previous} where c.resource in (${resources}) order by c.seq`
  const horizon = "coalesce((select cast(value as integer) from meta where name = 'horizon'), 0)"
  const head = '(select coalesce(max(seq), 0) from changes)'
  const nothing = ', null'.repeat(2 * columns.length + 4)
  return `${taken} select * from (${page}) union all select (select coalesce(max(seq), ?1) from taken), ${horizon}, ${head}${nothing}`
}

function scanSql({ resource: { name }, columns }: ProjectionSource, rowsMax: number): string {
  const found = `select r.tenant, r.id, ${lastOf('r', `'${name}'`)}) as seq from ${quoted(name)} r where (r.tenant, r.id) > (?1, ?2) order by r.tenant, r.id limit ${rowsMax}`
  const sized = `select f.tenant, f.id, f.seq, (select ${sizeOf('c')} from changes c where c.seq = f.seq) as size from (${found}) f`
  const taken = `select * from ${within(sized, 'tenant, id', rowsMax)} where bytes < ${limits.projectionBytesMax}`
  const page = `select t.tenant, t.id, ${imageOf(columns, 'c')} from (${taken}) t left join changes c on c.seq = t.seq order by t.tenant, t.id`
  return `select * from (${page}) union all select coalesce(max(seq), 0), null, null${', null'.repeat(columns.length)} from changes`
}

function recordSql({ key, totals }: Projection, alias: string): string {
  const members = [...key, ...totals].map(({ name }) => `'${name}', ${alias}.${quoted(name)}`)
  return `json_object(${members.join(', ')})`
}

/** What else writes the table is not known here: a row that is there is replaced, not added to. */
function tableTexts(projection: Projection): RowTexts {
  const table = quoted(projection.name)
  const columns = [...projection.key, ...projection.totals].map(({ name }) => name)
  const now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
  const values = columns.map((column) => `e.value -> 2 ->> '${column}'`)
  const sets = columns.map((column) => `${quoted(column)} = excluded.${quoted(column)}`)
  return {
    read: `select t.tenant, t.id, ${recordSql(projection, 't')} from json_each(?1) e cross join ${table} t on t.tenant = e.value ->> 0 and t.id = e.value ->> 1`,
    write: `insert into ${table}(tenant, id, createdAt, updatedAt, ${columns.map(quoted).join(', ')}) select e.value ->> 0, e.value ->> 1, ${now}, ${now}, ${values.join(', ')} from json_each(?1) e where true on conflict(tenant, id) do update set ${sets.join(', ')}, version = version + 1, updatedAt = max(updatedAt, excluded.updatedAt)`,
    remove: `delete from ${table} where (tenant, id) in (${listed})`,
  }
}

function replaceSql(projection: Projection, rowsMax: number): string {
  const next = (from: string) =>
    `select * from (select tenant, id from ${from} (tenant, id) > (?1, ?2) order by tenant, id limit ${rowsMax})`
  const table = quoted(projection.name)
  const made = `projected where projection = '${projection.name}' and`
  const both = `${next(`${table} where`)} union ${next(made)} order by 1, 2 limit ${rowsMax}`
  return `with listed as materialized (${both}) select i.tenant, i.id, iif(t.id is null, null, ${recordSql(projection, 't')}), p.record from listed i left join ${table} t on t.tenant = i.tenant and t.id = i.id left join projected p on p.projection = '${projection.name}' and p.tenant = i.tenant and p.id = i.id order by i.tenant, i.id`
}
