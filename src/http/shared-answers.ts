import type { Cache, Found } from '../cache/cache.ts'
import { type Epoch, type Position, positionIn } from '../log/position.ts'
import { limits } from '../schema/limits.ts'
import { dependency } from './cache-groups.ts'
import { matchesTag, parseConsistency } from './negotiation.ts'
import { jsonHeaders, publicCaching, readVary, serverTiming } from './present.ts'
import { type PublicRead, publicRead } from './public-read.ts'
import type { Service } from './service.ts'
import { SharedNumbers } from './shared-numbers.ts'

export interface SharedOptions {
  readonly caches: (epoch: string) => Cache<string>
  readonly region: string
  /** How old an answer may be where its reader asks for nothing, in milliseconds. */
  readonly ageMsMax: number
  readonly elapsed: () => number
}

/** One read at a node of which history. */
export interface SharedVisit {
  readonly request: Request
  readonly service: Service
  readonly epoch: Epoch
}

/** Answers it without what is shared. */
type Read = (request: Request) => Response | Promise<Response>

/** An answer as it is shared: its body, and the headers that are not the same for all. */
interface Shared {
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

/** What was read to be shared: it was true `ageMs` before it was asked for, as far as its node knew. */
interface Filled extends Shared {
  readonly ageMs: number
}

/** What is being read, for all who ask for it meanwhile; null where it turns out to be nothing that is shared. */
interface Fill {
  readonly begun: number
  readonly shared: Promise<Filled | null>
}

/** What an answer must be: at or after a position, and true at most so long ago. */
interface Need {
  readonly seqMin: number
  readonly ageMsMax: number
}

interface Asked extends SharedVisit {
  readonly read: PublicRead
  readonly need: Need
  readonly start: number
}

const sharedHeaders = ['API-Version', 'Cache-Groups', 'Consistency-Token', 'Deprecation', 'ETag', 'Link', 'Sunset']

/**
 * Answers to those without a key, shared between nodes. It stands before a read that is dear, and spares it where an
 * answer is kept that is as fresh as its reader asks. Where the cache is away, it is as if there were none.
 */
export class SharedAnswers {
  readonly numbers = new SharedNumbers()
  private readonly options: SharedOptions
  private readonly fills = new Map<string, Fill>()
  private readonly keeping = new Set<Promise<void>>()
  private cache: { readonly epoch: Epoch; readonly of: Cache<string> } | null = null
  private written: Position | null = null

  constructor(options: SharedOptions) {
    this.options = options
  }

  /** Takes in that something was written through this node: whoever asks for nothing here misses it no more. */
  learnWrite(position: Position) {
    const { written } = this
    if (written?.epoch !== position.epoch || written.seq < position.seq) this.written = position
  }

  async answer(visit: SharedVisit, read: Read): Promise<Response> {
    const { service, request } = visit
    const start = this.options.elapsed()
    const asked = publicRead(service, request)
    const need = asked && this.needOf(visit)
    if (!asked || !need) {
      const response = await read(request)
      return response.headers.has('etag') ? this.marked(response, 'bypass', 'fwd=bypass') : response
    }
    return this.find({ ...visit, read: asked, need, start }, read)
  }

  /** Resolves when nothing is on its way into the cache any more. */
  async settled(): Promise<void> {
    await Promise.all(this.keeping)
  }

  /** Null where only who has the data may answer. What is wrong with the headers is told there, too. */
  private needOf({ request: { headers }, service, epoch }: SharedVisit): Need | null {
    try {
      const asked = parseConsistency(headers.get('consistency'), headers.get('consistency-token'), service.sealer)
      switch (asked.kind) {
        case 'strong':
          return null
        case 'eventual':
          return { seqMin: 0, ageMsMax: Number.POSITIVE_INFINITY }
        case 'bounded':
          return { seqMin: 0, ageMsMax: asked.stalenessSecondsMax * 1_000 }
        case 'session': {
          if (asked.token !== null && asked.token.epoch !== epoch) return null
          const written = this.written?.epoch === epoch ? this.written.seq : 0
          return { seqMin: Math.max(written, asked.token?.seq ?? 0), ageMsMax: this.options.ageMsMax }
        }
      }
    } catch {
      return null
    }
  }

  private async find(asked: Asked, read: Read): Promise<Response> {
    const { need } = asked
    const joined = await this.join(asked)
    if (joined) return joined
    const cache = this.cacheOf(asked.epoch)
    const look = await Promise.resolve(cache.look(asked.read.key)).catch(() => null)
    const found = look?.found
    if (look && found && found.seq >= need.seqMin && look.time - found.at <= need.ageMsMax) {
      const shared = sharedIn(asked, found)
      const ttl = Math.max(0, Math.round((found.entry.at + limits.sharedEntryMsMax - look.time) / 1_000))
      if (shared) return this.present(asked, shared, 'hit', `hit; ttl=${ttl}`, look.time - found.at)
    }
    const why = look === null ? 'away' : found ? 'stale' : 'miss'
    return (await this.join(asked)) ?? this.fill(asked, read, why, look?.time ?? null)
  }

  /** What another request is reading already, where that is as good; null where nothing is. */
  private async join(asked: Asked): Promise<Response | null> {
    const { need, read } = asked
    const fill = this.fills.get(read.key)
    const shared = await fill?.shared
    if (!fill || !shared) return null
    const age = this.options.elapsed() - fill.begun + shared.ageMs
    if (seqOf(shared) < need.seqMin || age > need.ageMsMax) return null
    return this.present(asked, shared, 'joined', 'fwd=miss; collapsed', age)
  }

  /** Reads, keeps what may be kept, and hands it to all who ask for the same meanwhile. */
  private async fill(asked: Asked, read: Read, why: 'away' | 'stale' | 'miss', time: number | null): Promise<Response> {
    const { key } = asked.read
    const { promise, resolve } = Promise.withResolvers<Filled | null>()
    const isFirst = !this.fills.has(key)
    if (isFirst) this.fills.set(key, { begun: this.options.elapsed(), shared: promise })
    let shared: Filled | null = null
    try {
      const response = await read(whole(asked.request))
      const text = response.body === null ? null : await response.text()
      shared = text === null ? null : shareable(response, text, asked.epoch)
      const isKept = shared !== null && time !== null && this.keep(asked, shared, Math.max(0, time - shared.ageMs))
      const status = why === 'away' ? 'fwd=miss; detail=away' : `fwd=${why}`
      return this.marked(told(asked.request, response, text), why, isKept ? `${status}; stored` : status)
    } finally {
      if (isFirst) this.fills.delete(key)
      resolve(shared)
    }
  }

  /** Whether it is on its way into the cache. Nobody waits for it to arrive. */
  private keep({ read, epoch }: Asked, shared: Shared, time: number): boolean {
    const value = JSON.stringify({ body: shared.body, headers: shared.headers })
    if (value.length > limits.sharedAnswerBytesMax) return false
    const groups = [...(shared.headers['Cache-Groups'] ?? '').matchAll(/"([^"]+)"/g)].map(([, group]) => group ?? '')
    const depends = groups.map((group) => dependency(read.tenant, group))
    const kept = Promise.resolve(
      this.cacheOf(epoch).keep(read.key, { value, bytes: value.length, seq: seqOf(shared), at: time, depends }),
    ).then(
      () => void this.numbers.kept++,
      () => undefined, // It is read again, then.
    )
    this.keeping.add(kept)
    void kept.finally(() => this.keeping.delete(kept))
    return true
  }

  private present(asked: Asked, shared: Shared, outcome: 'hit' | 'joined', status: string, ageMs = 0): Response {
    const { request, service, read, start } = asked
    const took = this.options.elapsed() - start
    const whole = new Response(shared.body, {
      headers: {
        ...jsonHeaders,
        'Cache-Control': publicCaching,
        Vary: readVary,
        ...shared.headers,
        Age: `${Math.floor(Math.max(0, ageMs) / 1_000)}`,
        'Server-Timing': serverTiming([['shared', took]]),
      },
    })
    const response = told(request, whole, shared.body)
    service.metrics.record('GET', read.route, response.status, took)
    return this.marked(response, outcome, status)
  }

  /** What this cache did is said after what those nearer to the data did (RFC 9211). */
  private marked(response: Response, outcome: keyof SharedNumbers['reads'], status: string): Response {
    this.numbers.reads[outcome]++
    const name = `Perigee-${this.options.region}`
    const before = response.headers.get('cache-status')
    const others = before === null || before.startsWith(`${name};`) ? '' : `${before}, `
    response.headers.set('Cache-Status', `${others}${name}; ${status}`)
    return response
  }

  private cacheOf(epoch: Epoch): Cache<string> {
    if (this.cache?.epoch !== epoch) this.cache = { epoch, of: this.options.caches(epoch) }
    return this.cache.of
  }
}

/** The request without its condition, so that the answer is a whole one. */
function whole(request: Request): Request {
  if (!request.headers.has('if-none-match')) return request
  const headers = new Headers(request.headers)
  headers.delete('if-none-match')
  return new Request(request.url, { headers })
}

/** An answer to one who may have it already. */
function told(request: Request, { status, headers }: Response, text: string | null): Response {
  const tag = headers.get('etag')
  if (status !== 200 || tag === null || !matchesTag(request.headers.get('if-none-match'), tag))
    return new Response(text, { status, headers })
  const known = new Headers(headers)
  for (const name of Object.keys(jsonHeaders)) known.delete(name)
  known.delete('content-length')
  return new Response(null, { status: 304, headers: known })
}

/** What of an answer is shared; null where it is none for everyone, or where nobody knows when it was true. */
function shareable({ status, headers }: Response, body: string, epoch: Epoch): Filled | null {
  const isPublic = headers.get('cache-control') === publicCaching && headers.get('vary') === readVary
  const isWhole = status === 200 && headers.get('content-type') === jsonHeaders['Content-Type']
  const isPlain = ['age', 'content-encoding', 'set-cookie'].every((name) => !headers.has(name))
  // What a copy answers was true when the copy last had everything.
  const ageMs = Math.ceil(1_000 * Number(headers.get('replica-age') ?? 0))
  if (!isPublic || !isWhole || !isPlain || !(ageMs >= 0)) return null
  const named = sharedHeaders.flatMap((name) => {
    const value = headers.get(name)
    return value === null ? [] : [[name, value] as const]
  })
  const shared: Filled = { body, headers: Object.fromEntries(named), ageMs }
  return shared.headers.ETag && shared.headers['Cache-Groups'] && positionOf(shared)?.epoch === epoch ? shared : null
}

function positionOf({ headers }: Shared): Position | null {
  return positionIn(headers['Consistency-Token'] ?? '')
}

function seqOf(shared: Shared): number {
  return positionOf(shared)?.seq ?? -1
}

/** A kept answer, at the position that it is known to be true at; null where it is none that a node has kept. */
function sharedIn({ service, epoch }: SharedVisit, { entry, stamp }: Found<string>): Shared | null {
  try {
    const { body, headers } = JSON.parse(entry.value) as Shared
    const values = Object.entries(headers)
    const isSound = values.every(([name, value]) => sharedHeaders.includes(name) && /^[\x20-\x7e]*$/.test(value))
    const shared = { body, headers }
    if (typeof body !== 'string' || !isSound || !headers.ETag || seqOf(shared) !== entry.seq) return null
    const token = stamp ?? headers['Consistency-Token'] ?? ''
    const isOurs = service.epoch === epoch ? service.sealer.open(token) : positionIn(token)
    return isOurs?.epoch === epoch ? { body, headers: { ...headers, 'Consistency-Token': token } } : null
  } catch {
    return null
  }
}
