import type { Seq } from '../log/position.ts'
import { Problem } from '../problem.ts'
import type { Caller } from '../schema/access.ts'
import { limits } from '../schema/limits.ts'
import type { Step } from '../store/primary.ts'
import { type Bind, callOf } from '../store/text.ts'
import type { Value } from '../value.ts'
import type { WriteSource } from '../write/command.ts'
import type { WritePlan } from '../write/commit.ts'
import { answerStep, planOf } from '../write/plan.ts'
import type { NewWebhook, WebhookChange } from './input.ts'
import { parkSql, releaseSql } from './queue.ts'
import { newSecret } from './secret.ts'

/** What callers do to webhooks, as guarded batches: claimed, committed and answered like every write. */

/**
 * The condition that the webhook `w` is one that a caller may see and change: of its tenant, and made by a key that may
 * no more than the caller's, so that nobody is told by another's webhook what its own key may not read.
 */
export function isOwn(caller: Caller, bind: Bind): string {
  const subject = caller.kind === 'user' ? [`w.subject = ${bind(caller.subject)}`] : []
  const scopes = `not exists (select value from json_each(w.scopes) except select value from json_each(${bind(scopesOf(caller))}))`
  return [`w.tenant = ${bind(caller.tenant)}`, ...subject, scopes].join(' and ')
}

function scopesOf({ scopes }: Caller): string {
  return JSON.stringify([...scopes].sort())
}

/** The webhook `w` as callers see it, as JSON. Its secret is not in it. */
export function webhookSql(now: string): string {
  const members = ['id', 'url', 'version', 'state', 'reason', 'createdAt', 'updatedAt'].map(
    (name) => `'${name}', w.${name}`,
  )
  const until = `iif(w.previousUntil > ${now}, w.previousUntil, null)`
  return `json_object(${members.join(', ')}, 'resources', json(w.resources), 'previousSecretUntil', ${until})`
}

/** A new webhook, told of what happens from now on, with what the key that makes it may read. */
export function planNewWebhook(source: WriteSource, id: string, { url, resources, version }: NewWebhook): WritePlan {
  const { caller, now } = source
  const insert = step((bind) => {
    const values = {
      ...{ tenant: bind(caller.tenant), id: bind(id), url: bind(url), version: bind(version) },
      resources: bind(resources && JSON.stringify(resources)),
      secret: bind(newSecret()),
      ...{ state: "'active'", scopes: bind(scopesOf(caller)) },
      subject: bind(caller.kind === 'user' ? caller.subject : null),
      cursor: '(select coalesce(max(seq), 0) from changes)',
      ...{ createdAt: bind(now), updatedAt: bind(now) },
    }
    const isRoom = `(select count(*) from webhooks where tenant = ${bind(caller.tenant)}) < ${limits.webhooksPerTenantMax}`
    return `insert into webhooks(${Object.keys(values).join(', ')}) select ${Object.values(values).join(', ')} where ${isRoom}`
  })
  return planOf(source, {
    id,
    steps: [insert, answerOf(source, id, 201, true)],
    refusal: () =>
      new Problem('too-many-webhooks', {
        detail: `A tenant has at most ${limits.webhooksPerTenantMax} webhooks. Delete one that is no longer needed.`,
      }),
  })
}

/** One that is made active again goes on where it was, or where the log begins by now, with what waits for it. */
export function planWebhookChange(source: WriteSource, id: string, change: WebhookChange): WritePlan {
  const { now } = source
  const { url, resources, state } = change
  const horizon = "coalesce((select cast(value as integer) from meta where name = 'horizon'), 0)"
  const update = touch(source, id, (bind) => [
    ...(url === undefined ? [] : [`url = ${bind(url)}`]),
    ...(resources === undefined ? [] : [`resources = ${bind(resources && JSON.stringify(resources))}`]),
    ...(state === 'active' ? ["state = 'active', reason = null", `cursor = max(cursor, ${horizon})`] : []),
    ...(state === 'disabled' ? ["state = 'disabled'", "reason = 'It was disabled by request.'"] : []),
  ])
  const follow = state === undefined ? [] : [plain(parkSql, id), plain(releaseSql, id, now)]
  return planOf(source, { id, steps: [update, ...follow, answerOf(source, id, 200)], refusal: noWebhook })
}

/** A new secret; the one before signs beside it for `limits.secretHoursKept` hours. */
export function planRotation(source: WriteSource, id: string): WritePlan {
  const until = new Date(Date.parse(source.now) + limits.secretHoursKept * 3_600_000).toISOString()
  const update = touch(source, id, (bind) => [
    `previousSecret = secret, previousUntil = ${bind(until)}, secret = ${bind(newSecret())}`,
  ])
  return planOf(source, { id, steps: [update, answerOf(source, id, 200, true)], refusal: noWebhook })
}

/** What was queued for it is removed by and by. */
export function planWebhookEnd(source: WriteSource, id: string): WritePlan {
  const remove = step((bind) => `delete from webhooks as w where w.id = ${bind(id)} and ${isOwn(source.caller, bind)}`)
  const answer = answerStep(source, id, () => ({ status: 204, body: 'null', from: '' }))
  return planOf(source, { id, steps: [remove, answer], refusal: noWebhook })
}

/** Queues a delivery once more, whatever came of it; or with null all that have failed. */
export function planRedelivery(source: WriteSource, id: string, seq: Seq | null): WritePlan {
  const { now } = source
  const own = touch(source, id, () => [])
  const isAsked = (bind: Bind) =>
    `webhook = ${bind(id)} and ${seq === null ? "state = 'failed'" : `seq = ${bind(seq)}`}`
  const again = callOf(
    (bind) =>
      `update deliveries set state = 'pending', attempts = 0, nextAt = null, endedAt = null where ${isAsked(bind)}`,
  )
  // Counted before they are no longer what they were.
  const answer = answerStep(source, id, (bind) => {
    const count = `(select count(*) from deliveries where ${isAsked(bind)})`
    return { status: 202, body: `json_object('queued', ${count})`, from: '' }
  })
  return planOf(source, {
    id,
    steps: [own, answer, { ...again, guarded: seq !== null }, plain(releaseSql, id, now)],
    refusal: ({ step }) => (step === 0 ? noWebhook() : new Problem('not-found', { detail: noMessage })),
  })
}

const noMessage = 'There is no such message of this webhook, or it ended too long ago.'

export function noWebhook(): Problem {
  return new Problem('not-found', { detail: 'There is no webhook with this id.' })
}

function touch(source: WriteSource, id: string, sets: (bind: Bind) => readonly string[]): Step {
  return step((bind) => {
    const all = [...sets(bind), `updatedAt = ${bind(source.now)}`]
    return `update webhooks as w set ${all.join(', ')} where w.id = ${bind(id)} and ${isOwn(source.caller, bind)}`
  })
}

function answerOf(source: WriteSource, id: string, status: number, withSecret = false): Step {
  return answerStep(source, id, (bind) => {
    const shown = webhookSql(bind(source.now))
    const body = withSecret ? `json_insert(${shown}, '$.secret', w.secret)` : shown
    return { status, body, from: ` from webhooks w where w.id = ${bind(id)}` }
  })
}

/** A statement that must change a row. */
function step(write: (bind: Bind) => string): Step {
  return { ...callOf(write), guarded: true }
}

function plain(sql: string, ...args: readonly Value[]): Step {
  return { sql, args }
}
