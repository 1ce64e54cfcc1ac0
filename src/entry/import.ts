import { existsSync } from 'node:fs'
import { readRecord } from '../read/page.ts'
import { planRecord } from '../read/plan.ts'
import type { Caller, TenantId } from '../schema/access.ts'
import { toStored } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import { buildViews, type View } from '../version/view.ts'
import { parseBatch } from '../write/command.ts'
import { commit } from '../write/commit.ts'
import { planWrite } from '../write/plan.ts'
import { CommandError, digest, type Node } from './node.ts'
import { type Package, readReadme, type Skipped, scanPackages } from './packages.ts'

/** What an import did: read, and records written of each kind; what was there already is not written again. */
export interface ImportReport {
  readonly packages: number
  readonly users: number
  readonly tags: number
  readonly posts: number
  readonly postTags: number
  readonly unchanged: number
  readonly skipped: readonly Skipped[]
}

/** A record that an import wants to be there, by an id that follows from what it stands for. */
interface Wanted {
  readonly resource: 'users' | 'tags' | 'posts' | 'postTags'
  readonly id: string
  readonly body: Record<string, unknown>
}

/**
 * Turns the packages under a node_modules folder into posts, their authors into users, their keywords into tags, for
 * one tenant, through the same write path as every request. Ids follow from the names, and a record is written only
 * where it is not there as wanted: a second import changes nothing, and one that was killed goes on.
 */
export async function importFolder(
  node: Node,
  tenant: string,
  folder: string,
  tell: (done: number, of: number) => void,
): Promise<ImportReport> {
  if (!existsSync(folder)) throw new CommandError(`There is no folder ${folder}.`)
  const { packages, skipped } = scanPackages(folder)
  const importer = new Importer(node, tenant)
  const counts = { users: 0, tags: 0, posts: 0, postTags: 0, unchanged: 0 }
  const add = (written: readonly Wanted[], wanted: readonly Wanted[]) => {
    for (const each of written) counts[each.resource]++
    counts.unchanged += wanted.length - written.length
  }
  const people = uniqueById(packages.map(userOf))
  const tags = uniqueById(packages.flatMap((each) => each.keywords.map(tagOf)))
  for (const wanted of chunks([...people, ...tags], limits.batchCommandsMax)) add(await importer.write(wanted), wanted)
  let done = 0
  for (const some of chunks(packages, 16)) {
    await Promise.all(
      some.map(async (each) => {
        const wanted = [postOf(each), ...each.keywords.map((keyword) => pairOf(each, keyword))]
        add(await importer.write(wanted), wanted)
      }),
    )
    done += some.length
    tell(done, packages.length)
  }
  return { packages: packages.length, ...counts, skipped }
}

class Importer {
  private readonly node: Node
  private readonly view: View
  private readonly caller: Caller

  constructor(node: Node, tenant: string) {
    const view = buildViews(node.model).get(node.model.versions.at(-1)?.date ?? '')
    if (!view) throw new Error('broken invariant: a model has a version')
    const needed = ['users', 'tags', 'posts', 'postTags'].filter((name) => !view.resources.has(name))
    if (needed.length > 0)
      throw new CommandError(`The import fills the default model; this model has no ${needed.join(', ')}.`)
    this.node = node
    this.view = view
    this.caller = { kind: 'service', tenant: tenant as TenantId, scopes: new Set(['read', 'write']), actor: 'import' }
  }

  /** Writes those records that are not there as wanted, in one batch. Answers which they were. */
  async write(wanted: readonly Wanted[]): Promise<Wanted[]> {
    const changed: Wanted[] = []
    for (const each of wanted) if (!(await this.isThere(each))) changed.push(each)
    if (changed.length === 0) return changed
    const { node, caller } = this
    const commands = changed.map(({ resource, id, body }) => ({ do: 'replace', resource, id, body }))
    const fingerprint = digest(JSON.stringify(commands))
    const request = {
      commands: parseBatch(this.view, { commands }, node.newId),
      single: false,
      caller,
      key: { key: `import:${fingerprint}`, fingerprint },
      requestId: `import:${fingerprint.slice(0, 12)}`,
      now: new Date().toISOString(),
    }
    const receipt = await commit(planWrite(request), node.primary)
    // The same batch was written within a day, and what it wrote was changed since: write it again, under no key.
    if (receipt.replayed) await commit(planWrite({ ...request, key: null }), node.primary)
    return changed
  }

  private async isThere({ resource, id, body }: Wanted): Promise<boolean> {
    const view = this.view.resources.get(resource)
    if (!view) return false
    const { record } = await readRecord(
      planRecord(view, id, { fields: null, includes: [] }, this.caller),
      this.node.reader,
    )
    if (record === null) return false
    const found = JSON.parse(record) as Record<string, unknown>
    return Object.entries(body).every(([name, value]) => {
      const kind = view.fields.get(name)?.kind ?? 'text'
      return toStored({ kind }, found[name]) === toStored({ kind }, value)
    })
  }
}

/** A UUID of version 7 whose time is the start of 2026 and whose other bits are the hash of what it stands for. */
function idOf(kind: string, name: string): string {
  const hex = new Bun.CryptoHasher('sha256').update(`${kind}:${name}`).digest('hex')
  const variant = '89ab'[Number.parseInt(hex[3] ?? '0', 16) & 3]
  return `019b7707-e800-7${hex.slice(0, 3)}-${variant}${hex.slice(4, 7)}-${hex.slice(7, 19)}`
}

/** Packages that name nobody are written by this user. */
const nobody = 'Unattributed'

function userOf(from: Package): Wanted {
  const name = from.author?.name ?? nobody
  const handle = handleOf(name)
  const homepage = from.author?.url ?? null
  return { resource: 'users', id: idOf('user', handle), body: { handle, name, homepage } }
}

function handleOf(name: string): string {
  const plain = name
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-')
    .replaceAll(/^[._-]+|[._-]+$/g, '')
  return (
    plain.slice(0, 100) ||
    `user-${digest(name)
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, '')
      .slice(0, 12)}`
  )
}

function tagOf(keyword: string): Wanted {
  return { resource: 'tags', id: idOf('tag', keyword), body: { name: keyword } }
}

function postOf(from: Package): Wanted {
  const body = readReadme(from.readmeFile, 200_000)
  const title = (from.description ? `${from.name}: ${from.description}` : from.name).slice(0, 300).toWellFormed()
  const words = body.split(/\s+/).filter((word) => word !== '').length
  const authorId = userOf(from).id
  return {
    resource: 'posts',
    id: idOf('post', from.name),
    body: { authorId, slug: from.name, title, body, status: 'published', words, meta: from.meta },
  }
}

function pairOf(from: Package, keyword: string): Wanted {
  const ids = { postId: idOf('post', from.name), tagId: idOf('tag', keyword) }
  return { resource: 'postTags', id: idOf('postTag', `${from.name} ${keyword}`), body: ids }
}

/** The first of each id: many packages share an author or a keyword, who may write their name in two ways. */
function uniqueById(wanted: readonly Wanted[]): Wanted[] {
  const byId = new Map<string, Wanted>()
  for (const each of wanted) if (!byId.has(each.id)) byId.set(each.id, each)
  return [...byId.values()]
}

function* chunks<T>(list: readonly T[], size: number): Generator<readonly T[]> {
  for (let i = 0; i < list.length; i += size) yield list.slice(i, i + size)
}
