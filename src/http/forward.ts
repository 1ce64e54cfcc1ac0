import type { Epoch, Position, Seq } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import { countedHeader } from './rate-limits.ts'

/** A request as it goes to the primary. */
export interface Message {
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  /** Whether it may be carried out twice: a read, or a write with an Idempotency-Key. */
  readonly repeatable: boolean
}

export const nothing = new Uint8Array()

/** What became of it. Where it is `unsent`, not one byte of it left this node; `unanswered`, nobody here can know. */
export type Exchange = Answered | { readonly kind: 'unsent' | 'unanswered' | 'overloaded' }

export interface Answered {
  readonly kind: 'answered'
  readonly status: number
  /** In the order of the wire, without those that belong to the connection. */
  readonly headers: [name: string, value: string][]
  readonly body: Uint8Array<ArrayBuffer>
}

/**
 * How messages travel, one at a time. Drivers: `node-wire.ts` over node's HTTP client, `fetch-wire.ts` where there is
 * nothing but fetch.
 */
export interface Wire {
  /** Sends once, within `msMax` milliseconds. The first thing that is known of the outcome is the outcome; never rejects. */
  attempt(message: Message, msMax: number): Promise<Exchange>
  /** Whether the last that is known of the primary is that it answers. */
  readonly isUp: boolean
  close(): void
}

/** The way to the primary: what is on it at once is bounded, and what may be repeated is, where a connection was cut. */
export class Link {
  private readonly wire: Wire
  private readonly elapsed: () => number
  private readonly bytesMax: number
  private underWay = 0
  private bytesUnderWay = 0

  /** `bytesMax` are the bytes of bodies that are on it at once. */
  constructor(wire: Wire, elapsed: () => number, bytesMax: number = limits.forwardBytesMax) {
    this.wire = wire
    this.elapsed = elapsed
    this.bytesMax = bytesMax
  }

  get isUp(): boolean {
    return this.wire.isUp
  }

  /** Sends a message, and once more where it may be repeated and the connection was cut; never rejects. */
  async exchange(message: Message, msMax: number): Promise<Exchange> {
    const bytes = message.body.byteLength
    if (this.underWay >= limits.forwardsMax || this.bytesUnderWay + bytes > this.bytesMax) return { kind: 'overloaded' }
    this.underWay++
    this.bytesUnderWay += bytes
    try {
      return await this.exchangeWithin(message, msMax)
    } finally {
      this.underWay--
      this.bytesUnderWay -= bytes
    }
  }

  close() {
    this.wire.close()
  }

  private async exchangeWithin(message: Message, msMax: number): Promise<Exchange> {
    const start = this.elapsed()
    const first = await this.wire.attempt(message, msMax)
    const left = msMax - (this.elapsed() - start)
    if (first.kind !== 'unanswered' || !message.repeatable || left <= 0) return first
    const second = await this.wire.attempt(message, left)
    return second.kind === 'unsent' ? first : second
  }
}

const hopByHop = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]
const hopByHopAlone: ReadonlySet<string> = new Set(hopByHop)

/** The headers that belong to one connection, and those that `Connection` names (RFC 9110 section 7.6.1). */
export function connectionHeaders(connection: string | null | undefined): ReadonlySet<string> {
  if (!connection || /^(keep-alive|close)$/i.test(connection)) return hopByHopAlone
  return new Set([...hopByHop, ...connection.split(',').map((name) => name.trim().toLowerCase())])
}

/** What a request is marked with on its way: the name of this node (RFC 9110 section 7.6.3) and of the request. */
export interface Marks {
  readonly via: string
  readonly requestId: string
  readonly newId: () => string
  /** That this node has counted the request for its caller's limit; undefined where it counts none. */
  readonly counted: string | undefined
}

/** Headers that this node answers for itself: to whom, from which page, how long, and whether to go on sending. */
const ownHeaders = ['host', 'origin', 'content-length', 'expect']

/**
 * A caller's request as it goes on: the same but for what belongs to the connection and to this node, and for its marks.
 * A trace is begun where the caller has begun none.
 */
export function messageOf(request: Request, body: Uint8Array, { via, requestId, newId, counted }: Marks): Message {
  const { method, url } = request
  const dropped = connectionHeaders(request.headers.get('connection'))
  const headers: Record<string, string> = {}
  request.headers.forEach((value, name) => {
    if (dropped.has(name) || ownHeaders.includes(name)) return
    // Bun's server takes the one control character that no client may send.
    if (value.includes('\x7f')) throw new Problem('invalid-header', { detail: `${name} has a control character.` })
    headers[name] = value
  })
  headers.via = headers.via ? `${headers.via}, 1.1 ${via}` : `1.1 ${via}`
  headers['x-request-id'] = requestId
  if (counted !== undefined) headers[countedHeader] = counted
  headers.traceparent ??= `00-${hexOf(newId())}-${hexOf(newId()).slice(16)}-01`
  const isRead = method === 'GET' || method === 'HEAD'
  if (!isRead) headers['content-length'] = String(body.byteLength)
  const path = url.slice(url.indexOf('/', url.indexOf('//') + 2))
  return { method, path, headers, body, repeatable: isRead || headers['idempotency-key'] !== undefined }
}

function hexOf(id: string): string {
  return id.replaceAll('-', '')
}

/** An answer of the primary as this node's own. */
export function responseTo({ method }: Request, { status, headers, body }: Answered): Response {
  const isBodiless = method === 'HEAD' || status === 204 || status === 304
  return new Response(isBodiless ? null : body, { status, headers })
}

/** Pause between two questions to the primary; shorter than what an answer proves of the link. */
const watchMs = 500

/**
 * Asks the primary for its position, again and again, and tells it. This keeps proving the link, too, so that a write
 * need not connect first.
 */
export function watchPrimary(link: Link, learn: (position: Position) => void): { stop(): void } {
  const message = { method: 'GET', path: '/readyz', headers: {}, body: nothing, repeatable: false }
  let timer: ReturnType<typeof setTimeout> | undefined
  let isStopped = false
  const ask = async () => {
    const exchange = await link.exchange(message, limits.forwardConnectMsMax)
    const position = exchange.kind === 'answered' && exchange.status === 200 ? positionIn(exchange.body) : null
    if (position) learn(position)
    if (!isStopped) timer = setTimeout(ask, watchMs)
  }
  void ask()
  return {
    stop() {
      isStopped = true
      clearTimeout(timer)
    },
  }
}

/** The position that a node's `/readyz` tells; null where it is none of ours. */
function positionIn(body: Uint8Array): Position | null {
  const text = new TextDecoder().decode(body)
  const match = /"epoch":"([a-z0-9]{1,16})","position":(\d{1,15})\b/.exec(text)
  return match ? { epoch: match[1] as Epoch, seq: Number(match[2]) as Seq } : null
}
