import * as http from 'node:http'
import * as https from 'node:https'
import type { Socket } from 'node:net'
import { limits } from '../schema/limits.ts'
import { connectionHeaders, type Exchange, type Message, type Wire } from './forward.ts'

export interface NodeWireOptions {
  /** `http://host:port` or `https://host`. */
  readonly origin: string
  readonly elapsed: () => number
}

/** How long an answer, or a connection that was made, proves that what is sent next will arrive. */
const provenMsMax = 1_000

/**
 * The wire of Bun and Node: connections that are kept open, with node's own client, for it never repeats a request by
 * itself and tells when it is connected. Bun's fetch sends PUT and DELETE again where a kept connection ends after they
 * were written, so that a record's deletion may be answered 404; and it has no time limit for connecting.
 *
 * A kept connection of a wire that has been silent may lead nowhere, which only more silence would tell. So idle ones are
 * dropped then, and a new one that cannot be made says that nothing was sent.
 */
export class NodeWire implements Wire {
  private readonly elapsed: () => number
  private readonly client: typeof http | typeof https
  private readonly agent: http.Agent
  private readonly host: string
  private readonly port: string
  private provenAt = Number.NEGATIVE_INFINITY
  isUp = true

  constructor({ origin, elapsed }: NodeWireOptions) {
    const { protocol, hostname, port } = new URL(origin)
    this.elapsed = elapsed
    this.client = protocol === 'https:' ? https : http
    this.agent = new this.client.Agent({ keepAlive: true, maxFreeSockets: limits.forwardsMax, scheduling: 'lifo' })
    this.host = hostname.replace(/^\[(.*)\]$/, '$1')
    this.port = port
  }

  /** Cuts every connection. */
  close() {
    this.agent.destroy()
  }

  /** Sends once. The first thing that is known of the outcome is the outcome. */
  attempt({ method, path, headers, body }: Message, msMax: number): Promise<Exchange> {
    if (this.elapsed() - this.provenAt > provenMsMax) dropIdle(this.agent)
    const { agent, host, port } = this
    const request = this.client.request({ agent, host, port, method, path, headers })
    const { promise, resolve } = Promise.withResolvers<Exchange>()
    let isSent = false
    let connecting: ReturnType<typeof setTimeout> | undefined
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
