import { limits } from '../schema/limits.ts'
import { connectionHeaders, type Exchange, type Message, type Wire } from './forward.ts'

export interface FetchWireOptions {
  /** `http://host:port` or `https://host`. */
  readonly origin: string
  readonly elapsed: () => number
}

/**
 * How long an answer proves that what is sent next will arrive. Longer than over connections of one's own: to prove it
 * anew takes a round trip, and where it is wrong, the outcome of what was sent is told as unknown.
 */
const provenMsMax = 10_000

/** What Cloudflare's network answers where it had no connection to the origin, or none that it trusts (its 5xx docs). */
const notConnected: ReadonlySet<number> = new Set([521, 523, 525, 526, 530])

/**
 * The wire where there is nothing but fetch, which tells a connection that was refused from one that was cut by the same
 * words (workerd). So what is sent over a wire that has been silent waits for the answer to a question that does nothing.
 */
export class FetchWire implements Wire {
  private readonly options: FetchWireOptions
  private provenAt = Number.NEGATIVE_INFINITY
  private proving: Promise<boolean> | null = null
  isUp = true

  constructor(options: FetchWireOptions) {
    this.options = options
  }

  async attempt(message: Message, msMax: number): Promise<Exchange> {
    const start = this.options.elapsed()
    if (start - this.provenAt > provenMsMax && !(await this.prove(msMax))) return { kind: 'unsent' }
    const exchange = await this.send(message, Math.max(1, msMax - (this.options.elapsed() - start)))
    this.isUp = exchange.kind === 'answered'
    this.provenAt = this.isUp ? this.options.elapsed() : Number.NEGATIVE_INFINITY
    return exchange
  }

  close() {}

  /** Whether the origin answers; asked once for all that wait. */
  private prove(msMax: number): Promise<boolean> {
    this.proving ??= this.ask(Math.min(msMax, limits.forwardConnectMsMax)).finally(() => {
      this.proving = null
    })
    return this.proving
  }

  private async ask(msMax: number): Promise<boolean> {
    const question = { method: 'GET', path: '/livez', headers: {}, body: new Uint8Array(), repeatable: true }
    this.isUp = (await this.send(question, msMax)).kind === 'answered'
    return this.isUp
  }

  private async send({ method, path, headers, body }: Message, msMax: number): Promise<Exchange> {
    const isRead = method === 'GET' || method === 'HEAD'
    try {
      const response = await fetch(`${this.options.origin}${path}`, {
        method,
        // The answer goes on as it came, so it must not come in an encoding that fetch takes off it.
        headers: { ...headers, 'accept-encoding': 'identity' },
        body: isRead ? null : (body as Uint8Array<ArrayBuffer>),
        redirect: 'manual',
        signal: AbortSignal.timeout(msMax),
      })
      return await exchangeOf(response)
    } catch {
      return { kind: 'unanswered' } // Cut, too late or refused, which nobody here can tell apart.
    }
  }
}

/** A failure that is no problem is a proxy's: whether the primary had the request, it mostly does not say. */
async function exchangeOf(response: Response): Promise<Exchange> {
  const { status, headers } = response
  const body = new Uint8Array(await response.arrayBuffer())
  const isProblem = headers.get('content-type')?.startsWith('application/problem+json') === true
  if (status >= 500 && !isProblem) return { kind: notConnected.has(status) ? 'unsent' : 'unanswered' }
  const dropped = connectionHeaders(headers.get('connection'))
  return { kind: 'answered', status, headers: [...headers].filter(([name]) => !dropped.has(name)), body }
}
