import { Database } from 'bun:sqlite'
import { model } from '../../src/model/index.ts'
import { account, complaintsAbout, differencesBetween } from './accounting.ts'
import type { Acknowledged, Caller } from './caller.ts'
import type { TestCluster, World } from './cluster.ts'
import {
  type Call,
  type Change,
  labelViolations,
  linearizabilityViolations,
  sessionViolations,
  type Violation,
} from './history.ts'
import { until } from './replicated.ts'

/** What callers did and were told in a trial, and what of it was wrong. */
export interface Verdict {
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

/** What was called in a trial. */
export interface Evidence {
  readonly callers: readonly Caller[]
  /** With what every value that was written begins. */
  readonly prefix: string
  /** Ids of the tags that were called, none of which was there at first. */
  readonly tags: readonly string[]
  /** The databases of the primary from the one that it had at first to the one that it has. */
  readonly worlds: readonly World[]
}

/**
 * Judges a cluster at rest. Where its primary was restored, each of its databases by itself: what callers were told of
 * an epoch must be so in the database of that epoch, and in the next ones as far as they were restored with it.
 */
export async function judge(cluster: TestCluster, evidence: Evidence): Promise<Verdict> {
  const { callers, worlds } = evidence
  const calls = callers.flatMap((caller) => caller.calls)
  const strong = callers.flatMap(({ strongReads }) => strongReads)
  const count = (of: (caller: Caller) => readonly unknown[]) => callers.reduce((sum, each) => sum + of(each).length, 0)
  const judged = worlds.map((world, place) => judgeWorld(world, place, evidence))
  return {
    writes: {
      acknowledged: count(({ acknowledged }) => acknowledged),
      refused: count(({ refused }) => refused),
      unanswered: count(({ unanswered }) => unanswered),
    },
    reads: { strong: strong.length, session: calls.filter(({ kind }) => kind === 'read').length - strong.length },
    accounting: {
      lost: judged.flatMap(({ accounting }) => accounting.lost),
      twice: judged.flatMap(({ accounting }) => accounting.twice),
      ghost: judged.flatMap(({ accounting }) => accounting.ghost),
      foreign: judged.flatMap(({ accounting }) => accounting.foreign),
    },
    disorder: judged.flatMap(({ disorder }) => disorder),
    sessions: sessionViolations(calls),
    labels: judged.flatMap(({ labels }) => labels),
    complaints: await complaintsOf(cluster, worlds),
  }
}

function judgeWorld({ epoch, file }: World, place: number, { callers, prefix, tags, worlds }: Evidence) {
  const log = logOf(file, tags)
  const logged = new Set(log.map(({ value }) => value))
  const calls = callers.flatMap((caller) => caller.calls)
  const ofEpoch = calls.filter(({ seen }) => seen?.epoch === epoch)
  const strong = callers.flatMap(({ strongReads }) => strongReads.filter(({ seen }) => seen?.epoch === epoch))
  // A write that was answered of another epoch may have been done in this one too, or may not.
  const writes = calls
    .filter(({ kind }) => kind === 'write')
    .map((call) => (call.seen?.epoch === epoch || logged.has(call.value) ? call : open(call)))
  const acknowledged = callers.flatMap((caller) => caller.acknowledged)
  const isHere = (write: Acknowledged) => lasts(write, worlds.slice(0, place + 1))
  return {
    accounting: account(
      {
        acknowledged: acknowledged.filter(isHere).map(({ value }) => value),
        refused: callers.flatMap(({ refused }) => refused),
        unanswered: [
          ...callers.flatMap(({ unanswered }) => unanswered),
          ...acknowledged.filter((write) => !isHere(write)).map(({ value }) => value),
        ],
      },
      storedIn(file, prefix),
    ),
    disorder: linearizabilityViolations([...writes, ...strong]),
    labels: labelViolations(ofEpoch, log),
  }
}

const open = (call: Call): Call => ({ ...call, seen: null, end: Number.POSITIVE_INFINITY })

/** Whether a write of one of the databases is in the last of them: each that came after it was restored with it. */
function lasts({ epoch, position }: Acknowledged, worlds: readonly World[]): boolean {
  const made = worlds.findIndex((world) => world.epoch === epoch)
  return made >= 0 && worlds.slice(made + 1).every(({ base }) => position <= base)
}

/** What the log and the tables have of a trial, each as often as it is there. */
function storedIn(file: string, prefix: string): string[] {
  using database = new Database(file, { readonly: true })
  const sql = `select json_extract(image, '$.name') as value from changes where resource = 'tags' and value like ?1
    union all select body from comments where body like ?1`
  const stored = database.query<{ value: string }, [string]>(sql).all(`${prefix}%`)
  return stored.map(({ value }) => value)
}

function logOf(file: string, ids: readonly string[]): Change[] {
  using database = new Database(file, { readonly: true })
  const sql = `select id as key, seq as position, version, json_extract(image, '$.name') as value from changes
    where resource = 'tags' and id in (select value from json_each(?)) order by seq`
  return database.query<Change, [string]>(sql).all(JSON.stringify(ids))
}

async function complaintsOf({ primary, edges }: TestCluster, worlds: readonly World[]): Promise<string[]> {
  const copies = edges.map((edge) => edge.copyFile())
  const differences = () => copies.flatMap((file) => differencesBetween(primary.databaseFile, file))
  // What no position counts may come a moment later.
  await until(
    () => differences().length === 0,
    () => differences().join('\n'),
  )
  return [...worlds.map(({ file }) => file), ...copies].flatMap((file) => complaintsAbout(file, model))
}
