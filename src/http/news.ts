import type { Cache, News } from '../cache/cache.ts'
import type { Epoch, Seq, TokenSealer } from '../log/position.ts'
import { limits } from '../schema/limits.ts'
import { andThen, type Soon } from '../soon.ts'
import type { Reader } from '../store/reader.ts'
import { dependency } from './cache-groups.ts'

const newsSql = 'select seq, tenant, resource, id from changes where seq > ?1 order by seq limit ?2'
const headSql = 'select coalesce(max(seq), 0) from changes'

/** What the log says from a position on; -1 for nothing known. */
export function readNews(reader: Reader, from: number): Soon<Pick<News, 'from' | 'to' | 'seqByName'>> {
  const anew = () =>
    andThen(reader.rows(headSql, []), ([row]) => ({ from: null, to: Number(row?.[0]), seqByName: new Map() }))
  if (from < 0) return anew()
  return andThen(reader.rows(newsSql, [from, limits.keptNewsMax + 1]), (rows) => {
    if (rows.length > limits.keptNewsMax) return anew()
    const seqByName = new Map<string, number>()
    let to = from
    for (const [seq, tenant, resource, id] of rows) {
      to = Number(seq)
      seqByName.set(dependency(String(tenant), String(resource)), to)
      seqByName.set(dependency(String(tenant), `${resource}/${id}`), to)
    }
    return { from, to, seqByName }
  })
}

/** How often a shared cache is told that nothing has happened: an entry of it is known to be true of then. */
const beatMs = 1_000
/** Pause between two looks at the log: commits in between are told together. */
const pauseMs = 20

interface PublisherOptions {
  readonly reader: Reader
  readonly cache: Cache<string>
  readonly epoch: Epoch
  readonly sealer: TokenSealer
}

/** Tells the shared cache what the log says: after each commit of this node, and at a beat what others have committed. */
export class Publisher {
  private readonly options: PublisherOptions
  private position = -1
  private time = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private underWay: Promise<void> | null = null
  private isNudged = false
  private isStopped = false

  constructor(options: PublisherOptions) {
    this.options = options
    this.nudge()
  }

  nudge() {
    this.isNudged = true
    if (this.underWay || this.isStopped) return
    clearTimeout(this.timer)
    this.underWay = this.publish().finally(() => {
      this.underWay = null
      if (this.isStopped) return
      this.timer = setTimeout(() => this.nudge(), beatMs)
    })
  }

  async stop() {
    this.isStopped = true
    clearTimeout(this.timer)
    await this.underWay
  }

  private async publish() {
    const { reader, cache, epoch, sealer } = this.options
    while (this.isNudged && !this.isStopped) {
      this.isNudged = false
      try {
        const news = await readNews(reader, this.position)
        const stamp = sealer.seal({ epoch, seq: news.to as Seq })
        this.time = await cache.learn({ ...news, at: this.time, stamp })
        this.position = news.to
      } catch {
        // The database or the cache is away. Nothing is proven that was not told, and the next beat goes on from here.
        return
      }
      await new Promise((go) => setTimeout(go, pauseMs))
    }
  }
}
