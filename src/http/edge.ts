import { isAtLeast, type Position, positionIn } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import { andThen, type Soon } from '../soon.ts'
import type { Replica, ReplicaState } from '../store/replica.ts'
import { readBytes } from './body.ts'
import { EdgeNumbers, type Reason } from './edge-numbers.ts'
import { type Exchange, type Link, messageOf, nothing, responseTo } from './forward.ts'
import { countedSeal } from './rate-limits.ts'
import { present } from './reads.ts'
import { placeOf, RecentWrites } from './recent-writes.ts'
import type { Through } from './service.ts'
import type { SharedAnswers } from './shared-answers.ts'
import { consistencyOf, isOfRecords, isOfWebhooks, requestIdFor, type Visit, writtenRecord } from './visit.ts'

export interface EdgeOptions {
  /** To the primary, or to another edge. */
  readonly link: Link
  readonly region: string
  readonly replica: Replica
  /** From this age of the copy on, reads that ask for nothing are answered by the primary while it can be reached. */
  readonly lagMsMax: number
  /** How long the primary may take to answer. */
  readonly answerMsMax: number
  /** Asked before the primary, where there is such. */
  readonly shared?: SharedAnswers
  /** The copy has no webhooks, so that reads of them are the primary's to answer. */
  readonly withoutWebhooks?: boolean
  /** The bytes that it may hold of recent writes, where `limits.recentWriteBytesMax` are too many. */
  readonly recentBytesMax?: number
}

export interface Edge extends Through {
  /** Takes in where the primary says that it stands. */
  learn(position: Position): void
}

const retrySoon = { 'Retry-After': '1' }

/**
 * What makes a node an edge: its reads come from a copy of the primary's data as far as the caller's consistency allows,
 * everything else is the primary's to answer, and no answer is of an older world than the caller has already seen.
 */
export function createEdge(options: EdgeOptions): Edge {
  const edge = new Routing(options)
  return {
    answer: (request, local, service) => edge.answer({ request, local, service }),
    learn: (position) => edge.numbers.learn(position),
    health: (position) => edge.numbers.health(position, options.replica.state()),
    metrics: (position) => [
      ...edge.numbers.lines(position, options.replica.state()),
      ...(options.shared?.numbers.lines() ?? []),
    ],
  }
}

class Routing {
  readonly numbers = new EdgeNumbers()
  private readonly recent: RecentWrites
  private readonly options: EdgeOptions

  constructor(options: EdgeOptions) {
    this.options = options
    this.recent = new RecentWrites(options.recentBytesMax)
  }

  answer(visit: Visit): Soon<Response> {
    const { method } = visit.request
    if (method === 'GET' || method === 'HEAD') return this.read(visit)
    return method === 'OPTIONS' ? visit.local(visit.request) : this.write(visit)
  }

  private read(visit: Visit): Soon<Response> {
    const { request, local, service } = visit
    const state = this.options.replica.state()
    if (state.position === null) return this.readWithoutCopy(visit, state)
    if (this.options.withoutWebhooks && isOfWebhooks(visit)) return this.readAtPrimary(visit, 'no-copy')
    const consistency = consistencyOf(request, service)
    switch (consistency?.kind) {
      case undefined:
        return local(request)
      case 'strong':
        return this.readAtPrimary(visit, 'strong')
      case 'bounded':
        return state.ageMs !== null && state.ageMs <= consistency.stalenessSecondsMax * 1000
          ? this.readCopy(visit, state)
          : this.readAtPrimary(visit, 'bounded')
      case 'eventual':
        return this.preferRecentWrite(visit, state.position, null, () => this.readCopy(visit, state))
      case 'session':
        return this.readInSession(visit, state, state.position, consistency.token)
    }
  }

  private readInSession(visit: Visit, state: ReplicaState, here: Position, token: Position | null): Soon<Response> {
    if (token === null) {
      return this.preferRecentWrite(visit, here, null, () =>
        this.isTooOld(state)
          ? this.readAtPrimary(visit, 'too-old', () => this.readCopy(visit, state))
          : this.readCopy(visit, state),
      )
    }
    // A token of another epoch than this app's is newer than the copy or lost in a restore. The primary knows.
    if (token.epoch !== visit.service.epoch) return this.readAtPrimary(visit, 'epoch')
    if (isAtLeast(here, token)) return this.readCopy(visit, state)
    return this.preferRecentWrite(visit, here, token, () => this.readWhenReached(visit, token))
  }

  private isTooOld({ ageMs }: ReplicaState): boolean {
    return (ageMs === null || ageMs > this.options.lagMsMax) && this.options.link.isUp
  }

  private async readWhenReached(visit: Visit, token: Position): Promise<Response> {
    const { replica } = this.options
    replica.nudge()
    const reached = await replica.reached(token, limits.positionWaitMsMax)
    this.numbers.waits[reached ? 'reached' : 'expired']++
    if (reached) return this.readCopy(visit, replica.state())
    return this.readAtPrimary(visit, 'behind', () => {
      throw new Problem('position-not-reached', {
        detail: 'This node is behind the Consistency-Token, and the primary cannot be reached.',
        headers: retrySoon,
      })
    })
  }

  private readWithoutCopy(visit: Visit, { unready }: ReplicaState): Soon<Response> {
    return this.readAtPrimary(visit, 'no-copy', () => {
      throw new Problem('not-ready', { detail: unready ?? 'There is no copy of the data yet.', headers: retrySoon })
    })
  }

  /** What this node itself answers; where it finds that it cannot, for its copy is being changed, the primary does. */
  private readCopy(visit: Visit, { ageMs }: ReplicaState): Soon<Response> {
    return andThen(visit.local(visit.request), (response) => {
      if (response.status === 503 && isOfRecords(visit)) return this.readAtPrimary(visit, 'copy-failed', () => response)
      if (response.headers.has('consistency-token')) {
        this.numbers.reads.replica++
        response.headers.set('Replica-Age', ageMs === null ? 'unknown' : (ageMs / 1000).toFixed(3))
      }
      return response
    })
  }

  /** The answer from a write that went through this node and that its copy does not have; else what `otherwise` answers. */
  private preferRecentWrite(
    visit: Visit,
    here: Position,
    token: Position | null,
    otherwise: () => Soon<Response>,
  ): Soon<Response> {
    if (!this.recent.areAhead(here)) return otherwise()
    return andThen(this.readRecentWrite(visit, here, token), (response) => response ?? otherwise())
  }

  private async readRecentWrite(visit: Visit, here: Position, token: Position | null): Promise<Response | null> {
    const { request, service } = visit
    const start = service.elapsed()
    const place = await placeOf(request, service)
    const write = place && this.recent.find(place, here)
    if (!place || !write || (token !== null && !isAtLeast(write.position, token))) return null
    this.numbers.reads['recent-write']++
    service.metrics.countVersion(place.view.version, place.caller.key)
    if (write.answer === null) {
      throw new Problem('not-found', {
        detail: `There is no ${place.view.name} with this id.`,
        headers: { 'Consistency-Token': service.sealer.seal(write.position) },
        version: place.view.version,
      })
    }
    const told = service.sealer.seal(write.position)
    const origin = { kind: 'kept', token: told, status: service.cacheHit } as const
    const response = present(write.answer, request.headers.get('if-none-match'), origin)
    service.metrics.record(request.method, write.answer.route, response.status, service.elapsed() - start)
    return response
  }

  /** What the primary answers: from what is shared where that is as good, else its own. */
  private readAtPrimary(visit: Visit, reason: Reason, otherwise?: () => Soon<Response>): Soon<Response> {
    const { request, local, service } = visit
    if (!isOfRecords(visit)) return local(request)
    const { shared } = this.options
    const epoch = this.options.replica.state().position?.epoch ?? this.numbers.epoch
    if (!shared || epoch === null) return this.askPrimary(visit, reason, otherwise)
    return shared.answer({ request, service, epoch }, (whole) =>
      this.askPrimary({ ...visit, request: whole }, reason, otherwise),
    )
  }

  /** The primary's answer. Where it has none, or only a failure, what `otherwise` answers, if there is such. */
  private async askPrimary(visit: Visit, reason: Reason, otherwise?: () => Soon<Response>): Promise<Response> {
    this.numbers.forwardedReads[reason]++
    const msMax = reason === 'too-old' ? limits.forwardConnectMsMax : this.options.answerMsMax
    const exchange = await this.forward(visit, nothing, requestIdFor(visit), msMax)
    if (otherwise && !(exchange.kind === 'answered' && exchange.status < 500)) return otherwise()
    if (exchange.kind === 'overloaded') throw new Problem('overloaded', { headers: retrySoon })
    if (exchange.kind !== 'answered') throw new Problem('primary-unreachable', { headers: retrySoon })
    this.numbers.reads.primary++
    return responseTo(visit.request, exchange)
  }

  /** Sends a write on and answers what the primary does. Nothing of it depends on whether its sender still listens. */
  private async write(visit: Visit): Promise<Response> {
    const { request } = visit
    const requestId = requestIdFor(visit)
    const exchange = await this.forward(visit, await readBytes(request), requestId, this.options.answerMsMax)
    this.numbers.countWrite(exchange)
    switch (exchange.kind) {
      case 'answered': {
        const response = responseTo(request, exchange)
        if (exchange.status < 300) await this.remember(visit, response, exchange.body, requestId)
        return response
      }
      case 'unsent':
        throw new Problem('primary-unreachable', { headers: { ...retrySoon, 'X-Request-Id': requestId } })
      case 'overloaded':
        throw new Problem('overloaded', { headers: retrySoon })
      case 'unanswered':
        throw new Problem('outcome-unknown', { headers: { 'X-Request-Id': requestId } })
    }
  }

  private async forward(visit: Visit, body: Uint8Array, requestId: string, msMax: number): Promise<Exchange> {
    const { request, service } = visit
    const hops = request.headers.get('via')?.match(/\bperigee-/g)?.length ?? 0
    if (hops > limits.hopsMax) throw new Problem('loop-detected')
    const start = service.elapsed()
    const via = `perigee-${this.options.region}`
    const counted = service.rateLimits && countedSeal(service, requestId)
    const message = messageOf(request, body, { via, requestId, newId: service.newId, counted })
    const exchange = await this.options.link.exchange(message, msMax)
    if (exchange.kind === 'answered')
      service.metrics.record(request.method, 'forwarded', exchange.status, service.elapsed() - start)
    return exchange
  }

  /**
   * Keeps what a write answered for its caller to read, and has the copy fetch it. The write is done, so what goes wrong
   * here is reported and does not change its answer.
   */
  private async remember(visit: Visit, response: Response, body: Uint8Array, requestId: string) {
    const { request, service } = visit
    this.options.replica.nudge()
    const position = positionIn(response.headers.get('consistency-token') ?? '')
    if (position === null) return
    this.numbers.learn(position)
    this.options.shared?.learnWrite(position)
    const written = writtenRecord(visit, response)
    if (written === null || position.epoch !== service.epoch) return
    try {
      const caller = await service.authenticate(request.headers.get('authorization'))
      const record = written.tag === null ? null : { body: new TextDecoder().decode(body), tag: written.tag }
      this.recent.keep(service, { caller, view: written.view, id: written.id }, position.seq, record)
    } catch (error) {
      // A key that this copy does not have yet: its holder reads what the copy has, or waits with its token.
      if (!(error instanceof Problem)) service.onFault(error, requestId)
    }
  }
}
