import type { Seq } from '../log/position.ts'
import { readLog } from '../read/feed.ts'
import { limits } from '../schema/limits.ts'
import type { DispatcherOptions } from './dispatcher.ts'
import { activeWebhooks, commitSteps, cursorStep, disableSteps, pendingOf, queueSteps, type Standing } from './queue.ts'
import { toldOf, type Webhook } from './webhook.ts'

/** How long it may be known here alone how far the log was read. */
const rememberMs = 60_000

/** A webhook for which the log is to be read on from a position. */
interface Behind {
  readonly webhook: Webhook
  readonly from: Seq
}

/**
 * Reads the log for webhooks and queues what each is told of. How far it was read is committed with what was found; what
 * was read in vain is remembered here, and written down now and then: whoever starts anew reads it in vain again.
 */
export class Filling {
  private readonly options: DispatcherOptions
  private readonly reached = new Map<string, Seq>()
  private readonly remembered = new Map<string, Seq>()
  private rememberedAt: number

  constructor(options: DispatcherOptions) {
    this.options = options
    this.rememberedAt = options.now()
  }

  /** Queues what one look at the log for each webhook finds. Answers how many are active, and whether there is more. */
  async fill(): Promise<{ readonly active: number; readonly isMore: boolean }> {
    const standings = await activeWebhooks(this.options.reader, this.options.views)
    let isMore = false
    for (const group of (await this.behind(standings)).values()) isMore = (await this.read(group)) || isMore
    return { active: standings.length, isMore }
  }

  /** Writes down how far the log was read, where that was long ago. */
  async remember() {
    const now = this.options.now()
    if (now - this.rememberedAt < rememberMs) return
    this.rememberedAt = now
    const moved = [...this.reached].filter(([id, to]) => this.remembered.get(id) !== to)
    if (moved.length === 0) return
    await commitSteps(this.options.primary, [cursorStep(moved)])
    for (const [id, to] of moved) this.remembered.set(id, to)
  }

  /** Those for whom there may be something, by tenant and position: each group takes one look. */
  private async behind(standings: readonly Standing[]): Promise<Map<string, Behind[]>> {
    const { reader } = this.options
    const active = new Set(standings.map(({ webhook }) => webhook.id))
    for (const id of this.reached.keys()) if (!active.has(id)) this.reached.delete(id)
    const behind: Behind[] = []
    for (const { webhook, tenantHead, head } of standings) {
      const from = Math.max(this.reached.get(webhook.id) ?? 0, webhook.cursor) as Seq
      if (webhook.interest === null) await this.disable(webhook, 'The API version that it is pinned to is no more.')
      else if (tenantHead <= from) this.reached.set(webhook.id, head)
      else if ((await pendingOf(reader, webhook)) < limits.webhookWaitingMax) behind.push({ webhook, from })
    }
    return Map.groupBy(behind, ({ webhook, from }) => `${webhook.tenant} ${from}`)
  }

  private async read(group: readonly Behind[]): Promise<boolean> {
    const { model, reader, primary } = this.options
    const [first] = group
    if (!first) return false
    const part = { tenant: first.webhook.tenant, after: first.from, bytesMax: limits.feedBytesMax }
    const { changes, horizon, reached, head } = await readLog(model, reader, part)
    for (const { webhook } of group) {
      if (first.from < horizon) {
        const reason =
          'It was too far behind: the log no longer has all that it was to be told of. Read the records again.'
        await this.disable(webhook, reason)
        continue
      }
      const told = changes.filter((change) => toldOf(change, webhook) !== null)
      const events = told.map(({ seq, resource, id }) => ({ seq, resource, record: id }))
      if (events.length > 0) await commitSteps(primary, queueSteps(webhook, events, reached, this.instant()))
      this.reached.set(webhook.id, reached)
    }
    return reached < head
  }

  private disable(webhook: Webhook, reason: string): Promise<void> {
    return commitSteps(this.options.primary, disableSteps(webhook, reason, this.instant()))
  }

  private instant(): string {
    return new Date(this.options.now()).toISOString()
  }
}
