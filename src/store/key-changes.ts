import type { Trigger } from '../log/triggers.ts'

const nextNumber = '(select coalesce(max(changed), 0) + 1 from keys)'

/**
 * They number the changes of API keys, whoever makes them, in `keys.changed`. Keys are no records and not in the log; a
 * copy that is brought up to date by statements asks for those that have changed since.
 */
export const keyTriggers: readonly Trigger[] = [
  keyTrigger('keys_numbers_new', 'INSERT'),
  keyTrigger('keys_numbers_changed', 'UPDATE OF hash, id, tenant, scopes, subject, createdAt, revokedAt, version'),
]

function keyTrigger(name: string, event: string): Trigger {
  const sql = `CREATE TRIGGER "${name}" AFTER ${event} ON "keys" BEGIN
  update keys set changed = ${nextNumber} where hash = new.hash;
END`
  return { name, sql }
}
