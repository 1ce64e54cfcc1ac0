import { Database } from 'bun:sqlite'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { backfillSql, isKeptBy } from '../schema/derived.ts'
import type { Model } from '../schema/model.ts'
import { goneNames } from '../schema/retiring.ts'
import { connectionOver } from '../store/bun-sqlite.ts'
import { migrateDatabase } from '../store/migrate.ts'
import { migrationsOf } from '../store/migrations.ts'
import { arrivals, columnsOf, departures, dropsBefore, isOurs, madeDifference, madeIn, retiringIn } from './made.ts'
import { CommandError } from './node.ts'

const breakpoint = '\n--> statement-breakpoint\n'

/** The new migration's file, without its ending, and what to know before it is applied, sentences. */
export interface Generated {
  readonly tag: string
  readonly notes: readonly string[]
}

/**
 * Writes the next migration: what drizzle-kit finds changed in the tables, made STRICT and safe for the data that is
 * there, the triggers and views that differ from those that the committed migrations make, the columns that retire, and
 * the values of derived columns that are new. Older migrations are never touched. Answers null where the migrations
 * already make the model. `root` holds drizzle.config.ts and drizzle/. Throws a CommandError, leaving the folder as it
 * was, where the change cannot be migrated.
 */
export async function generate(root: string, model: Model, name: string): Promise<Generated | null> {
  const folder = join(root, 'drizzle')
  const undo = remember(folder)
  try {
    const before = tagsOf(folder)
    const notes = await retiringNotes(folder, before, model)
    await drizzleKit(root, ['generate', '--name', name], 'inherit')
    let tag = newTag(folder, before)
    const statements = await migrationStatements(folder, before, tag, model)
    if (statements.length === 0) return tag ? { tag, notes } : null
    if (!tag) {
      await drizzleKit(root, ['generate', '--custom', '--name', name], 'ignore')
      tag = newTag(folder, before)
      if (!tag) throw new CommandError('drizzle-kit made no migration to put the triggers in.')
    }
    writeFileSync(join(folder, `${tag}.sql`), `${statements.join(breakpoint)}\n`)
    const rest = await madeChanges(folder, model)
    if (rest.length > 0) throw new Error(`broken invariant: the new migration leaves ${rest.join(' ')}`)
    return { tag, notes }
  } catch (error) {
    undo()
    throw error
  }
}

/** What the new migration must say, tables and triggers. `tag` is drizzle-kit's part of it, which may be missing. */
async function migrationStatements(folder: string, before: readonly string[], tag: string | null, model: Model) {
  using database = await migrated(folder, before)
  const made = madeIn(database)
  const tables = tag ? statementsOf(readFileSync(join(folder, `${tag}.sql`), 'utf8')) : []
  const isDeep = tables.some((sql) => !/^(CREATE|ALTER TABLE \S+ ADD|PRAGMA)\b/i.test(sql))
  const first = departures(database, model).map(({ sql }) => sql)
  const dropped = isDeep ? dropsBefore(made) : []
  for (const sql of [...first, ...dropped]) database.run(sql)
  const safe = tables.map((sql) => applyStatement(database, sql))
  checkFields(database, model)
  const difference = madeDifference(database, model)
  for (const sql of difference) runOrRefuse(database, sql)
  const foreign = isDeep ? made.filter((each) => each.name !== 'mustChange' && !isOurs(each, model)) : []
  const again = foreign.filter((each) => isThere(database, each)).map(({ sql }) => `${sql};`)
  const backfills = [...model.resources.values()]
    .flatMap((resource) => [...resource.derived.values()])
    .filter((derived) => !made.some((each) => isKeptBy(derived, each)))
    .filter((derived) => !safe.some((sql) => sql.startsWith(`CREATE TABLE \`${derived.holder}\``)))
    .map((derived) => `${backfillSql(derived)};`)
  return [...first, ...dropped, ...safe, ...difference, ...again, ...backfills]
}

/** Restores what the authors made themselves, where what it is of is still there. */
function isThere(database: Database, { type, table, sql }: ReturnType<typeof madeIn>[number]): boolean {
  if (type === 'trigger' && columnsOf(database, table).length === 0) return false
  runOrRefuse(database, sql)
  return true
}

/**
 * What nodes of the release before must know of the columns that retire, and those that go. Refuses to drop at once a
 * column that a lens takes away: such nodes write it.
 */
async function retiringNotes(folder: string, before: readonly string[], model: Model): Promise<string[]> {
  using database = await migrated(folder, before)
  const known = retiringIn(database)
  for (const { name, fields, retiring } of model.resources.values()) {
    const gone = goneNames(name, model.versions)
    const dropped = columnsOf(database, name).filter((column) => gone.has(column.name) && !fields.has(column.name))
    const early = dropped.find(
      (column) =>
        !retiring.has(column.name) && !known.some((each) => each.resource === name && each.field === column.name),
    )
    if (early)
      throw new CommandError(
        `${name}.${early.name}: nodes of the release before write this column until the last of them ends. Take two steps: leave the column in the table beside what takes its place, generate and migrate; when none of those nodes runs any more, take it out and generate again. Nothing was written.`,
      )
  }
  const arriving = arrivals(database, model).map(({ resource, field }) => `${resource}.${field}`)
  const leaving = departures(database, model).map(({ resource, field }) => `${resource}.${field}`)
  return [
    ...(arriving.length > 0
      ? [
          `${arriving.join(', ')}: kept true for nodes of the release before. They may run while "bun run migrate" fills what takes its place, and until the column is taken out of the table.`,
        ]
      : []),
    ...(leaving.length > 0
      ? [
          `${leaving.join(', ')}: goes. Nodes that have it as a field must have ended. The primary of the release before writes it still: end that, and let the start of the next apply the migration.`,
        ]
      : []),
  ]
}

/** Applies one statement of drizzle-kit to the database, mended first. Answers what was applied. */
function applyStatement(database: Database, sql: string): string {
  const added = /^ALTER TABLE `(\w+)` ADD `(\w+)` .*NOT NULL/.exec(sql)
  if (added && !/ DEFAULT /.test(sql)) throw noValueFor(`${added[1]}.${added[2]}`)
  const safe = copyWhatIsThere(database, makeStrict(sql))
  runOrRefuse(database, safe)
  return safe
}

function runOrRefuse(database: Database, sql: string) {
  try {
    database.run(sql)
  } catch (error) {
    throw new CommandError(
      `The migration would fail: ${(error as Error).message}\n  in ${sql.split('\n')[0]}\nNothing was written.`,
    )
  }
}

function noValueFor(column: string): CommandError {
  return new CommandError(
    `${column}: the records that are there would have no value for it; give the column a default, or let it be null. Nothing was written.`,
  )
}

/**
 * A rebuilt table takes the rows of the old one over. drizzle-kit lists new columns there too, which SQLite would read as
 * texts of their own names: they are left out, so that they get their defaults, as do nulls that may no longer be.
 */
function copyWhatIsThere(database: Database, sql: string): string {
  const copied = /^INSERT INTO `(\w+)`\([^)]*\) SELECT .* FROM `(\w+)`;$/.exec(sql)
  if (!copied?.[1] || !copied[2]) return sql
  const [, to, from] = copied
  const columns = columnsOf(database, to)
  const oldByName = new Map(columnsOf(database, from).map((column) => [column.name, column]))
  const lacking = columns.find(
    ({ name, notnull, dflt_value }) => notnull && dflt_value === null && !oldByName.has(name),
  )
  if (lacking) throw noValueFor(`${from}.${lacking.name}`)
  const kept = columns.filter(({ name }) => oldByName.has(name))
  const values = kept.map(({ name, notnull, dflt_value }) =>
    notnull && dflt_value !== null && !oldByName.get(name)?.notnull
      ? `coalesce("${name}", ${dflt_value})`
      : `"${name}"`,
  )
  const names = kept.map(({ name }) => `"${name}"`)
  return `INSERT INTO \`${to}\`(${names.join(', ')}) SELECT ${values.join(', ')} FROM \`${from}\`;`
}

/** The statements that turn what the migrations make beside tables into what the model asks for. */
export async function madeChanges(folder: string, model: Model): Promise<string[]> {
  using database = await migrated(folder, tagsOf(folder))
  return [...departures(database, model).map(({ sql }) => sql), ...madeDifference(database, model)]
}

/** drizzle-kit may end well and have written nothing, where it could not ask. */
function checkFields(database: Database, model: Model) {
  for (const resource of model.resources.values()) {
    const there = columnsOf(database, resource.name).map((column) => column.name)
    const lacking = [...resource.fields.keys()].filter((field) => !there.includes(field))
    if (lacking.length > 0)
      throw new CommandError(
        `${resource.name}: the migration does not make ${lacking.join(', ')}. drizzle-kit asks at a terminal whether a column or table was renamed: run "bun run generate" in one. Nothing was written.`,
      )
  }
}

/** A database in memory that has had the migrations with these tags. */
async function migrated(folder: string, tags: readonly string[]): Promise<Database> {
  const database = new Database(':memory:')
  const isAsked = (migration: { tag: string }) => tags.includes(migration.tag)
  if (tags.length > 0) await migrateDatabase(connectionOver(database), folder, isAsked)
  return database
}

function statementsOf(sql: string): string[] {
  return sql
    .split('--> statement-breakpoint')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}

function tagsOf(folder: string): string[] {
  return existsSync(join(folder, 'meta', '_journal.json')) ? migrationsOf(folder).map((migration) => migration.tag) : []
}

function newTag(folder: string, before: readonly string[]): string | null {
  return tagsOf(folder).find((tag) => !before.includes(tag)) ?? null
}

/** Remembers the folder's files. The answer brings them back: what is new goes, what was rewritten is as it was. */
function remember(folder: string): () => void {
  const list = () =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => /\.(sql|json)$/.test(path))
      : []
  const kept = new Map(list().map((path) => [path, readFileSync(join(folder, path))]))
  return () => {
    for (const path of list()) if (!kept.has(path)) rmSync(join(folder, path))
    for (const [path, bytes] of kept) writeFileSync(join(folder, path), bytes)
  }
}

/**
 * drizzle-kit cannot say STRICT, which also wants `text` where it says `text(36)`; nor WITHOUT ROWID, which spares
 * `heads` a second tree: it is looked up by every list and written by every change.
 */
export function makeStrict(sql: string): string {
  const options = /^\s*CREATE TABLE `heads`/.test(sql) ? 'STRICT, WITHOUT ROWID' : 'STRICT'
  if (/^\s*CREATE TABLE/i.test(sql))
    return sql.replace(/\btext\(\d+\)/g, 'text').replace(/\);(\s*)$/, `) ${options};$1`)
  return sql.replace(/( ADD `\w+` )text\(\d+\)/g, '$1text')
}

/**
 * Runs drizzle-kit at the terminal of the caller, because it asks whether a column was renamed or replaced. What it says
 * of errors is told when it fails: without a terminal it does not, and `checkFields` says so in fewer words.
 */
async function drizzleKit(root: string, args: readonly string[], output: 'inherit' | 'ignore') {
  const bin = join(root, 'node_modules', 'drizzle-kit', 'bin.cjs')
  const child = Bun.spawn([process.execPath, bin, ...args], { cwd: root, stdio: ['inherit', output, 'pipe'] })
  const [said, code] = await Promise.all([new Response(child.stderr).text(), child.exited])
  if (code !== 0) throw new CommandError(`${said}drizzle-kit ${args.join(' ')} ended with code ${code}.`)
}
