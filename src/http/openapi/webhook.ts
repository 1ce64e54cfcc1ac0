import { z } from '@hono/zod-openapi'
import { limits } from '../../schema/limits.ts'
import { jsonType, mergePatchType } from '../body.ts'
import { webhookProblems } from './codes.ts'
import { type Draft, type Route, versionDates } from './draft.ts'
import * as example from './example.ts'
import { json, ofEveryWrite, type Parts } from './operation.ts'
import { pagingParameters } from './query.ts'
import { answerHeaders, type ResponseHeader } from './response-header.ts'
import { freeText, idSchema, instantSchema, wholeNumber } from './value.ts'

const ofEveryRead = [
  'API-Version',
  'Consistency-Token',
  'Vary',
  'Replica-Age',
] as const satisfies readonly ResponseHeader[]

const exampleId = '019a3f00-0000-7000-8000-00000000f001'
const messageSchema = z.string().openapi({ pattern: '^msg_[a-z0-9]{1,16}_[0-9]{1,15}$', maxLength: 36 })
const exampleMessage = 'msg_k3v9x2_1842'

/** The members of a webhook as it is shown. */
function webhookMembers(draft: Draft) {
  return {
    id: idSchema,
    url: z.string().openapi({ format: 'uri', pattern: '^https?://', maxLength: limits.webhookUrlCharsMax }),
    resources: z
      .array(z.string().openapi({ pattern: '^[a-z][a-zA-Z0-9]*$', maxLength: 64 }))
      .min(1)
      .max(draft.view.resources.size)
      .nullable()
      .openapi({ description: 'The resources, by their names in its version; null for all.' }),
    version: z.enum(versionDates(draft) as [string, ...string[]]),
    state: z.enum(['active', 'disabled']),
    reason: freeText(1_000).nullable().openapi({ description: 'Why it is disabled.' }),
    previousSecretUntil: instantSchema
      .nullable()
      .openapi({ description: 'Until when the secret that was replaced signs as well.' }),
    ...{ createdAt: instantSchema, updatedAt: instantSchema },
  }
}

/** What callers send and are shown of webhooks. */
function shapes(draft: Draft) {
  const { registry } = draft
  const members = webhookMembers(draft)
  const { url, resources, version, state } = members
  const secret = z.string().openapi({
    description: 'What signs. It is in this answer and in no other.',
    pattern: '^whsec_[A-Za-z0-9+/]{43}=$',
    maxLength: 50,
  })
  const webhook = registry.register('Webhook', z.object(members))
  const delivery = registry.register('Delivery', z.object(deliveryMembers()))
  return {
    webhook,
    secret: registry.register('WebhookSecret', z.object({ ...members, secret })),
    webhooks: registry.register(
      'Webhooks',
      z.object({ data: z.array(webhook).max(limits.webhooksPerTenantMax), next: z.null() }),
    ),
    input: registry.register(
      'WebhookInput',
      z.strictObject({ url, resources: resources.optional(), version: version.optional() }),
    ),
    patch: registry.register(
      'WebhookPatch',
      z.strictObject({ url: url.optional(), resources: resources.optional(), state: state.optional() }),
    ),
    deliveries: registry.register(
      'Deliveries',
      z.object({ data: z.array(delivery).max(limits.pageRowsMax), next: cursor().nullable() }),
    ),
    redelivery: registry.register(
      'Redelivery',
      z.union([z.strictObject({ message: messageSchema }), z.strictObject({ failed: z.literal(true) })]),
    ),
    queued: registry.register('Queued', z.object({ queued: wholeNumber(0) })),
  }
}

function cursor() {
  return z.string().openapi({ pattern: '^[\\w-]+$', maxLength: 4_096 })
}

function deliveryMembers() {
  return {
    id: messageSchema.openapi({ description: 'Its `webhook-id`.' }),
    resource: z.string().openapi({ pattern: '^[a-z][a-zA-Z0-9]*$', maxLength: 64 }),
    recordId: idSchema,
    state: z.enum(['pending', 'delivered', 'failed']),
    attempts: wholeNumber(0),
    nextAt: instantSchema.nullable().openapi({
      description: 'When it is tried next; null where it has ended, or waits for an earlier change of its record.',
    }),
    status: wholeNumber(0, 999).nullable().openapi({ description: 'What the receiver answered last.' }),
    error: freeText(1_000).nullable(),
    createdAt: instantSchema,
    endedAt: instantSchema.nullable(),
  }
}

function examples({ view }: Draft) {
  const [resource = ''] = view.resources.keys()
  const input = { url: 'https://example.com/hooks', resources: [resource] }
  const webhook = {
    ...{ id: exampleId, ...input, version: view.version.date, state: 'active', reason: null },
    ...{ createdAt: example.changed, updatedAt: example.changed, previousSecretUntil: null },
  }
  const delivery = {
    ...{ id: exampleMessage, resource, recordId: exampleId, state: 'delivered', attempts: 1, nextAt: null },
    ...{ status: 200, error: null, createdAt: example.changed, endedAt: example.changed },
  }
  return { input, webhook, delivery, secret: { ...webhook, secret: `whsec_${'A'.repeat(43)}=` } }
}

type Kind = keyof typeof webhookProblems

const all = '/webhooks'
const one = `${all}/{id}`
const params = z.object({
  id: idSchema.openapi({ param: { description: 'The id of the webhook.', example: exampleId } }),
})

/** `/webhooks` and what is below it. */
export function webhookRoutes(draft: Draft, parts: Parts): Route[] {
  const shape = shapes(draft)
  const { webhook, secret, delivery, input } = examples(draft)
  const own: Record<Kind, readonly [method: Route['method'], path: string, Pick<Route, 'request' | 'responses'>]> = {
    list: ['get', all, { responses: answer(200, ofEveryRead, shape.webhooks, { data: [webhook], next: null }) }],
    create: [
      'post',
      all,
      {
        request: body(jsonType, shape.input, { one: input }),
        responses: answer(201, [...ofEveryWrite, 'Location'], shape.secret, secret),
      },
    ],
    read: ['get', one, { responses: answer(200, ofEveryRead, shape.webhook, webhook) }],
    patch: [
      'patch',
      one,
      {
        request: body(mergePatchType, shape.patch, { again: { state: 'active' } }),
        responses: answer(200, ofEveryWrite, shape.webhook, webhook),
      },
    ],
    delete: [
      'delete',
      one,
      { responses: { 204: { description: 'It is deleted.', headers: answerHeaders(...ofEveryWrite) } } },
    ],
    rotate: ['post', `${one}/rotate`, { responses: answer(200, ofEveryWrite, shape.secret, secret) }],
    deliveries: [
      'get',
      `${one}/deliveries`,
      {
        request: { query: z.object(pagingParameters(limits.pageRowsMax)) },
        responses: answer(200, [...ofEveryRead, 'Link'], shape.deliveries, { data: [delivery], next: null }),
      },
    ],
    redeliver: [
      'post',
      `${one}/redeliver`,
      {
        request: body(jsonType, shape.redelivery, { one: { message: exampleMessage }, all: { failed: true } }),
        responses: answer(202, ofEveryWrite, shape.queued, { queued: 1 }),
      },
    ],
  }
  return (Object.keys(own) as Kind[]).map((kind) => operation(parts, kind, own[kind]))
}

function operation(
  { headers, problems }: Parts,
  kind: Kind,
  [method, path, { request, responses }]: readonly [Route['method'], string, Pick<Route, 'request' | 'responses'>],
): Route {
  const operationId = `webhooks${kind.charAt(0).toUpperCase()}${kind.slice(1)}`
  const [summary, description] = texts[kind]
  const isRead = method === 'get'
  return {
    ...{ operationId, method, path, summary, description, tags: ['webhooks'] },
    security: [{ apiKey: [isRead ? 'read' : 'write', 'webhooks'] }],
    parameters: isRead
      ? [headers.version, headers.consistency, headers.token]
      : [headers.version, headers.key, headers.requestId],
    request: { ...request, ...(path !== all && { params }) },
    responses: { ...responses, ...problems(operationId, webhookProblems[kind]) },
  }
}

function answer(status: 200 | 201 | 202, names: readonly ResponseHeader[], schema: z.ZodType, value: unknown) {
  const description = 'What is there now.'
  const content = json(schema, { answer: { summary: 'An answer', value } })
  return { [status]: { description, headers: answerHeaders(...names), content } }
}

function body(type: string, schema: z.ZodType, given: Readonly<Record<string, unknown>>) {
  const list = Object.entries(given).map(([name, value]) => [name, { summary: name, value }] as const)
  return { body: { required: true, content: { [type]: { schema, examples: Object.fromEntries(list) } } } }
}

const seen = 'A webhook is there for keys of its tenant that may at least what the key may that made it.'

const texts = {
  list: ['List webhooks', `All that the key may see, the newest first. ${seen}`],
  create: [
    'Create a webhook',
    `It is told of what happens from now on, of what the key that makes it may read, in the API version that it names or that this request is served. The URL is https on port 443 of the public internet. A tenant has at most ${limits.webhooksPerTenantMax}.`,
  ],
  read: ['Read a webhook', seen],
  patch: [
    'Change a webhook',
    'A merge patch. One that is made active again goes on where it was, with all that the log still has.',
  ],
  delete: ['Delete a webhook', 'What waits for it is not sent.'],
  rotate: [
    'Replace the secret of a webhook',
    `The secret that is replaced signs beside the new one for ${limits.secretHoursKept} hours.`,
  ],
  deliveries: ['List the deliveries of a webhook', 'The newest change first. Those that ended some days ago are gone.'],
  redeliver: [
    'Deliver again',
    'One message, whatever came of it, or all that have failed. Where the webhook is disabled, they are sent when it is active again.',
  ],
} as const satisfies Record<Kind, readonly [string, string]>
