import { model } from '../model/index.ts'
import { limits } from '../schema/limits.ts'
import { lagsOf } from '../write/projection.ts'
import { migrateWhole } from './backfill.ts'
import { bun } from './bun.ts'
import { startEdge } from './edge.ts'
import { createKey, listKeys, pinKey, revokeKey } from './keys.ts'
import { CommandError, type Node, openNode } from './node.ts'
import { readEdgeSettings, readSettings, tenantForm } from './settings.ts'
import { announce, importInto, serveStandalone, startOn } from './standalone.ts'
import { storeOf } from './stores.ts'

/** What the commands do once their arguments are understood, and what they tell of it. */

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
export const start = () => startOn(bun)

/** Serves the data folder as it is, or a copy of the primary's data in it. */
export async function serve() {
  const edge = readEdgeSettings(process.env)
  if (edge) await announce(startEdge(edge, model), edge)
  else await serveStandalone(bun, readSettings(process.env, null))
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
