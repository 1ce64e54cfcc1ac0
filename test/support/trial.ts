import { Database } from 'bun:sqlite'
import { model } from '../../src/model/index.ts'
import { account, complaintsAbout, differencesBetween } from './accounting.ts'
import { Caller, type Callers, writesOf } from './caller.ts'
import type { TestCluster } from './cluster.ts'
import { edgeFaults, primaryFaults } from './faults.ts'
import {
  type Change,
  labelViolations,
  linearizabilityViolations,
  sessionViolations,
  type Violation,
} from './history.ts'
import { until } from './replicated.ts'
import { call } from './server.ts'

export interface TrialOptions {
  /** Decides which calls are made and which faults happen, in which order; not what meets what. */
  readonly seed: number
  /** How long callers call while things break. */
  readonly ms: number
  /** How long a fault lasts at most. */
  readonly faultMsMax: number
  readonly hasTokens: boolean
}

/** What happened in a trial, and what of it was wrong. */
export interface Verdict {
  /** How often each fault happened. */
  readonly faults: ReadonlyMap<string, number>
  /** Answers by status, refused connections, and requests that were cut off or given up. */
  readonly answers: ReadonlyMap<number | 'refused' | 'cut', number>
  readonly writes: { readonly acknowledged: number; readonly refused: number; readonly unanswered: number }
  readonly reads: { readonly session: number; readonly strong: number }
  readonly accounting: ReturnType<typeof account>
  /** Of the writes and the strong reads. */
  readonly disorder: readonly Violation[]
  readonly sessions: readonly Violation[]
  readonly labels: readonly Violation[]
  /** What is wrong with the databases at rest. */
  readonly complaints: readonly string[]
}

/** What is called in a trial, and its dice. */
interface Scene {
  readonly seed: number
  readonly random: () => number
  readonly isOver: () => boolean
  readonly faultMsMax: number
  /** Ids of tags, none of which is there at first. */
  readonly tags: readonly string[]
  /** Where comments go. */
  readonly post: { readonly postId: string; readonly authorId: string }
  readonly faults: Map<string, number>
}

const callersAtOnce = 16
const tagsCalled = 16
/** Between two faults, at most: those of the primary are everyone's. */
const pauseMsMax = { primary: 2_000, edge: 300 }

/** Lets callers read and write a cluster through its edges while it is broken and mended, and judges what they were told. */
export async function holdTrial(cluster: TestCluster, options: TrialOptions): Promise<Verdict> {
  const { seed, ms, faultMsMax, hasTokens } = options
  const random = randomFrom(seed)
  const end = performance.now() + ms
  const scene: Scene = {
    ...{ seed, random, faultMsMax, isOver: () => performance.now() > end },
    tags: Array.from({ length: tagsCalled }, () => Bun.randomUUIDv7()),
    post: await newPost(cluster, seed),
    faults: new Map(),
  }
  const answers = new Map<number | 'refused' | 'cut', number>()
  const shared: Callers = {
    ...{ key: cluster.key, urls: cluster.edges.map(({ url }) => url), random, hasTokens },
    // One in ten goes away soon, perhaps in the middle of its write.
    patienceMs: () => (random() < 0.1 ? 50 * random() : 2_500),
    count: (status) => add(answers, status),
  }
  const callers = Array.from({ length: callersAtOnce }, (_, i) => new Caller(`caller ${i}`, shared))
  await Promise.all([
    breakAndMend([cluster.primary], primaryFaults, pauseMsMax.primary, scene),
    breakAndMend(cluster.edges, edgeFaults, pauseMsMax.edge, scene),
    ...callers.map((caller, i) => keepCalling(caller, `${seed}.${i}`, scene)),
  ])
  await cluster.converged()
  return { ...(await judge(cluster, callers, scene)), faults: scene.faults, answers }
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function add<K>(counts: Map<K, number>, key: K) {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

async function newPost({ primary, key }: TestCluster, seed: number): Promise<Scene['post']> {
  const name = `trial-${seed}`
  const user = await call(primary.url, 'POST', '/users', { key, body: { handle: name, name } })
  const body = { authorId: user.body.id, slug: name, title: name, status: 'published' }
  const post = await call(primary.url, 'POST', '/posts', { key, body })
  if (post.status !== 201) throw new Error(`the trial has no post: ${user.text} ${post.text}`)
  return { postId: post.body.id, authorId: user.body.id }
}

/** Each fault in turn, in an order that is drawn anew each time around, at a node that is drawn. */
async function breakAndMend<N>(
  nodes: readonly N[],
  faultByName: Readonly<Record<string, (node: N, ms: number) => Promise<void>>>,
  pauseMsMax: number,
  { random, isOver, faultMsMax, faults }: Scene,
) {
  let left: [string, (node: N, ms: number) => Promise<void>][] = []
  while (!isOver()) {
    if (left.length === 0) left = Object.entries(faultByName)
    const [[name, fault] = []] = left.splice(Math.floor(random() * left.length), 1)
    const node = nodes[Math.floor(random() * nodes.length)]
    if (!name || !fault || !node) throw new Error('there are faults and nodes')
    await Bun.sleep(random() * pauseMsMax)
    add(faults, name)
    await fault(node, random() * faultMsMax)
  }
}

async function keepCalling(caller: Caller, name: string, { random, isOver, tags, post }: Scene) {
  for (let n = 0; !isOver(); n++) {
    const value = `${name}.${n}`
    const id = tags[Math.floor(random() * tags.length)] ?? ''
    const hasKey = random() < 0.6
    const dice = random()
    if (dice < 0.3) await caller.put(id, value, { hasKey })
    else if (dice < 0.4) await caller.comment(post, value, hasKey)
    else await caller.read(id, dice < 0.6 ? 'strong' : 'session')
  }
}

async function judge(cluster: TestCluster, callers: readonly Caller[], { seed, tags }: Scene) {
  const { databaseFile } = cluster.primary
  const calls = callers.flatMap((caller) => caller.calls)
  const strong = callers.flatMap(({ strongReads }) => strongReads)
  const writes = writesOf(callers)
  return {
    writes: {
      acknowledged: writes.acknowledged.length,
      refused: writes.refused.length,
      unanswered: writes.unanswered.length,
    },
    reads: { strong: strong.length, session: calls.filter(({ kind }) => kind === 'read').length - strong.length },
    accounting: account(writes, storedIn(databaseFile, seed)),
    disorder: linearizabilityViolations([...calls.filter(({ kind }) => kind === 'write'), ...strong]),
    sessions: sessionViolations(calls),
    labels: labelViolations(calls, logOf(databaseFile, tags)),
    complaints: await complaintsOf(cluster),
  }
}

/** What the log and the tables have of a trial, each as often as it is there. */
function storedIn(file: string, seed: number): string[] {
  using database = new Database(file, { readonly: true })
  const sql = `select json_extract(image, '$.name') as value from changes where resource = 'tags' and value like ?1
    union all select body from comments where body like ?1`
  const stored = database.query<{ value: string }, [string]>(sql).all(`${seed}.%`)
  return stored.map(({ value }) => value)
}

function logOf(file: string, ids: readonly string[]): Change[] {
  using database = new Database(file, { readonly: true })
  const sql = `select id as key, seq as position, version, json_extract(image, '$.name') as value from changes
    where resource = 'tags' and id in (select value from json_each(?)) order by seq`
  return database.query<Change, [string]>(sql).all(JSON.stringify(ids))
}

async function complaintsOf({ primary, edges }: TestCluster): Promise<string[]> {
  const files = [primary.databaseFile, ...edges.map((edge) => edge.copyFile())]
  const differences = () => files.slice(1).flatMap((file) => differencesBetween(primary.databaseFile, file))
  // What no position counts may come a moment later.
  await until(
    () => differences().length === 0,
    () => differences().join('\n'),
  )
  return files.flatMap((file) => complaintsAbout(file, model))
}
