import type { Trigger } from '../log/triggers.ts'
import { model } from '../model/index.ts'
import { limits } from '../schema/limits.ts'
import { sqlViews } from '../version/sql-views.ts'
import { lagsOf } from '../write/projection.ts'
import { migrateWhole } from './backfill.ts'
import { type RunningServer, startServer } from './bun.ts'
import { type RunningEdge, startEdge } from './edge.ts'
import type { ImportReport } from './import.ts'
import { createKey, keptKey, listKeys, makeDevKey, pinKey, revokeKey } from './keys.ts'
import { checkAddress } from './listen.ts'
import { CommandError, type Node, openNode, projectRoot } from './node.ts'
import { readEdgeSettings, readSettings, type Settings, tenantForm } from './settings.ts'
import { storeOf } from './stores.ts'
import { modelTriggers } from './triggers.ts'

/** What the commands do once their arguments are understood, and what they tell of it. */

const demoTenant = 'demo'

function tenantOf(text: string): string {
  if (tenantForm.test(text)) return text
  throw new CommandError(`"${text}" is no tenant: expected 1 to 63 of a-z, 0-9, _ and -.`)
}

/** Opens the data folder's database for one command, beside a server that may be running on it. */
async function withNode<T>(work: (node: Node) => Promise<T>, settings = readSettings(process.env, null)): Promise<T> {
  const node = await openNode(storeOf(settings), model, (error) => {
    throw error
  })
  try {
    return await work(node)
  } finally {
    await node.close()
  }
}

/** Migrates, fills and serves the data folder of a newcomer. */
export async function start() {
  const settings = readSettings(process.env, demoTenant)
  await checkAddress(settings)
  const store = storeOf(settings)
  const applied = await migrateWhole(store, model)
  if (applied > 0) console.log(`Applied ${applied} migration(s) to the database ${store.place}.`)
  const key = (await readyKey(settings)) ?? (await withNode((node) => fill(node, settings), settings))
  await listen(settings, [`  key    ${key}   (tenant ${demoTenant}, kept in ${settings.dataDir}/dev-key)`])
}

/** The key of a data folder that was filled before; null where something is left to do. Quick: no writer is opened. */
async function readyKey(settings: Settings): Promise<string | null> {
  const reader = storeOf(settings).openReader()
  try {
    const [imported] = await reader.rows("select 1 from meta where name = 'imported'", [])
    return imported ? await keptKey(settings.dataDir, reader) : null
  } finally {
    reader.close()
  }
}

/** Imports the packages of this project, unless that was done or the model is another, and makes a key, if need be. */
async function fill(node: Node, { dataDir }: Settings): Promise<string> {
  const [imported] = await node.reader.rows("select 1 from meta where name = 'imported'", [])
  if (!imported) {
    const { lackingForImport } = await import('./import.ts')
    if (lackingForImport(model).length === 0) await importInto(node, demoTenant, `${projectRoot}/node_modules`)
    else console.log('The model is not the example: nothing is imported.')
    const sql = "insert or ignore into meta(name, value) values ('imported', 'yes')"
    await node.primary.commit({ steps: [{ sql, args: [] }] })
  }
  return (
    (await keptKey(dataDir, node.reader)) ??
    (await makeDevKey(dataDir, node.primary, { tenant: demoTenant, version: versionOf('newest') }))
  )
}

/** Serves the data folder as it is, or a copy of the primary's data in it. */
export async function serve() {
  const edge = readEdgeSettings(process.env)
  if (edge) await announce(startEdge(edge, model), edge)
  else await listen(readSettings(process.env, null), [])
}

async function listen(settings: Settings, lines: readonly string[]) {
  await announce(startServer(settings, model), settings, () => lines)
}

/** Says where a server is once it has started, with more lines about it, and stops it on a signal, also before that. */
export async function announce<S extends RunningServer | RunningEdge>(
  starting: Promise<S>,
  settings: Settings,
  linesOf: (server: S) => readonly string[] = () => [],
) {
  stopOnSignals(starting)
  const server = await starting
  if ('node' in server) await warnOfDifference(server.node)
  console.log(`\nPerigee is at ${server.url}`)
  for (const line of linesOf(server)) console.log(line)
  console.log(`  docs   ${server.url}/docs`)
  console.log(
    `  try    curl ${settings.publicTenant ? '' : "-H 'Authorization: Bearer KEY' "}'${server.url}${examplePath()}'\n`,
  )
}

/** Ends well on a signal, which may come while the server starts: what runs for it by then is to end with it. */
function stopOnSignals(starting: Promise<RunningServer | RunningEdge>) {
  let stoppingSince: number | undefined
  const stop = async () => {
    // A terminal and a parent process may both pass one Ctrl-C on; a later one means that it takes too long.
    if (stoppingSince !== undefined && performance.now() - stoppingSince > 1_000) process.exit(130)
    if (stoppingSince !== undefined) return
    stoppingSince = performance.now()
    await (await starting).stop()
    process.exit(0)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
}

/** A read that shows the point, of the default model; of another, the first list. */
function examplePath(): string {
  const isDefault = ['author', 'tags'].every((name) => model.resources.get('posts')?.relations.has(name))
  if (isDefault) return '/posts?limit=2&fields=title,authorName&include=tags(fields:name)'
  return `/${[...model.resources.keys()][0]}?limit=2`
}

/** A database whose triggers and views are not the model's keeps the log and the derived columns of another model. */
async function warnOfDifference(node: Node) {
  const made = new Map(
    (await node.reader.rows("select name, sql from sqlite_master where type in ('trigger', 'view')", [])) as [
      string,
      string,
    ][],
  )
  const differ = ({ name, sql }: Trigger) => made.get(name) !== sql
  const tables = new Set([
    ...modelTriggers(model)
      .filter(differ)
      .map(({ name }) => name.replace(/_(after_\w+|keeps_key|refuses|waits)$/, '')),
    ...sqlViews(model)
      .filter(differ)
      .map(({ table }) => table),
  ])
  if (tables.size > 0)
    console.error(
      `perigee: the database is not that of src/model/: ${[...tables].join(', ')} differ. Run "bun run generate", then "bun run migrate".`,
    )
}

export async function migrate() {
  const store = storeOf(readSettings(process.env, null))
  const applied = await migrateWhole(store, model)
  const done = applied === 0 ? 'is up to date' : `had ${applied} migration(s) applied`
  console.log(`The database ${store.place} ${done}.`)
}

export async function importPackages(folder: string, tenant: string) {
  const into = tenantOf(tenant)
  await withNode((node) => importInto(node, into, folder))
}

async function importInto(node: Node, tenant: string, folder: string) {
  const { importFolder } = await import('./import.ts')
  const isTerminal = process.stdout.isTTY
  const report = await importFolder(node, tenant, folder, (done, of) => {
    if (isTerminal) process.stdout.write(`\rImporting packages ${done}/${of}`)
    else if (done === of || done % 160 === 0) console.log(`Importing packages ${done}/${of}`)
  })
  if (isTerminal) process.stdout.write('\r\x1b[K')
  console.log(reportText(report))
}

function reportText({ packages, skipped, ...written }: ImportReport): string {
  const { posts, users, tags, postTags, unchanged } = written
  const lines = [
    `Read ${packages} packages: wrote ${posts} posts, ${users} users, ${tags} tags and ${postTags} uses of tags; ${unchanged} records were there already.`,
  ]
  for (const [reason, list] of Map.groupBy(skipped, (each) => each.reason)) {
    const names = list.slice(0, 3).map((each) => each.what)
    lines.push(`Skipped ${list.length}: ${reason} (${names.join(', ')}${list.length > names.length ? ', ...' : ''})`)
  }
  return lines.join('\n')
}

/** The date of a version that is named by its date or alias, or as the newest; null for `default`, which pins to none. */
function versionOf(name: string): string | null {
  const { versions } = model
  if (name === 'default') return null
  const found =
    name === 'newest' ? versions.at(-1) : versions.find(({ date, alias }) => name === date || name === alias)
  if (found) return found.date
  const known = versions.map(({ date, alias }) => `${date} (${alias})`).join(', ')
  throw new CommandError(
    `There is no API version "${name}"; there are ${known}, and "default" for what the model names.`,
  )
}

export async function keysCreate(
  tenant: string,
  { scopes, subject, version }: { scopes: readonly string[]; subject: string | null; version: string },
) {
  const key = { tenant: tenantOf(tenant), scopes, subject, version: versionOf(version) }
  const made = await withNode((node) => createKey(node.primary, key))
  console.log(made.key)
  const pin = key.version ?? 'the default version'
  console.error(`Key ${made.id} of ${tenant} with ${scopes.join(', ')}, pinned to ${pin}. It is not shown again.`)
}

export async function keysPin(id: string, name: string) {
  const version = versionOf(name)
  await withNode((node) => pinKey(node.primary, id, version))
  const what = version === null ? `${id} is pinned to no version` : `Pinned ${id} to ${version}`
  console.log(`${what}. Servers follow within ${limits.keyTrustMsMax / 1_000} seconds.`)
}

export async function keysList() {
  const keys = await withNode((node) => listKeys(node.reader))
  if (keys.length === 0)
    console.error('There is no key. Make one: bun run keys create --tenant TENANT --scopes read,write')
  for (const { id, tenant, scopes, subject, version, createdAt, revokedAt } of keys) {
    const state = revokedAt ? `revoked ${revokedAt}` : 'valid'
    console.log(
      [id, tenant, scopes.replaceAll(' ', ','), subject ?? '-', version ?? 'default', createdAt, state].join('\t'),
    )
  }
}

export async function keysRevoke(id: string) {
  await withNode((node) => revokeKey(node.primary, id))
  console.log(`Revoked ${id}. Servers stop taking it within ${limits.keyTrustMsMax / 1_000} seconds.`)
}

export async function projectionsList() {
  const lags = await withNode(async ({ reader }) => lagsOf(model.projections, reader))
  if (lags.length === 0) console.error('The model has no read model.')
  for (const { name, phase, seq, changes } of lags) {
    const does = phase === null ? 'not begun' : phase === 'follow' ? 'follows' : `is made anew (${phase})`
    console.log([name, does, seq, `${changes} change(s) behind`].join('\t'))
  }
}

export async function projectionsRebuild(name: string) {
  const projection = model.projections.find((each) => each.name === name)
  const names = model.projections.map((each) => each.name).join(', ')
  if (!projection) throw new CommandError(`There is no read model "${name}"; there are ${names || 'none'}.`)
  const { seq } = await withNode(async (node) => (await import('./projections.ts')).rebuildProjection(projection, node))
  console.log(`The read model ${name} was made anew; it is at change ${seq}.`)
}

export async function audit(repair: boolean) {
  const { audit } = await import('./audit.ts')
  const { drifted, queued } = await withNode((node) =>
    audit(model, node.reader, node.primary, repair, ({ tenant, resource, id, column, found, expected }) => {
      console.log(
        `${tenant} ${resource}/${id} ${column}: is ${JSON.stringify(found)}, must be ${JSON.stringify(expected)}`,
      )
    }),
  )
  if (queued > 0)
    console.log(`${queued} change(s) are queued for their copies: a running server carries them out, as does --repair.`)
  if (drifted === 0) console.log(queued === 0 ? 'Every derived column is true.' : 'No derived column drifted.')
  else console.log(`${drifted} value(s) drifted${repair ? ' and were repaired' : '; --repair sets them right'}.`)
  if (drifted > 0 && !repair) process.exitCode = 1
}
