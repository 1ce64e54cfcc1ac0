import type { Call } from './history.ts'
import { head, openWire, type WireAnswer } from './socket.ts'

/** What callers have in common. */
export interface Callers {
  readonly urls: readonly string[]
  /** An API key. */
  readonly key: string
  /** From 0 to 1, drawn anew with each call. */
  readonly random: () => number
  /** Whether they send back the newest Consistency-Token that they have. */
  readonly hasTokens: boolean
  /** How long a caller waits for an answer before it goes away. */
  readonly patienceMs: () => number
  /** Answers by their status; `refused` connections, over which nothing was sent, and requests that were `cut` off. */
  readonly count: (status: number | 'refused' | 'cut') => void
}

interface Write {
  readonly method: 'PUT' | 'POST'
  readonly path: string
  readonly body: object
  /** The value that is written, which no other write has. */
  readonly value: string
  /** Whether it is sent under an Idempotency-Key, and again until it is settled. */
  readonly hasKey: boolean
}

/** A write that was answered with success, and what its answer says of the log. */
export interface Acknowledged {
  readonly value: string
  readonly epoch: string
  readonly position: number
}

/** What became of a write: one that was neither answered nor refused may have been done. */
type Fate = WireAnswer | 'refused' | 'unanswered'

/** How long a write with a key is tried again and again, with pauses. What breaks is mended much sooner. */
const settleMsMax = 60_000
const pauseMs = 50

/**
 * A client that sends one request after the other, each to a node that it draws, over a connection of its own, so that
 * nothing repeats a request but the caller. Keeps what it asked and what it was told.
 */
export class Caller {
  readonly calls: Call[] = []
  readonly strongReads: Call[] = []
  readonly acknowledged: Acknowledged[] = []
  readonly refused: string[] = []
  readonly unanswered: string[] = []
  private readonly name: string
  private readonly shared: Callers
  private token: string | null = null
  /** The epoch of the last answer, and how many sessions there were before: one ends when it is told of another epoch. */
  private epoch: string | null = null
  private sessions = 0

  constructor(name: string, shared: Callers) {
    this.name = name
    this.shared = shared
  }

  /** Reads a tag. What was not answered, or not with the record or its absence, tells nothing and is not kept. */
  async read(id: string, level: 'session' | 'strong', url = this.anyUrl()) {
    const start = performance.now()
    const headers = level === 'strong' ? ['Consistency: strong'] : this.tokenHeaders()
    const hasToken = level === 'session' && headers.length > 0
    const answer = await this.send(url, head(`GET /tags/${id}`, ...this.authorization(), ...headers))
    if (answer === 'refused' || answer === 'cut') return
    if (hasToken && isOfAnotherEpoch(answer)) this.token = this.epoch = null
    if (answer.status !== 200 && answer.status !== 404) return
    const value = answer.status === 200 ? JSON.parse(answer.body).name : null
    const seen = this.see(answer, hasToken)
    const call = { ...this.callOf(id, 'read', value, start), seen, end: performance.now() }
    this.calls.push(call)
    if (level === 'strong') this.strongReads.push(call)
  }

  /** Puts a tag, whose name is the value. */
  async put(id: string, value: string, { hasKey, url }: { readonly hasKey: boolean; readonly url?: string }) {
    const start = performance.now()
    const write = { method: 'PUT', path: `/tags/${id}`, body: { name: value }, value, hasKey } as const
    const fate = await this.settle(write, url)
    if (fate === 'refused') return
    const seen = fate === 'unanswered' ? null : this.see(fate, false)
    const end = fate === 'unanswered' ? Number.POSITIVE_INFINITY : performance.now()
    this.calls.push({ ...this.callOf(id, 'write', value, start), seen, end })
  }

  /** Creates a comment, whose body is the value. */
  async comment(on: { readonly postId: string; readonly authorId: string }, value: string, hasKey: boolean) {
    await this.settle({ method: 'POST', path: '/comments', body: { ...on, body: value }, value, hasKey })
  }

  private async settle(write: Write, url?: string): Promise<Fate> {
    const fate = await this.fateOf(write, url)
    if (fate === 'refused' || fate === 'unanswered') this[fate].push(write.value)
    else this.acknowledged.push({ value: write.value, ...positionIn(tokenOf(fate)) })
    return fate
  }

  private async fateOf(write: Write, url?: string): Promise<Fate> {
    let fate: Fate = 'refused'
    const deadline = performance.now() + settleMsMax
    for (;;) {
      const answer = await this.send(url ?? this.anyUrl(), this.messageOf(write))
      if (answer === 'cut' || (answer !== 'refused' && answer.status === 504)) fate = 'unanswered'
      else if (answer !== 'refused' && answer.status < 300) return answer
      else if (answer !== 'refused' && answer.status < 500) return fate
      if (!write.hasKey) return fate
      if (performance.now() > deadline) throw new Error(`the key of ${write.value} gets no answer`)
      await Bun.sleep(pauseMs)
    }
  }

  private messageOf({ method, path, body, value, hasKey }: Write): string {
    const text = JSON.stringify(body)
    const headers = [
      ...this.authorization(),
      ...(hasKey ? [`Idempotency-Key: ${value}`] : []),
      'Content-Type: application/json',
      `Content-Length: ${text.length}`,
    ]
    return head(`${method} ${path}`, ...headers) + text
  }

  /** Sends a request and waits for its answer as long as the caller has patience. */
  private async send(url: string, message: string): Promise<WireAnswer | 'refused' | 'cut'> {
    const wire = await openWire(url).catch(() => null)
    const gone = Promise.withResolvers<null>()
    const timer = setTimeout(gone.resolve, this.shared.patienceMs(), null)
    wire?.send(message)
    const answer = wire && (await Promise.race([wire.answer(), gone.promise]))
    clearTimeout(timer)
    wire?.destroy()
    const outcome = answer ?? (wire ? 'cut' : 'refused')
    this.shared.count(typeof outcome === 'string' ? outcome : outcome.status)
    return outcome
  }

  private callOf(key: string, kind: Call['kind'], value: string | null, start: number) {
    return { session: `${this.name}.${this.sessions}`, key, kind, value, start }
  }

  /**
   * What an answer shows. Keeps its token where it is newer. An answer of another epoch begins another session, unless
   * it was asked for with a token: then it should not have been given.
   */
  private see(answer: WireAnswer, hadToken: boolean): NonNullable<Call['seen']> {
    const token = tokenOf(answer)
    const { epoch, position } = positionIn(token)
    const known = positionIn(this.token)
    if (known.epoch !== epoch || position >= known.position) this.token = token
    if (this.epoch !== epoch && !hadToken) this.sessions++
    this.epoch = epoch
    return { version: Number.parseInt(answer.headers.get('etag')?.slice(1) ?? '0', 10), epoch, position }
  }

  private tokenHeaders(): string[] {
    return this.token !== null && this.shared.hasTokens ? [`Consistency-Token: ${this.token}`] : []
  }

  private authorization(): string[] {
    return [`Authorization: Bearer ${this.shared.key}`]
  }

  private anyUrl(): string {
    const { urls, random } = this.shared
    return urls[Math.floor(random() * urls.length)] ?? ''
  }
}

const tokenOf = ({ headers }: WireAnswer) => headers.get('consistency-token') ?? null

/** What a token of `<epoch>.<number of the last change>.<seal>` is of; before everything where there is none. */
function positionIn(token: string | null): Omit<Acknowledged, 'value'> {
  const [epoch = '', position = '-1'] = token?.split('.') ?? []
  return { epoch, position: Number(position) }
}

function isOfAnotherEpoch({ status, body }: WireAnswer): boolean {
  return status === 409 && body.includes('/problems/token-from-another-epoch')
}
