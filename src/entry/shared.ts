import type { Cache } from '../cache/cache.ts'
import { MemoryBuckets } from '../cache/memory-buckets.ts'
import type { UpstashLink } from '../cache/upstash-link.ts'
import { isDear } from '../http/kept-answers.ts'
import { known, labelled } from '../http/metrics.ts'
import { Publisher } from '../http/news.ts'
import { RateLimits } from '../http/rate-limits.ts'
import type { AppOptions } from '../http/service.ts'
import { SharedAnswers } from '../http/shared-answers.ts'
import { limits } from '../schema/limits.ts'
import type { Node } from './node.ts'
import type { Settings } from './settings.ts'

const elapsed = () => performance.now()

/** What a process shares with others through Redis, where there is one, and how it limits its callers. */
export interface Shared {
  readonly caches: ((epoch: string) => Cache<string>) | null
  readonly rateLimits: RateLimits | undefined
  /** Lines of `/metrics` about Redis. */
  metrics(): readonly string[]
}

export async function openShared({ redis, rateLimits }: Settings): Promise<Shared> {
  const opened = redis && (await openRedis(redis))
  const { perKey, perAddress, trustedProxies } = rateLimits
  const isLimited = perKey !== null || perAddress !== null
  return {
    caches: opened?.caches ?? null,
    rateLimits: isLimited
      ? new RateLimits({
          perKey,
          perAddress,
          trustedProxies: new Set(trustedProxies),
          local: new MemoryBuckets(elapsed),
          shared: opened?.buckets ?? null,
          elapsed,
        })
      : undefined,
    metrics: () => (opened ? linkLines(opened.link) : []),
  }
}

/** Loaded where it is asked for: the client takes a tenth of the time in which a server starts. */
async function openRedis(redis: NonNullable<Settings['redis']>) {
  const [{ UpstashLink }, { upstashCaches }, { upstashBuckets }] = await Promise.all([
    import('../cache/upstash-link.ts'),
    import('../cache/upstash-redis.ts'),
    import('../cache/upstash-buckets.ts'),
  ])
  const link = new UpstashLink({ ...redis, answerMsMax: limits.sharedStoreMsMax, elapsed })
  return { link, caches: upstashCaches(link, limits.sharedEntryMsMax), buckets: upstashBuckets(link) }
}

/** The answers that a node shares; `ageMsMax` is how old they may be where their readers ask for nothing. */
export function openSharedAnswers({ caches }: Shared, region: string, ageMsMax: number): SharedAnswers | undefined {
  return caches ? new SharedAnswers({ caches, region, ageMsMax, elapsed }) : undefined
}

/** What more an app is given at a primary that has edges: it tells the shared cache what is committed, and reads from it where reads are dear. */
export interface SharedAtPrimary extends Pick<AppOptions, 'shared' | 'onWritten'> {
  /** Ends when nothing is on its way any more. */
  stop(): Promise<void>
}

/** `hasEdges`: other nodes can read its database; of a file that is its own, there is no one else to be told. */
export function shareAtPrimary(parts: Shared, node: Node, region: string, hasEdges: boolean): SharedAtPrimary {
  const { caches } = parts
  if (caches === null || !hasEdges) return { stop: () => Promise.resolve() }
  const { reader, epoch, sealer } = node
  const publisher = new Publisher({ reader, epoch, sealer, cache: caches(epoch) })
  const shared = isDear(reader) ? openSharedAnswers(parts, region, limits.sharedAgeMsMax) : undefined
  return {
    ...(shared && { shared }),
    onWritten(position) {
      shared?.learnWrite(position)
      publisher.nudge()
    },
    async stop() {
      await Promise.all([publisher.stop(), shared?.settled()])
    },
  }
}

function linkLines({ counts, isUp }: UpstashLink): readonly string[] {
  return [
    ...labelled(
      'perigee_redis_calls_total',
      'counter',
      'Calls of Redis: answered, failed or too late, and those that were spared because it was away.',
      'result',
      counts,
    ),
    ...known('perigee_redis_up', 'Whether Redis answers, as far as is known.', Number(isUp)),
  ]
}
