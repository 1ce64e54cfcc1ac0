import { quoted } from '../schema/field.ts'
import type { Model, Resource } from '../schema/model.ts'
import { imageColumnSql } from '../version/image-sql.ts'

/** A table as a copy has it: rows without the constraints that only writers need, in the order of its key. */
export interface CopyTable {
  readonly name: string
  readonly columns: readonly string[]
  readonly key: readonly string[]
  /** The SQL expression of about how many bytes the row `t` has. */
  readonly bytes: string
  readonly create: readonly string[]
}

/** How the change of a record changes its row: `?1` is the tenant, `?2` the record's id, `?3` its image. */
export interface RowTexts {
  readonly put: string
  readonly remove: string
}

/**
 * What a copy that follows the log has: the tables of the model and those of the engine that reads look at. No foreign
 * key and no unique index is among them. While a copy is being made, its rows are of different moments, and two may have
 * what never was in two at once.
 */
export interface CopySchema {
  /** Those that are brought row by row, in this order: what the log changes comes after the log. */
  readonly tables: readonly CopyTable[]
  /** What makes the copy, emptying it where there is one. */
  readonly create: readonly string[]
  readonly rowTexts: ReadonlyMap<string, RowTexts>
}

const keyColumns = 'hash, id, tenant, scopes, subject, createdAt, revokedAt, version'

const changesTable: CopyTable = {
  name: 'changes',
  columns: 'seq, time, tenant, resource, id, operation, version, image, changed, actor, request'.split(', '),
  key: ['seq'],
  bytes: '200 + coalesce(octet_length(t.image), 0)',
  create: [
    'create table changes(seq integer primary key, time text, tenant text, resource text, id text, operation text, version integer, image text, changed text, actor text, request text) strict',
    'create index changes_of_record on changes(tenant, resource, id, seq)',
  ],
}

const headsTable: CopyTable = {
  name: 'heads',
  columns: ['tenant', 'resource', 'seq', 'rows'],
  key: ['tenant', 'resource'],
  bytes: '100',
  create: [
    'create table heads(tenant text, resource text, seq integer, rows integer, primary key(tenant, resource)) strict',
  ],
}

/** Of the engine's: `projections` stays empty, so that metrics tell of read models where they are kept. */
const engineTables = [
  'create table meta(name text primary key, value text) strict',
  'create table keys(hash text primary key, id text, tenant text, scopes text, subject text, createdAt text, revokedAt text, version text) strict',
  'create table projections(name text primary key, digest text, phase text, step integer, seq integer, source integer, tenant text, id text) strict',
]
const engineNames = ['meta', 'keys', 'projections']

export const putKeySql = `insert into keys(${keyColumns}) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) on conflict(hash) do update set ${keyColumns
  .split(', ')
  .slice(1)
  .map((name) => `${name} = excluded.${name}`)
  .join(', ')}`

export const keysSql = `select changed, ${keyColumns} from keys where (changed, hash) > (?1, ?2) and (?2 = '' or exists (select 1 from keys where hash = ?2)) order by changed, hash limit ?3`

export function copySchemaOf({ resources }: Model): CopySchema {
  const own = [...resources.values()].map(tableOf)
  const tables = [changesTable, headsTable, ...own]
  const drops = [...tables.map(({ name }) => name), ...engineNames].map(
    (name) => `drop table if exists ${quoted(name)}`,
  )
  return {
    tables,
    create: [...drops, ...engineTables, ...tables.flatMap(({ create }) => create)],
    rowTexts: new Map([...resources.values()].map((resource) => [resource.name, rowTextsOf(resource)])),
  }
}

function tableOf({ name, fields, indexes }: Resource): CopyTable {
  const columns = [...fields.values()]
  const typed = columns.map((field) => `${quoted(field.name)} ${typeOf(field.kind)}`)
  const texts = columns.filter(({ kind }) => typeOf(kind) === 'text')
  const sizes = texts.map((field) => `coalesce(octet_length(t.${quoted(field.name)}), 0)`)
  const indexed = indexes.filter(({ columns: [first, second] }) => first !== 'id' || second !== undefined)
  return {
    name,
    columns: ['tenant', ...columns.map((field) => field.name)],
    key: ['tenant', 'id'],
    bytes: ['200', ...sizes].join(' + '),
    create: [
      `create table ${quoted(name)}(tenant text, ${typed.join(', ')}, primary key(tenant, id)) strict`,
      ...indexed.map(
        ({ columns: names }, i) =>
          `create index ${quoted(`${name}_${i}`)} on ${quoted(name)}(tenant, ${names.map(quoted).join(', ')})`,
      ),
    ],
  }
}

function typeOf(kind: string): 'integer' | 'real' | 'text' {
  if (kind === 'integer' || kind === 'boolean') return 'integer'
  return kind === 'real' ? 'real' : 'text'
}

function rowTextsOf(resource: Resource): RowTexts {
  const fields = [...resource.fields.values()].filter(({ name }) => name !== 'id')
  const names = fields.map(({ name }) => quoted(name))
  const values = fields.map((field) => imageColumnSql(field, resource, 'c.image'))
  const table = quoted(resource.name)
  const sets = names.map((name) => `${name} = excluded.${name}`).join(', ')
  return {
    // "where true" keeps SQLite from reading "on" as the start of a join (lang_upsert.html, parsing ambiguity).
    put: `insert into ${table}(tenant, id, ${names.join(', ')}) select ?1, ?2, ${values.join(', ')} from (select ?3 as image) c where true on conflict(tenant, id) do update set ${sets}`,
    remove: `delete from ${table} where tenant = ?1 and id = ?2`,
  }
}
