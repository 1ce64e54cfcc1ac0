import { Caller, type Callers } from './caller.ts'
import type { TestCluster } from './cluster.ts'
import { edgeFaults, type Fault, primaryFaults, workerFaults } from './faults.ts'
import { LogFollower } from './follower.ts'
import { until } from './replicated.ts'
import { call } from './server.ts'
import { judge, type Verdict } from './verdict.ts'

export interface TrialOptions {
  /** Decides which calls are made and which faults happen, in which order; not what meets what. */
  readonly seed: number
  /** How long callers call while things break, at the least: every fault happens once. */
  readonly ms: number
  /** How long a fault lasts, and how long the primary is left in peace between two, at most. */
  readonly faultMsMax: number
  readonly peaceMsMax: number
  readonly hasTokens: boolean
  /** How many call at once, and how many tags they call. */
  readonly callers: number
}

/** What happened in a trial, and what of it was wrong. */
export interface Trial extends Verdict {
  /** How often each fault happened. */
  readonly faults: ReadonlyMap<string, number>
  /** Answers by status, refused connections, and requests that were cut off or given up. */
  readonly answers: ReadonlyMap<number | 'refused' | 'cut', number>
  /** What is wrong with what followers of the log hold at the end, or with what they were told. */
  readonly followed: readonly string[]
}

/** What is called in a trial, and its dice. */
interface Scene {
  readonly prefix: string
  readonly random: () => number
  readonly isOver: () => boolean
  readonly faultMsMax: number
  /** Ids of tags, none of which is there at first. */
  readonly tags: readonly string[]
  /** Where comments go. */
  readonly post: { readonly postId: string; readonly authorId: string }
  readonly faults: Map<string, number>
}

const followersAtOnce = 3
const edgePeaceMsMax = 300

/** The faults that happen in a trial of a cluster. */
export function faultNamesOf({ workers }: TestCluster): string[] {
  return [primaryFaults, edgeFaults, workers.length > 0 ? workerFaults : {}].flatMap((faults) => Object.keys(faults))
}

function urlsOf({ edges, workers }: TestCluster): string[] {
  return [...edges, ...workers].map(({ url }) => url)
}

/** Who follows the log of a cluster through its edges, however long, from one snapshot on. */
export class Followers {
  private readonly cluster: TestCluster
  private readonly followers: readonly LogFollower[]
  private readonly following: Promise<unknown>

  constructor(cluster: TestCluster) {
    const followed = { key: cluster.key, urls: urlsOf(cluster), random: Math.random }
    this.cluster = cluster
    this.followers = Array.from({ length: followersAtOnce }, () => new LogFollower(followed))
    this.following = Promise.all(this.followers.map((follower) => follower.run()))
  }

  /** What they hold once they have read everything, against the primary's database at rest. */
  async judge(): Promise<string[]> {
    const { primary } = this.cluster
    const { epoch, position } = (await (await fetch(`${primary.url}/readyz`)).json()) as {
      epoch: string
      position: number
    }
    await until(
      () => this.followers.every((follower) => follower.hasReached(epoch, position)),
      () => `followers do not reach ${epoch}.${position}`,
      60_000,
    )
    return this.followers.flatMap((each) => [...each.complaints, ...each.differencesFrom(primary.databaseFile)])
  }

  /** How many events they were told, in how many streams, and how often they had to begin anew. */
  told(): string {
    const sum = (of: (follower: LogFollower) => number) => this.followers.reduce((all, each) => all + of(each), 0)
    const snapshots = sum((each) => each.snapshots)
    return `${this.followers.length} followers: ${sum((each) => each.events)} events over ${sum((each) => each.streams)} streams, ${snapshots} snapshots`
  }

  async stop() {
    for (const follower of this.followers) follower.stop()
    await this.following
  }
}

/**
 * Lets callers read and write a cluster through its edges while it is broken and mended, and judges what they were told,
 * and what `followers` hold by then.
 */
export async function holdTrial(cluster: TestCluster, followers: Followers, options: TrialOptions): Promise<Trial> {
  const { seed, ms, faultMsMax, peaceMsMax, hasTokens } = options
  const random = randomFrom(seed)
  const end = performance.now() + ms
  const faults = new Map<string, number>()
  const faultNames = faultNamesOf(cluster)
  const scene: Scene = {
    ...{ prefix: `${seed}.`, random, faultMsMax, faults },
    isOver: () => performance.now() > end && faults.size === faultNames.length,
    tags: Array.from({ length: options.callers }, () => Bun.randomUUIDv7()),
    post: await newPost(cluster, seed),
  }
  const answers = new Map<number | 'refused' | 'cut', number>()
  const shared: Callers = {
    ...{ key: cluster.key, urls: urlsOf(cluster), random, hasTokens },
    // One in ten goes away soon, perhaps in the middle of its write.
    patienceMs: () => (random() < 0.1 ? 50 * random() : 2_500),
    count: (status) => add(answers, status),
  }
  const callers = Array.from({ length: options.callers }, (_, i) => new Caller(`caller ${i}`, shared))
  const [primaryDeck, edgeDeck] = [new Deck(primaryFaults, random), new Deck(edgeFaults, random)]
  const workerDeck = new Deck(workerFaults, random)
  cluster.primary.forget()
  await Promise.all([
    breakAndMend(cluster.primary, primaryDeck, peaceMsMax, scene),
    ...cluster.edges.map((edge) => breakAndMend(edge, edgeDeck, edgePeaceMsMax, scene)),
    ...cluster.workers.map((worker) => breakAndMend(worker, workerDeck, edgePeaceMsMax, scene)),
    ...callers.map((caller, i) => keepCalling(caller, `${seed}.${i}`, scene)),
  ])
  await cluster.converged()
  const followed = await followers.judge()
  return { followed, ...(await judge(cluster, { ...scene, callers, worlds: cluster.primary.worlds })), faults, answers }
}

/** Each fault in turn, in an order that is drawn anew each time around. */
class Deck<N> {
  private readonly faults: readonly [string, Fault<N>][]
  private readonly random: () => number
  private left: [string, Fault<N>][] = []

  constructor(faultByName: Readonly<Record<string, Fault<N>>>, random: () => number) {
    this.faults = Object.entries(faultByName)
    this.random = random
  }

  draw(): [string, Fault<N>] {
    if (this.left.length === 0) this.left = [...this.faults]
    const [drawn] = this.left.splice(Math.floor(this.random() * this.left.length), 1)
    if (!drawn) throw new Error('there are faults')
    return drawn
  }
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

async function breakAndMend<N>(node: N, deck: Deck<N>, peaceMsMax: number, scene: Scene) {
  const { random, isOver, faultMsMax, faults } = scene
  while (!isOver()) {
    await Bun.sleep(random() * peaceMsMax)
    const [name, fault] = deck.draw()
    await fault(node, random() * faultMsMax)
    add(faults, name)
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
