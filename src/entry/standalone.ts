import type { Trigger } from '../log/triggers.ts'
import { model } from '../model/index.ts'
import { sqlViews } from '../version/sql-views.ts'
import { migrateWhole } from './backfill.ts'
import type { ImportReport } from './import.ts'
import { keptKey, makeDevKey } from './keys.ts'
import { type Node, openNode, projectRoot, type Store } from './node.ts'
import { type Runtime, serveOn } from './server.ts'
import { readSettings, type Settings } from './settings.ts'
import { modelTriggers } from './triggers.ts'

/** A server that a command starts, and says where it is. */
export interface Announced {
  readonly url: string
  readonly node?: Node
  stop(): Promise<void>
}

const demoTenant = 'demo'

/** Migrates, fills and serves the data folder of a newcomer. */
export async function startOn(runtime: Runtime) {
  const settings = readSettings(process.env, demoTenant)
  await runtime.listen(settings, () => new Response(null, { status: 503 })).stop()
  const store = runtime.storeOf(settings)
  const applied = await migrateWhole(store, model)
  if (applied > 0) console.log(`Applied ${applied} migration(s) to the database ${store.place}.`)
  const key = (await readyKey(store, settings)) ?? (await filled(store, settings))
  await serveStandalone(runtime, settings, [
    `  key    ${key}   (tenant ${demoTenant}, kept in ${settings.dataDir}/dev-key)`,
  ])
}

/** The key of a data folder that was filled before; null where something is left to do. Quick: no writer is opened. */
async function readyKey(store: Store, settings: Settings): Promise<string | null> {
  const reader = store.openReader()
  try {
    const [imported] = await reader.rows("select 1 from meta where name = 'imported'", [])
    return imported ? await keptKey(settings.dataDir, reader) : null
  } finally {
    reader.close()
  }
}

async function filled(store: Store, settings: Settings): Promise<string> {
  const node = await openNode(store, model, (error) => {
    throw error
  })
  try {
    return await fill(node, settings)
  } finally {
    await node.close()
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
    (await makeDevKey(dataDir, node.primary, { tenant: demoTenant, version: model.versions.at(-1)?.date ?? null }))
  )
}

/** Serves the data folder as it is, and says so with more lines. */
export async function serveStandalone(runtime: Runtime, settings: Settings, lines: readonly string[] = []) {
  await announce(serveOn(runtime, settings, model), settings, () => lines)
}

/** Says where a server is once it has started, with more lines about it, and stops it on a signal, also before that. */
export async function announce<S extends Announced>(
  starting: Promise<S>,
  settings: Settings,
  linesOf: (server: S) => readonly string[] = () => [],
) {
  stopOnSignals(starting)
  const server = await starting
  if (server.node) await warnOfDifference(server.node)
  console.log(`\nPerigee is at ${server.url}`)
  for (const line of linesOf(server)) console.log(line)
  console.log(`  docs   ${server.url}/docs`)
  console.log(
    `  try    curl ${settings.publicTenant ? '' : "-H 'Authorization: Bearer KEY' "}'${server.url}${examplePath()}'\n`,
  )
}

/** Ends well on a signal, which may come while the server starts: what runs for it by then is to end with it. */
function stopOnSignals(starting: Promise<Announced>) {
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

export async function importInto(node: Node, tenant: string, folder: string) {
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
