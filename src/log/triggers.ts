/**
 * The triggers of one table: they log every change of a row in the change's own transaction, whoever writes, and run
 * the statements that keep derived columns true, in an order that keeps the log true: first the row is set right, then
 * its change is logged, then other rows follow. One trigger per event, because SQLite leaves the order between several
 * undefined.
 */
export interface TriggerSource {
  readonly table: string
  /** The fields of the row, whose differences make `changed`; the tenant is not among them. */
  readonly fields: readonly string[]
  /** The row `alias` as one JSON object, an SQL expression. */
  image(alias: string): string
  parts(event: 'insert' | 'update' | 'delete'): {
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
  return [insertTrigger(source), updateTrigger(source), deleteTrigger(source)]
}

function insertTrigger(source: TriggerSource): Trigger {
  const { correct, spread } = source.parts('insert')
  const log = `insert into changes(${columns}) select new.tenant, '${source.table}', new.id, 'create', new.version, ${source.image('new')}, null, ${context} ${fromContext}`
  return trigger(source, 'insert', '', [log, head(source, 'new', '+ 1'), ...correct, ...spread])
}

function updateTrigger(source: TriggerSource): Trigger {
  const { correct, spread } = source.parts('update')
  const counted = source.fields.filter((field) => field !== 'version')
  const changed = counted.map((field) => `old."${field}" is not new."${field}"`).join(' or ')
  const bump = `update "${source.table}" set version = old.version + 1 where new.version is old.version and tenant = new.tenant and id = new.id`
  const names = counted
    .filter((field) => field !== 'updatedAt')
    .map((field) => `iif(old."${field}" is not t."${field}", ',"${field}"', '')`)
    .join(' || ')
  const log = `insert into changes(${columns}) select t.tenant, '${source.table}', t.id, 'update', t.version, ${source.image('t')}, '[' || substr(${names}, 2) || ']', ${context} from "${source.table}" t left join context c on c.one = 1 where t.tenant = new.tenant and t.id = new.id`
  return trigger(source, 'update', ` when ${changed}`, [bump, ...correct, log, head(source, 'new', ''), ...spread])
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
