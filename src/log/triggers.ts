/**
 * The triggers of one table: they log every change of a row in the change's own transaction, whoever writes, and run
 * the statements that keep derived columns true, in an order that keeps the log true: first the row is set right, then
 * its change is logged, then other rows follow. One trigger per event, because SQLite leaves the order between several
 * undefined.
 *
 * They hold with `PRAGMA recursive_triggers` off and on. Off, SQLite runs no trigger for a row that REPLACE removes:
 * replacing a record by its key is refused then, since its end would be missing from the log. A REPLACE that removes
 * another record, through a unique index, cannot be seen: write `ON CONFLICT ... DO UPDATE`, or switch the pragma on.
 * Raw SQL that changes a version and nothing else is not a change of the record, and is not logged.
 */
export interface TriggerSource {
  readonly table: string
  /** The fields of the row, whose differences make `changed`; the tenant is not among them. */
  readonly fields: readonly string[]
  /** The fields that `settle` and `correct` may set. */
  readonly corrected: readonly string[]
  /** The row `alias` as one JSON object, an SQL expression. */
  image(alias: string): string
  /** `settle` sets right what a new row must have from the first. */
  parts(event: 'insert' | 'update' | 'delete'): {
    readonly settle: readonly string[]
    readonly correct: readonly string[]
    readonly spread: readonly string[]
  }
}

export interface Trigger {
  readonly name: string
  readonly sql: string
}

const columns = 'tenant, resource, id, operation, version, image, changed, actor, request, time'
const context = "c.actor, c.request, coalesce(c.time, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
const fromContext = 'from (select 1) left join context c on c.one = 1'

export function tableTriggers(source: TriggerSource): Trigger[] {
  return [keyTrigger(source), insertTrigger(source), updateTrigger(source), deleteTrigger(source)]
}

/** A record with another key would be another record, and the log would tell neither the end nor the beginning. */
function keyTrigger({ table }: TriggerSource): Trigger {
  const name = `${table}_keeps_key`
  return {
    name,
    sql: `CREATE TRIGGER "${name}" BEFORE UPDATE OF tenant, id ON "${table}" WHEN old.tenant is not new.tenant or old.id is not new.id BEGIN
  select raise(abort, '${table}: the tenant and the id of a record never change');
END`,
  }
}

/** A record whose id was there before goes on from its last version, so that a version never means two things. */
function insertTrigger(source: TriggerSource): Trigger {
  const { settle, correct, spread } = source.parts('insert')
  const { table } = source
  const last = `from changes where tenant = new.tenant and resource = '${table}' and id = new.id order by seq desc limit 1`
  const refuse = `raise(abort, '${table}: REPLACE hides the end of the record it replaces from the log; use ON CONFLICT (tenant, id) DO UPDATE, or PRAGMA recursive_triggers = ON')`
  const goOn = `update "${table}" set version = (select case operation when 'delete' then version + 1 else ${refuse} end ${last}) where exists (select 1 ${last}) and tenant = new.tenant and id = new.id`
  const log = `insert into changes(${columns}) select t.tenant, '${table}', t.id, 'create', t.version, ${source.image('t')}, null, ${context} from "${table}" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id`
  return trigger(source, 'insert', '', [goOn, ...settle, log, head(source, 'new', '+ 1'), ...correct, ...spread])
}

function updateTrigger(source: TriggerSource): Trigger {
  const { correct, spread } = source.parts('update')
  const counted = source.fields.filter((field) => field !== 'version')
  const differ = (fields: readonly string[]) =>
    fields.map((field) => `old."${field}" is not new."${field}"`).join(' or ')
  const bump = `update "${source.table}" set version = old.version + 1 where new.version is not old.version + 1 and tenant = new.tenant and id = new.id`
  const names = counted
    .filter((field) => field !== 'updatedAt')
    .map((field) => `iif(old."${field}" is not t."${field}", ',"${field}"', '')`)
    .join(' || ')
  const log = `insert into changes(${columns}) select t.tenant, '${source.table}', t.id, 'update', t.version, ${source.image('t')}, '[' || substr(${names}, 2) || ']', ${context} from "${source.table}" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id`
  const written = counted.filter((field) => !source.corrected.includes(field))
  // A version turned negative marks the correction of a row whose change is being logged already: see derived.ts.
  const isCorrection = `new.version = -old.version and old.version > 0 and not (${differ(written)})`
  const when = ` WHEN (${differ(counted)})${source.corrected.length > 0 ? ` and not (${isCorrection})` : ''}`
  return trigger(source, 'update', when, [bump, ...correct, log, head(source, 'new', ''), ...spread])
}

function deleteTrigger(source: TriggerSource): Trigger {
  const { spread } = source.parts('delete')
  const log = `insert into changes(${columns}) select old.tenant, '${source.table}', old.id, 'delete', old.version + 1, null, null, ${context} ${fromContext}`
  return trigger(source, 'delete', '', [log, head(source, 'old', '- 1'), ...spread])
}

/** Moves the head of the tenant's resource: the last change it saw, and how many records it has. */
function head(source: TriggerSource, row: 'old' | 'new', rows: string): string {
  const start = rows === '+ 1' ? 1 : 0
  return `insert into heads(tenant, resource, seq, rows) values (${row}.tenant, '${source.table}', last_insert_rowid(), ${start}) on conflict(tenant, resource) do update set seq = excluded.seq, rows = rows ${rows}`
}

function trigger(source: TriggerSource, event: string, when: string, statements: readonly string[]): Trigger {
  const name = `${source.table}_after_${event}`
  const body = statements.map((statement) => `  ${statement};`).join('\n')
  return {
    name,
    sql: `CREATE TRIGGER "${name}" AFTER ${event.toUpperCase()} ON "${source.table}"${when} BEGIN\n${body}\nEND`,
  }
}
