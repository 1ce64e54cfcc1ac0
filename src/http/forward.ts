import * as http from 'node:http'
import * as https from 'node:https'
import type { Socket } from 'node:net'
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

export interface LinkOptions {
  /** `http://host:port` or `https://host`. */
  readonly origin: string
  readonly elapsed: () => number
}

/** How long an answer, or a connection that was made, proves that what is sent next will arrive. */
const provenMsMax = 1_000

/**
 * The way to the primary: connections that are kept open, with node's own client, for it never repeats a request by
 * itself and tells when it is connected. Bun's fetch sends PUT and DELETE again where a kept connection ends after they
 * were written, so that a record's deletion may be answered 404; and it has no time limit for connecting.
 *
 * A kept connection of a link that has been silent may lead nowhere, which only more silence would tell. So idle ones are
 * dropped then, and a new one that cannot be made says that nothing was sent.
 */
export class Link {
  private readonly elapsed: () => number
  private readonly client: typeof http | typeof https
  private readonly agent: http.Agent
  private readonly host: string
  private readonly port: string
  private provenAt = Number.NEGATIVE_INFINITY
  private underWay = 0
  private bytesUnderWay = 0
  /** Whether the last that is known of the primary is that it answers. */
  isUp = true

  constructor({ origin, elapsed }: LinkOptions) {
    const { protocol, hostname, port } = new URL(origin)
    this.elapsed = elapsed
    this.client = protocol === 'https:' ? https : http
    this.agent = new this.client.Agent({ keepAlive: true, maxFreeSockets: limits.forwardsMax, scheduling: 'lifo' })
    this.host = hostname.replace(/^\[(.*)\]$/, '$1')
    this.port = port
  }

  /** Sends a message, and once more where it may be repeated and the connection was cut; never rejects. */
  async exchange(message: Message, msMax: number): Promise<Exchange> {
    const bytes = message.body.byteLength
    if (this.underWay >= limits.forwardsMax || this.bytesUnderWay + bytes > limits.forwardBytesMax)
      return { kind: 'overloaded' }
    this.underWay++
    this.bytesUnderWay += bytes
    try {
      return await this.exchangeWithin(message, msMax)
    } finally {
      this.underWay--
      this.bytesUnderWay -= bytes
    }
  }

  /** Cuts every connection. */
  close() {
    this.agent.destroy()
  }

  private async exchangeWithin(message: Message, msMax: number): Promise<Exchange> {
    const start = this.elapsed()
    const first = await this.attempt(message, msMax)
    const left = msMax - (this.elapsed() - start)
    if (first.kind !== 'unanswered' || !message.repeatable || left <= 0) return first
    const second = await this.attempt(message, left)
    return second.kind === 'unsent' ? first : second
  }

  /** Sends once. The first thing that is known of the outcome is the outcome. */
  private attempt({ method, path, headers, body }: Message, msMax: number): Promise<Exchange> {
    if (this.elapsed() - this.provenAt > provenMsMax) dropIdle(this.agent)
    const { agent, host, port } = this
    const request = this.client.request({ agent, host, port, method, path, headers })
    const { promise, resolve } = Promise.withResolvers<Exchange>()
    let isSent = false
    let connecting: Timer | undefined
    const settle = (exchange: Exchange) => {
      clearTimeout(connecting)
      clearTimeout(answering)
      resolve(exchange)
    }
    const fail = () => {
      this.doubt()
      settle({ kind: isSent ? 'unanswered' : 'unsent' })
      request.destroy()
    }
    const answering = setTimeout(fail, msMax)
    request.on('socket', (socket: Socket) => {
      isSent = !socket.connecting
      if (isSent) return
      connecting = setTimeout(fail, limits.forwardConnectMsMax)
      socket.once(this.client === https ? 'secureConnect' : 'connect', () => {
        clearTimeout(connecting)
        isSent = true
        this.provenAt = this.elapsed()
      })
    })
    request.once('error', fail)
    request.once('response', (response) => {
      this.provenAt = this.elapsed()
      this.isUp = true
      readAnswer(response, settle, fail)
    })
    request.end(body)
    return promise
  }

  private doubt() {
    this.provenAt = Number.NEGATIVE_INFINITY
    this.isUp = false
  }
}

function dropIdle(agent: http.Agent) {
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
}

/**
 * Reads an answer to its end. One that breaks off, or is none of HTTP, is no answer; nor is a failure that is no problem:
 * a proxy before the primary says so that it has none, and whether the primary had the request, it does not say.
 */
function readAnswer(response: http.IncomingMessage, settle: (exchange: Exchange) => void, fail: () => void) {
  const status = response.statusCode ?? 0
  const chunks: Uint8Array[] = []
  response.on('data', (chunk: Uint8Array) => chunks.push(chunk))
  response.once('error', fail)
  response.once('aborted', fail)
  response.once('end', () => {
    const isFailure = status >= 500 && !response.headers['content-type']?.startsWith('application/problem+json')
    if (!response.complete || status < 200 || status > 599 || isFailure) return fail()
    settle({ kind: 'answered', status, headers: carriedHeaders(response), body: Buffer.concat(chunks) })
  })
}

function carriedHeaders({ rawHeaders, headers }: http.IncomingMessage): [string, string][] {
  const dropped = connectionHeaders(headers.connection)
  const pairs: [string, string][] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name = '', value = ''] = rawHeaders.slice(i, i + 2)
    if (!dropped.has(name.toLowerCase())) pairs.push([name, value])
  }
  return pairs
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
  let timer: Timer | undefined
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
