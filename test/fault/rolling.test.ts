import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { type ClusterNode, startCluster, type TestCluster } from '../support/cluster.ts'
import { runCommand } from '../support/command.ts'
import { contractExample, expandExample } from '../support/next-release.ts'
import { copyProject, type Project } from '../support/project.ts'
import { until } from '../support/replicated.ts'
import { type Answer, type CallOptions, call } from '../support/server.ts'

setDefaultTimeout(120_000)

let cluster: TestCluster
let next: Project
let last: Project
beforeAll(async () => {
  next = copyProject()
  expandExample(next)
  expect((await runCommand(['generate', '--name', 'expand'], { root: next.root })).code).toBe(0)
  last = copyProject(next.root)
  contractExample(last)
  expect((await runCommand(['generate', '--name', 'contract'], { root: last.root })).code).toBe(0)
  cluster = await startCluster(['eu', 'us'])
})
afterAll(async () => {
  await cluster.stop()
  next.remove()
  last.remove()
})

/** How long a client goes on with one request, from node to node. */
const patienceMs = 20_000

/** What clients met, counted; a request that has failed is one that has no right answer in the end. */
class Load {
  readonly met = new Map<string, number>()
  readonly wrong: string[] = []
  readonly nameById = new Map<string, string>()
  /** The nodes that speak each version by now. */
  readonly nodes: { v3: ClusterNode[]; v4: ClusterNode[] }
  isOver = false
  private readonly post: string

  constructor(nodes: readonly ClusterNode[], post: string) {
    this.nodes = { v3: [...nodes], v4: [] }
    this.post = post
  }

  count(what: string) {
    this.met.set(what, (this.met.get(what) ?? 0) + 1)
  }

  /** Sends a request to a node that is drawn, and to others, until one answers it. */
  async ask(alias: 'v3' | 'v4', method: string, path: string, options: CallOptions = {}): Promise<Answer | null> {
    const deadline = performance.now() + patienceMs
    while (performance.now() < deadline) {
      const list = this.nodes[alias]
      const node = list[Math.floor(Math.random() * list.length)]
      const answer = await call(node?.url ?? '', method, `/${alias}${path}`, { key: cluster.key, ...options }).catch(
        () => null,
      )
      if (answer && answer.status < 300) {
        this.count(`${alias} ${method} ${answer.status}`)
        return answer
      }
      // Where nothing was done or nobody knows, the key tells; anything else is an answer that no client should get.
      if (answer && answer.status !== 503 && answer.status !== 504) {
        this.wrong.push(`${alias} ${method} ${path}: ${answer.status} ${answer.text}`)
        return null
      }
      this.count(answer ? `${answer.status} ${answer.body.code ?? answer.body.type}` : 'connections refused or reset')
      await Bun.sleep(25)
    }
    this.wrong.push(`${alias} ${method} ${path}: no answer`)
    return null
  }

  /** A client of one version: makes a user, reads it, gives it another name, reads it again, and comments. */
  async client(alias: 'v3' | 'v4', place: number) {
    for (let n = 0; !this.isOver; n++) {
      const tag = `${alias}-${place}-${n}`
      const made = await this.write(alias, 'POST', '/users', tag, { handle: tag, ...nameOf(alias, `Ada ${tag}`) })
      if (!made) continue
      const id = made.body.id as string
      await this.expectName(id, alias, `Ada ${tag}`, made)
      const changed = await this.write(alias, 'PATCH', `/users/${id}`, `${tag}-again`, nameOf(alias, `Mary Ann ${tag}`))
      this.nameById.set(id, changed ? `Mary Ann ${tag}` : '')
      if (changed) await this.expectName(id, alias, `Mary Ann ${tag}`, changed)
      const said = alias === 'v3' ? { body: tag } : { text: tag }
      await this.write(alias, 'POST', '/comments', `${tag}-says`, { postId: this.post, authorId: id, ...said })
    }
  }

  private write(alias: 'v3' | 'v4', method: string, path: string, key: string, body: object) {
    return this.ask(alias, method, path, { body, headers: { 'Idempotency-Key': key } })
  }

  /** That a client reads what it has just written, and that one of another version reads the same in its own words. */
  private async expectName(id: string, writer: 'v3' | 'v4', name: string, { headers }: Answer) {
    const token = { 'Consistency-Token': headers.get('consistency-token') ?? '' }
    for (const alias of this.nodes.v4.length > 0 ? (['v3', 'v4'] as const) : (['v3'] as const)) {
      const answer = await this.ask(alias, 'GET', `/users/${id}`, { headers: token })
      const { name: whole, givenName, familyName } = answer?.body ?? {}
      const read = alias === 'v3' ? whole : `${givenName} ${familyName}`
      if (read !== name) this.wrong.push(`${alias} reads ${read} where ${writer} wrote ${name}`)
    }
  }
}

/** A name as a version has it. The new one lets the first of two names have two words. */
function nameOf(alias: 'v3' | 'v4', name: string): object {
  const at = name.lastIndexOf(' ')
  return alias === 'v3' ? { name } : { givenName: name.slice(0, at), familyName: name.slice(at + 1) }
}

const seeded = 1_200

async function seed(): Promise<string> {
  const ask = (path: string, body: object) => call(cluster.primary.url, 'POST', path, { key: cluster.key, body })
  for (let n = 0; n < seeded; n += 100) {
    const commands = Array.from({ length: 100 }, (_, i) => {
      return { do: 'create', resource: 'users', body: { handle: `seed-${n + i}`, name: `Seed ${n + i}` } }
    })
    expect((await ask('/batch', { commands })).status).toBe(200)
  }
  const author = (await ask('/users', { handle: 'author', name: 'An Author' })).body.id
  const post = await ask('/posts', { authorId: author, slug: 'post', title: 'Post', status: 'published' })
  await cluster.converged()
  return post.body.id
}

async function restart(node: ClusterNode, root: string) {
  expect(await node.end('SIGTERM')).toBe(0)
  await node.start(root)
  await until(
    async () => (await fetch(`${node.url}/readyz`)).ok,
    () => `${node.name} does not become ready again`,
  )
}

test('three releases, one after the other, under load: no request fails, and each version sees its own world', async () => {
  const { primary, edges } = cluster
  const load = new Load([primary, ...edges], await seed())
  const clients = [0, 1, 2].map((place) => load.client('v3', place))

  // The primary and the edges of the old release serve while their database is expanded and filled.
  const expanded = await runCommand(['migrate'], { root: next.root, env: primary.env })
  expect([expanded.code, expanded.err]).toEqual([0, ''])
  expect(expanded.out).toContain('Filled what takes the place of users.name.')

  await restart(primary, next.root)
  load.nodes.v4.push(primary)
  clients.push(...[0, 1, 2].map((place) => load.client('v4', place)))
  for (const edge of edges) {
    await restart(edge, next.root)
    load.nodes.v4.push(edge)
  }

  // The start of the last release's primary drops what went, while the edges are of the release before.
  await restart(primary, last.root)
  for (const edge of edges) await restart(edge, last.root)
  load.isOver = true
  await Promise.all(clients)
  await cluster.converged()

  console.error([...load.met].map(([what, times]) => `${what} x ${times}`).join(', '))
  expect(load.wrong).toEqual([])
  const allowed = /^v[34] (GET|POST|PATCH) 20[01]$|^50[34] |^connections refused or reset$/
  expect([...load.met.keys()].filter((what) => !allowed.test(what))).toEqual([])
  expect([load.met.get('v3 PATCH 200')! > 50, load.met.get('v4 PATCH 200')! > 20]).toEqual([true, true])
  for (const node of [primary, ...edges]) await expectWorlds(node, load)
  expectAccounts(load)
})

/** Some records as either version shows them at a node, all the same. */
async function expectWorlds(node: ClusterNode, { nameById }: Load) {
  for (const [id, name] of [...nameById].slice(-20)) {
    const [old, now] = await Promise.all(
      ['v3', 'v4'].map((alias) => call(node.url, 'GET', `/${alias}/users/${id}`, { key: cluster.key })),
    )
    expect([node.name, old?.body.name, `${now?.body.givenName} ${now?.body.familyName}`]).toEqual([
      node.name,
      name,
      name,
    ])
  }
}

/** Every user that was acknowledged is there, once, with its last name; the log has each of its changes once. */
function expectAccounts({ nameById, met }: Load) {
  using database = new Database(cluster.primary.databaseFile, { readonly: true })
  const rows = database.query("select id, name from v3_users where handle not like 'seed-%' and handle <> 'author'")
  expect(new Map(rows.values() as [string, string][])).toEqual(nameById)
  const count = (sql: string) => Number(database.query(sql).values()[0]?.[0])
  expect(count("select count(*) from users where handle like 'seed-%'")).toBe(seeded)
  const comments = (met.get('v3 POST 201') ?? 0) + (met.get('v4 POST 201') ?? 0) - nameById.size
  expect(count('select count(*) from comments')).toBe(comments)
  const gaps =
    'select resource, id from changes group by resource, id having count(*) <> max(version) or count(distinct version) <> count(*)'
  expect(database.query(gaps).values()).toEqual([])
  expect(count('select count(*) from retiring')).toBe(0)
  expect(count("select count(*) from changes where resource = 'users' and operation = 'create'")).toBe(
    seeded + 1 + nameById.size,
  )
}
