import { Database } from 'bun:sqlite'
import { driftSql } from '../../src/schema/derived.ts'
import type { Model } from '../../src/schema/model.ts'

/**
 * What became of writes: every acknowledged one must be stored once, a refused one never, one without an answer at
 * most once, and nothing else may be there.
 */
export interface Writes {
  readonly acknowledged: Iterable<string>
  readonly refused: Iterable<string>
  readonly unanswered: Iterable<string>
}

export const nothingWrong = { lost: [], twice: [], ghost: [], foreign: [] }

export function account(
  { acknowledged, refused, unanswered }: Writes,
  stored: Iterable<string>,
): Record<keyof typeof nothingWrong, string[]> {
  const times = new Map<string, number>()
  for (const each of stored) times.set(each, (times.get(each) ?? 0) + 1)
  const acked = new Set(acknowledged)
  const known = new Set([...acked, ...refused, ...unanswered])
  return {
    lost: [...acked].filter((each) => !times.has(each)),
    twice: [...times].filter(([, count]) => count > 1).map(([each]) => each),
    ghost: [...refused].filter((each) => times.has(each) && !acked.has(each)),
    foreign: [...times.keys()].filter((each) => !known.has(each)),
  }
}

/**
 * Everything that is not as it must be in a database at rest, as sentences: the file itself, references, the log
 * against the tables, heads, what a write leaves behind, derived columns. Empty where all is well.
 */
export function complaintsAbout(file: string, model: Model): string[] {
  using database = new Database(file, { readonly: true })
  const all = (sql: string, ...args: (string | number)[]) => database.query<Row, (string | number)[]>(sql).all(...args)
  const complaints: string[] = []
  const expectNone = (what: string, rows: readonly unknown[]) => {
    if (rows.length > 0) complaints.push(`${what}: ${rows.length}, such as ${JSON.stringify(rows[0])}`)
  }
  const [integrity] = all('pragma integrity_check').map((row) => Object.values(row)[0])
  if (integrity !== 'ok') complaints.push(`integrity_check says ${integrity}`)
  expectNone('broken references', all('pragma foreign_key_check'))
  expectNone('context left behind', all('select * from context where coalesce(actor, request, time) is not null'))
  expectNone('batch results left behind', all('select * from batchResults'))
  expectNone('claims without an answer', all('select key from idempotency where status is null'))
  expectNone('fan-outs queued', all('select * from fanout'))
  expectNone('gaps in the versions of the log', all(versionGaps))
  for (const resource of model.resources.values()) {
    const image = [...resource.fields.values()].filter((field) => field.kind !== 'json').map((field) => field.name)
    expectNone(`${resource.name} that differ from the log`, all(logAgainstTable(resource.name, image)))
    expectNone(`${resource.name} in the log only`, all(loggedButGone(resource.name)))
    expectNone(`heads of ${resource.name} that are wrong`, all(wrongHeads(resource.name)))
    for (const derived of resource.derived.values())
      expectNone(`${resource.name}.${derived.column} that drifted`, all(driftSql(derived), '', '', 1_000))
  }
  return complaints
}

/** The tables in which two databases differ, as sentences. Empty where they hold the same. */
export function differencesBetween(file: string, other: string): string[] {
  using database = new Database(file, { readonly: true })
  using second = new Database(other, { readonly: true })
  const names = database.query<{ name: string }, []>(
    "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'",
  )
  return names.all().flatMap(({ name }) => {
    const rowsIn = (each: Database) =>
      new Set(
        each
          .query(`select * from "${name}"`)
          .values()
          .map((row) => JSON.stringify(row)),
      )
    const [rows, others] = [rowsIn(database), rowsIn(second)]
    const missing = [...rows.difference(others)]
    const more = [...others.difference(rows)]
    const [example] = [...missing, ...more]
    return example === undefined
      ? []
      : [`${name}: ${missing.length} missing and ${more.length} more in ${other}, such as ${example}`]
  })
}

type Row = Record<string, string | number | null>

/** A record's version rises by one with each change, over its deletions too. */
const versionGaps = `select * from (
  select tenant, resource, id, version, lag(version) over (partition by tenant, resource, id order by seq) as before from changes
) where version is not coalesce(before, 0) + 1`

const lastChange = (resource: string, row: string) =>
  `(select max(seq) from changes where tenant = ${row}.tenant and resource = '${resource}' and id = ${row}.id)`

function logAgainstTable(resource: string, fields: readonly string[]): string {
  const differs = fields.map((field) => `json_extract(c.image, '$.${field}') is not t."${field}"`)
  return `select t.tenant, t.id, t.version, c.version as logged from "${resource}" t
    left join changes c on c.seq = ${lastChange(resource, 't')}
    where c.operation is null or c.operation = 'delete' or ${differs.join(' or ')}`
}

function loggedButGone(resource: string): string {
  return `select c.tenant, c.id, c.seq from changes c where c.resource = '${resource}' and c.operation <> 'delete'
    and c.seq = ${lastChange(resource, 'c')}
    and not exists (select 1 from "${resource}" t where t.tenant = c.tenant and t.id = c.id)`
}

function wrongHeads(resource: string): string {
  const counted = `(select count(*) from "${resource}" t where t.tenant = h.tenant)`
  const last = `(select max(seq) from changes c where c.tenant = h.tenant and c.resource = '${resource}')`
  return `select *, ${counted} as counted, ${last} as last from heads h
    where resource = '${resource}' and (rows is not ${counted} or seq is not ${last})`
}
