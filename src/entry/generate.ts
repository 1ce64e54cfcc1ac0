import { Database } from 'bun:sqlite'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Trigger } from '../log/triggers.ts'
import type { Model } from '../schema/model.ts'
import { migrateDatabase, migrationsOf } from '../store/migrate.ts'
import { modelTriggers } from './triggers.ts'

const breakpoint = '\n--> statement-breakpoint\n'

/**
 * Writes the next migration: what drizzle-kit finds changed in the tables, made STRICT, and the triggers that differ
 * from those that the committed migrations make. Older migrations are never touched. Answers the new file's tag, or
 * null where the migrations already make the model. `root` holds drizzle.config.ts and drizzle/.
 */
export async function generate(root: string, model: Model, name: string): Promise<string | null> {
  const folder = join(root, 'drizzle')
  const before = tagsOf(folder)
  await drizzleKit(root, ['generate', '--name', name])
  let tag = newTag(folder, before)
  if (tag) rewrite(folder, tag, makeStrict)
  const changes = await triggerChanges(folder, model)
  if (changes.length === 0) return tag
  if (!tag) {
    await drizzleKit(root, ['generate', '--custom', '--name', name])
    tag = newTag(folder, before)
    if (!tag) throw new Error('drizzle-kit made no migration to put the triggers in')
    rewrite(folder, tag, () => '')
  }
  rewrite(folder, tag, (sql) =>
    [sql.trimEnd(), ...changes]
      .filter((part) => part !== '')
      .join(breakpoint)
      .concat('\n'),
  )
  return tag
}

/** The statements that turn the triggers which the migrations make into those which the model asks for. */
export async function triggerChanges(folder: string, model: Model): Promise<string[]> {
  const database = new Database(':memory:')
  if (tagsOf(folder).length > 0) await migrateDatabase(database, folder)
  const made = database.query("select name, sql from sqlite_master where type = 'trigger'").all() as Trigger[]
  const hasContext = database.query("select 1 from sqlite_master where name = 'context'").get() !== null
  const seeded = hasContext && database.query('select 1 from context').get() !== null
  database.close()
  const wanted = new Map(modelTriggers(model).map((trigger) => [trigger.name, trigger.sql]))
  const stale = made.filter((trigger) => wanted.get(trigger.name) !== trigger.sql)
  const right = new Set(
    made.filter((trigger) => wanted.get(trigger.name) === trigger.sql).map((trigger) => trigger.name),
  )
  return [
    ...(seeded ? [] : ['INSERT INTO context(one) VALUES (1);']),
    ...stale.map((trigger) => `DROP TRIGGER "${trigger.name}";`),
    ...[...wanted].filter(([triggerName]) => !right.has(triggerName)).map(([, sql]) => `${sql};`),
  ]
}

function tagsOf(folder: string): string[] {
  try {
    return migrationsOf(folder).map((migration) => migration.tag)
  } catch {
    return [] // No journal: the first migration is yet to be made.
  }
}

function newTag(folder: string, before: readonly string[]): string | null {
  return tagsOf(folder).find((tag) => !before.includes(tag)) ?? null
}

function rewrite(folder: string, tag: string, change: (sql: string) => string) {
  const file = join(folder, `${tag}.sql`)
  writeFileSync(file, change(readFileSync(file, 'utf8')))
}

/** drizzle-kit cannot say STRICT, which also wants `text` where it says `text(36)`. */
export function makeStrict(sql: string): string {
  return sql
    .split('--> statement-breakpoint')
    .map((statement) =>
      /^\s*CREATE TABLE/i.test(statement)
        ? statement.replace(/\btext\(\d+\)/g, 'text').replace(/\);(\s*)$/, ') STRICT;$1')
        : statement.replace(/(ADD `\w+` )text\(\d+\)/g, '$1text'),
    )
    .join('--> statement-breakpoint')
}

/** Runs drizzle-kit at the terminal of the caller, because it asks whether a column was renamed or replaced. */
async function drizzleKit(root: string, args: readonly string[]) {
  const bin = join(root, 'node_modules', 'drizzle-kit', 'bin.cjs')
  const child = Bun.spawn([process.execPath, bin, ...args], { cwd: root, stdio: ['inherit', 'inherit', 'inherit'] })
  const code = await child.exited
  if (code !== 0) throw new Error(`drizzle-kit ${args.join(' ')} ended with code ${code}`)
}
