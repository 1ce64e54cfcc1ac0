import { createHash } from 'node:crypto'
import { Problem } from '../problem.ts'
import { readRecord } from '../read/page.ts'
import { planRecord } from '../read/plan.ts'
import type { Caller, TenantId } from '../schema/access.ts'
import { idOfHash, toStored } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import { buildViews, type View } from '../version/view.ts'
import { parseBatch } from '../write/command.ts'
import { commit } from '../write/commit.ts'
import { planWrite } from '../write/plan.ts'
import { CommandError, type Node } from './node.ts'
import { digest } from './node-identity.ts'
import { cut, type Package, readReadme, type Skipped, scanPackages } from './packages.ts'

/** What an import did: packages read, and records written of each kind; what was there already is not written again. */
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
  /** What it is called where it is skipped. */
  readonly label: string
}

/**
 * Turns the packages under a node_modules folder into posts, their authors into users, their keywords into tags, for
 * one tenant, through the same write path as every request. Ids follow from the names, and a record is written only
 * where it is not there as wanted: a second import changes nothing, and one that was killed goes on. A record that is
 * refused is skipped with the reason. Throws a CommandError where the folder has no packages.
 */
export async function importFolder(
  node: Node,
  tenant: string,
  folder: string,
  tell: (done: number, of: number) => void,
): Promise<ImportReport> {
  const { packages, skipped } = scanPackages(folder)
  if (packages.length === 0)
    throw new CommandError(`There is no package with a README directly under ${folder}. Name a node_modules folder.`)
  const importer = new Importer(node, tenant)
  const people = uniqueById(packages.map(userOf))
  const tags = uniqueById(packages.flatMap((each) => each.keywords.map(tagOf)))
  for (const wanted of chunks([...people, ...tags], limits.batchCommandsMax)) await importer.write(wanted)
  let done = 0
  for (const some of chunks(packages, 16)) {
    await Promise.all(some.map((each) => importer.writePackage(each)))
    done += some.length
    tell(done, packages.length)
  }
  return { packages: packages.length, ...importer.counts, skipped: [...skipped, ...importer.skipped] }
}

const neededFields: Readonly<Record<Wanted['resource'], readonly string[]>> = {
  users: ['handle', 'name', 'homepage'],
  tags: ['name'],
  posts: ['authorId', 'slug', 'title', 'body', 'status', 'words', 'meta'],
  postTags: ['postId', 'tagId'],
}

/** The resources and fields that an import writes and the model does not have. */
export function lackingForImport(model: Model): string[] {
  return Object.entries(neededFields).flatMap(([name, fields]) => {
    const resource = model.resources.get(name)
    if (!resource) return [name]
    return fields.filter((field) => !resource.fields.get(field)?.writable).map((field) => `${name}.${field}`)
  })
}

class Importer {
  readonly counts = { users: 0, tags: 0, posts: 0, postTags: 0, unchanged: 0 }
  readonly skipped: Skipped[] = []
  private readonly node: Node
  private readonly view: View
  private readonly caller: Caller

  constructor(node: Node, tenant: string) {
    const view = buildViews(node.model).get(node.model.versions.at(-1)?.date ?? '')
    if (!view) throw new Error('broken invariant: a model has a version')
    const lacking = lackingForImport(node.model)
    if (lacking.length > 0)
      throw new CommandError(`The import fills the default model; this model has no ${lacking.join(', ')}.`)
    this.node = node
    this.view = view
    this.caller = { kind: 'service', tenant: tenant as TenantId, scopes: new Set(['read', 'write']), actor: 'import' }
  }

  /** Writes a package's post and its tags, in one batch. */
  async writePackage(from: Package) {
    let post: Wanted
    try {
      post = postOf(from)
    } catch (error) {
      this.skipped.push({ what: from.folder, reason: `a README that cannot be read: ${(error as Error).message}` })
      return
    }
    await this.write([post, ...from.keywords.map((keyword) => pairOf(from, keyword))])
  }

  /** Writes those records that are not there as wanted, in one batch; where it is refused, one by one. */
  async write(wanted: readonly Wanted[]) {
    const changed: Wanted[] = []
    for (const each of wanted) if (!(await this.isThere(each))) changed.push(each)
    this.counts.unchanged += wanted.length - changed.length
    if (changed.length > 0) await this.commit(changed)
  }

  private async commit(changed: readonly Wanted[]) {
    try {
      await this.commitBatch(changed)
      for (const { resource } of changed) this.counts[resource]++
    } catch (error) {
      const isRefused = error instanceof Problem && error.status < 500
      if (!isRefused) throw error
      const [only, ...others] = changed
      if (only && others.length === 0) this.skipped.push({ what: only.label, reason: error.message })
      else for (const each of changed) await this.commit([each])
    }
  }

  private async commitBatch(changed: readonly Wanted[]) {
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

function idOf(kind: string, name: string): string {
  return idOfHash(createHash('sha256').update(`${kind}:${name}`).digest('hex'))
}

/** Packages that name nobody are written by this user. */
const nobody = 'Unattributed'

function userOf(from: Package): Wanted {
  const name = from.author?.name ?? nobody
  const handle = handleOf(name)
  const homepage = from.author?.url ?? null
  return { resource: 'users', id: idOf('user', handle), body: { handle, name, homepage }, label: `the user ${handle}` }
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
  return { resource: 'tags', id: idOf('tag', keyword), body: { name: keyword }, label: `the tag ${keyword}` }
}

function postOf(from: Package): Wanted {
  const body = readReadme(from.readmeFile, 200_000)
  const title = cut(from.description ? `${from.name}: ${from.description}` : from.name, 300)
  const words = body.split(/\s+/).filter((word) => word !== '').length
  const authorId = userOf(from).id
  return {
    resource: 'posts',
    id: idOf('post', from.name),
    body: { authorId, slug: from.name, title, body, status: 'published', words, meta: from.meta },
    label: from.folder,
  }
}

function pairOf(from: Package, keyword: string): Wanted {
  const ids = { postId: idOf('post', from.name), tagId: idOf('tag', keyword) }
  return {
    resource: 'postTags',
    id: idOf('postTag', `${from.name} ${keyword}`),
    body: ids,
    label: `${from.folder}, the tag ${keyword}`,
  }
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
