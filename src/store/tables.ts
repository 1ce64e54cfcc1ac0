import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, sqliteView, text, uniqueIndex } from 'drizzle-orm/sqlite-core'

/** The engine's own tables. Triggers and the write path fill them; migrations make them beside the model's. */

/** The log: one row for each change of a record, in the order of commits. `image` is the record after it. */
export const changes = sqliteTable(
  'changes',
  {
    seq: integer().primaryKey({ autoIncrement: true }),
    time: text().notNull(),
    tenant: text().notNull(),
    resource: text().notNull(),
    id: text().notNull(),
    operation: text({ enum: ['create', 'update', 'delete'] }).notNull(),
    version: integer().notNull(),
    image: text(),
    changed: text(),
    actor: text(),
    request: text(),
  },
  (t) => [index('changes_of_record').on(t.tenant, t.resource, t.id, t.seq)],
)

/** Per tenant and resource: the last change, and how many records there are. */
export const heads = sqliteTable(
  'heads',
  {
    tenant: text().notNull(),
    resource: text().notNull(),
    seq: integer().notNull(),
    rows: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenant, t.resource] })],
)

/** Who writes, for the log: set at the start of a command and cleared at its end, inside its transaction. */
export const context = sqliteTable('context', {
  one: integer().primaryKey(),
  actor: text(),
  request: text(),
  time: text(),
})

/** Copies that a change was too large to bring up to date in its own transaction. */
export const fanout = sqliteTable('fanout', {
  id: integer().primaryKey({ autoIncrement: true }),
  tenant: text().notNull(),
  source: text().notNull(),
  target: text().notNull(),
  field: text().notNull(),
  reached: text().default(''),
})

/**
 * Columns that retire. Those that take their place are filled from them in the order of tenant and id; the two are where
 * that has got to, and `tenant` is null when it is done.
 */
export const retiring = sqliteTable(
  'retiring',
  {
    resource: text().notNull(),
    field: text().notNull(),
    tenant: text(),
    id: text(),
  },
  (t) => [primaryKey({ columns: [t.resource, t.field] })],
)

/**
 * Where each read model stands. `seq`: everything up to that change is in its rows while it follows, else in the rows
 * that are being made beside them. `digest` is of the declaration that they are made by, and `step` counts what its
 * consumers did, so that of two that do the same only one does it. The others are where a phase has got to.
 */
export const projections = sqliteTable('projections', {
  name: text().primaryKey(),
  digest: text().notNull(),
  phase: text({ enum: ['clear', 'scan', 'replace', 'follow'] }).notNull(),
  step: integer().notNull(),
  seq: integer().notNull(),
  source: integer().notNull(),
  tenant: text().notNull(),
  id: text().notNull(),
})

/** Rows of read models that are being made anew, until they take the place of the old ones. `record` is JSON. */
export const projected = sqliteTable(
  'projected',
  {
    projection: text().notNull(),
    tenant: text().notNull(),
    id: text().notNull(),
    record: text().notNull(),
  },
  (t) => [primaryKey({ columns: [t.projection, t.tenant, t.id] })],
)

/** Idempotency keys with the answers they stand for; `body` is null where the answer has none. */
export const idempotency = sqliteTable(
  'idempotency',
  {
    tenant: text().notNull(),
    key: text().notNull(),
    fingerprint: text().notNull(),
    createdAt: text().notNull(),
    status: integer(),
    id: text(),
    version: integer(),
    body: text(),
    seq: integer(),
  },
  (t) => [primaryKey({ columns: [t.tenant, t.key] })],
)

/** The results of a batch's commands, in their order, until the batch answers; empty between transactions. */
export const batchResults = sqliteTable('batchResults', {
  place: integer().primaryKey(),
  result: text().notNull(),
})

/** Takes the count of rows that a statement changed, and refuses none: see `guard.ts`. It holds nothing. */
export const mustChange = sqliteView('mustChange', { rows: integer() }).as(sql`select 0 as "rows"`)

/** API keys, by the SHA-256 of the key. The key itself is nowhere. */
export const keys = sqliteTable(
  'keys',
  {
    hash: text().primaryKey(),
    id: text().notNull(),
    tenant: text().notNull(),
    scopes: text().notNull(),
    subject: text(),
    createdAt: text().notNull(),
    revokedAt: text(),
    /** The date of the API version that its requests get which name none; null for the model's default. */
    version: text(),
    /** Rises with each change of any key: `key-changes.ts` sets it. 0 where it has not changed since there are such numbers. */
    changed: integer().notNull().default(0),
  },
  (t) => [index('keys_changed').on(t.changed, t.hash)],
)

/** Where changes are sent on to: one row for each receiver. `secret` signs, and `previousSecret` beside it for a time. */
export const webhooks = sqliteTable(
  'webhooks',
  {
    tenant: text().notNull(),
    id: text().notNull(),
    url: text().notNull(),
    /** The names of resources in its version, as a JSON array; null for all. */
    resources: text(),
    version: text().notNull(),
    secret: text().notNull(),
    previousSecret: text(),
    previousUntil: text(),
    state: text({ enum: ['active', 'disabled'] }).notNull(),
    reason: text(),
    /** Of the key that made it, whose rights it has: the scopes as a JSON array. */
    scopes: text().notNull(),
    subject: text(),
    /** Everything up to here has its deliveries. */
    cursor: integer().notNull(),
    createdAt: text().notNull(),
    updatedAt: text().notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenant, t.id] }), uniqueIndex('webhooks_by_id').on(t.id)],
)

/**
 * What is sent to a webhook: one row for each change of the log that it is told of. `nextAt` is when it is tried next;
 * null where it has ended, where it waits for an earlier change of its record, and where its webhook is disabled.
 */
export const deliveries = sqliteTable(
  'deliveries',
  {
    webhook: text().notNull(),
    seq: integer().notNull(),
    resource: text().notNull(),
    record: text().notNull(),
    state: text({ enum: ['pending', 'delivered', 'failed'] }).notNull(),
    attempts: integer().notNull(),
    nextAt: text(),
    status: integer(),
    error: text(),
    createdAt: text().notNull(),
    endedAt: text(),
  },
  (t) => [
    primaryKey({ columns: [t.webhook, t.seq] }),
    index('deliveries_of_record').on(t.webhook, t.state, t.resource, t.record, t.seq),
    index('deliveries_due').on(t.webhook, t.nextAt, t.seq),
    index('deliveries_ended').on(t.endedAt),
  ],
)

/** Facts of the database itself: its epoch and the secret that seals tokens and cursors. */
export const meta = sqliteTable('meta', {
  name: text().primaryKey(),
  value: text().notNull(),
})
