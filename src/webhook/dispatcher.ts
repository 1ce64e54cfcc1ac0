import type { Epoch, TokenSealer } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { type LoggedChange, readChanges } from '../read/feed.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import type { Primary } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'
import type { View } from '../version/view.ts'
import { Filling } from './filling.ts'
import { messageId, payloadOf } from './message.ts'
import { WebhookNumbers } from './numbers.ts'
import { commitSteps, type Due, disableSteps, dueDeliveries, type Ending, endingSteps, nextDue } from './queue.ts'
import { type Answer, send } from './send.ts'
import { messageHeaders } from './signature.ts'
import type { Targets } from './target.ts'
import { toldOf } from './webhook.ts'

export interface DispatcherOptions {
  readonly model: Model
  readonly views: ReadonlyMap<string, View>
  readonly reader: Reader
  readonly primary: Primary
  readonly epoch: Epoch
  readonly sealer: TokenSealer
  readonly targets: Targets
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** How long a receiver may take to answer. */
  readonly sendMsMax: number
  readonly onFault: (error: Error) => void
}

/** Before each try, in seconds (Standard Webhooks 1.0.0): ten tries in about 75 hours. */
export const pausesSeconds = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400] as const

/** The part of a pause that it may be longer by, so that what failed together is not tried again together. */
export const jitterMax = 0.1

const faultPauseMs = 5_000
/** How long what another process committed may be unseen; of what this one commits it is told. */
const unseenMsMax = 100
const stopMsMax = 1_000

/**
 * Sends the changes of the log to webhooks: at least once, in the order of each record's changes. All that it knows is
 * in the database: which changes are to be sent is committed together with how far the log was read for them, and what
 * came of a try after it, so whenever this process ends, another goes on. One node of a database runs one.
 */
export class Dispatcher {
  private readonly options: DispatcherOptions
  private readonly filling: Filling
  private readonly numbers: WebhookNumbers
  private readonly underWay = new Map<string, Promise<void>>()
  private readonly sendsByWebhook = new Map<string, number>()
  private readonly cutter = new AbortController()
  private readonly ended: Promise<void>
  private generation = Number.NaN
  private nextAt: string | null = null
  /** A request has ended since the last look, and what it left room for may be due already. */
  private hasRoom = false
  /** Something was committed since the last look. */
  private hasNews = false
  private isStopping = false
  private wakes = new Set<() => void>()

  constructor(options: DispatcherOptions) {
    this.options = options
    this.filling = new Filling(options)
    this.numbers = new WebhookNumbers(options.reader, options.now)
    this.ended = this.run()
  }

  metrics(): readonly string[] {
    return this.numbers.lines()
  }

  /** Takes in that this process has committed something. */
  learnCommit() {
    if (!this.hasNews) this.wake()
    this.hasNews = true
  }

  /** Sends nothing more, and waits a moment for the answers to what is under way; the rest is sent again later. */
  async stop(): Promise<void> {
    this.isStopping = true
    this.wake()
    const timer = setTimeout(() => this.cutter.abort(), stopMsMax)
    await this.ended
    await Promise.all(this.underWay.values())
    clearTimeout(timer)
  }

  private async run() {
    const { reader, onFault } = this.options
    while (!this.isStopping) {
      try {
        if (await this.look()) await this.pause(0)
        else await this.rest(reader.newsPauseMs)
      } catch (error) {
        this.generation = Number.NaN
        this.hasNews = true // No commit cuts the pause short.
        onFault(error as Error)
        await this.pause(faultPauseMs)
      }
    }
  }

  /** However much is committed, there is one look in `newsPauseMs`; and where nothing is, few: they cost all day. */
  private async rest(newsPauseMs: number) {
    if (!this.hasNews && !this.hasRoom) await this.pause(Math.max(newsPauseMs, unseenMsMax))
    if (this.hasNews) await this.pause(newsPauseMs)
  }

  private async pause(ms: number) {
    if (this.isStopping) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    this.wakes.add(resolve)
    await promise
    this.wakes.delete(resolve)
    clearTimeout(timer)
  }

  private wake() {
    for (const wake of this.wakes) wake()
  }

  /** Queues and sends what there is, where something has happened or is due. Answers whether there is more at once. */
  private async look(): Promise<boolean> {
    const { reader } = this.options
    this.hasNews = false
    const generation = reader.generation()
    const isDue = this.nextAt !== null && this.nextAt <= this.instant()
    await this.numbers.look()
    await this.filling.remember()
    if (generation === this.generation && !isDue && !this.hasRoom) return false
    this.generation = generation
    this.hasRoom = false
    const { active, isMore } = await this.filling.fill()
    this.nextAt = null
    if (active > 0) await this.sendDue()
    return isMore
  }

  private instant(afterMs = 0): string {
    return new Date(this.options.now() + afterMs).toISOString()
  }

  private async sendDue() {
    const { model, reader, views } = this.options
    const now = this.instant()
    // What is under way is due still, though it may end while this is read: so it counts as it was before.
    const before = new Set(this.underWay.keys())
    const due = await dueDeliveries(reader, views, now, 2 * limits.webhookSendsMax)
    this.nextAt = await nextDue(reader, now)
    const next = due.filter((each) => !before.has(keyOf(each)) && this.take(each))
    const changes = await readChanges(model, reader, [...new Set(next.map(({ seq }) => seq))])
    const changeBySeq = new Map(changes.map((change) => [change.seq, change]))
    for (const each of next) this.underWay.set(keyOf(each), this.attempt(each, changeBySeq.get(each.seq)))
  }

  /** Whether there is room for one more request to a webhook, which is then its. */
  private take({ webhook: { id } }: Due): boolean {
    const sends = this.sendsByWebhook.get(id) ?? 0
    const all = this.sendsByWebhook.values().reduce((sum, each) => sum + each, 0)
    if (sends >= limits.webhookSendsMax || all >= limits.sendsMax || this.isStopping) return false
    this.sendsByWebhook.set(id, sends + 1)
    return true
  }

  private async attempt(due: Due, change: LoggedChange | undefined) {
    const { id } = due.webhook
    const answer = await this.send(due, change)
    if (!this.cutter.signal.aborted || answer?.status) await this.settle(due, answer)
    const sends = (this.sendsByWebhook.get(id) ?? 1) - 1
    if (sends === 0) this.sendsByWebhook.delete(id)
    else this.sendsByWebhook.set(id, sends)
    this.underWay.delete(keyOf(due))
    this.hasRoom = true
    this.wake()
  }

  /** One try; null where there is nothing left to send. */
  private async send(due: Due, change: LoggedChange | undefined): Promise<Answer | null> {
    const { epoch, sealer, targets, now, sendMsMax: msMax } = this.options
    const { webhook, seq } = due
    const event = change ? toldOf(change, webhook) : null
    if (!event) return null
    try {
      const target = await targets.of(webhook.url)
      const payload = payloadOf(event, sealer.seal({ epoch, seq }))
      const headers = messageHeaders(messageId(epoch, seq), payload, webhook, now())
      return await send(target, payload, headers, { msMax, signal: this.cutter.signal })
    } catch (error) {
      if (error instanceof Problem) return { status: null, error: error.message }
      this.options.onFault(error as Error)
      return { status: null, error: 'This server failed.' }
    }
  }

  /** Writes down what came of a try, as often as it takes: else the receiver would be sent it again and again. */
  private async settle(due: Due, answer: Answer | null) {
    const ending = this.endingOf(due, answer)
    const reason = reasonToDisable(due, ending)
    const now = this.instant()
    const steps = [...endingSteps(due, ending, now), ...(reason ? disableSteps(due.webhook, reason, now) : [])]
    for (;;) {
      try {
        await commitSteps(this.options.primary, steps)
        return this.numbers.count(ending.state)
      } catch (error) {
        this.options.onFault(error as Error)
        if (this.isStopping) return
        await this.pause(faultPauseMs)
      }
    }
  }

  private endingOf({ attempts }: Due, answer: Answer | null): Ending {
    if (answer === null)
      return {
        state: 'failed',
        status: null,
        error: 'The log no longer has this change, or its receiver may not see it.',
      }
    const { status } = answer
    if (status !== null && status >= 200 && status < 300) return { state: 'delivered', status, error: null }
    const error = answer.error ?? `The receiver answered ${status}.`
    const pause = pausesSeconds[attempts + 1]
    if (pause === undefined || status === 410) return { state: 'failed', status, error }
    const pauseMs = 1000 * pause * (1 + Math.random() * jitterMax)
    return { state: 'pending', status, error, nextAt: this.instant(pauseMs) }
  }
}

function keyOf({ webhook, seq }: Due): string {
  return `${webhook.id} ${seq}`
}

function reasonToDisable({ attempts }: Due, { state, status, error }: Ending): string | null {
  if (status === 410) return 'The receiver answered 410 Gone.'
  if (state !== 'failed' || attempts + 1 < pausesSeconds.length) return null
  return `A delivery failed ${attempts + 1} times. At last: ${error}`
}
