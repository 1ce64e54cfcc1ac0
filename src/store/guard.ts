import type { Trigger } from '../log/triggers.ts'

/**
 * Straight after a statement: fails where it changed no row. For databases that are sent a whole transaction at once and
 * decide by its errors alone. Rows that triggers change do not count.
 */
export const guardSql = 'insert into mustChange(rows) select changes()'

/** What makes `guardSql` fail, beside the view `mustChange`. */
export const guardTrigger: Trigger = {
  name: 'mustChange_refuses',
  sql: `CREATE TRIGGER "mustChange_refuses" INSTEAD OF INSERT ON "mustChange" WHEN new."rows" is 0 BEGIN
  select raise(abort, 'no row was changed');
END`,
}

/** Keeps a column that others are still being filled from: the migration that drops it takes its row away first. */
export const retiringTrigger: Trigger = {
  name: 'retiring_waits',
  sql: `CREATE TRIGGER "retiring_waits" BEFORE DELETE ON "retiring" WHEN old.tenant is not null BEGIN
  select raise(abort, 'a column that it drops has not been filled over to those that take its place; migrate with the release before first, "bun run migrate" there');
END`,
}
