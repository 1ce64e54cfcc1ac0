import { z } from '@hono/zod-openapi'
import { limits } from '../../schema/limits.ts'
import { jsonType } from '../body.ts'
import { problemsByKind } from './codes.ts'
import type { Draft, Route } from './draft.ts'
import * as example from './example.ts'
import type { Parts } from './operation.ts'
import { actorSchema, operationSchema, requestSchema } from './record.ts'
import { tokenCharsMax, tokenPattern } from './request-header.ts'
import { answerHeaders } from './response-header.ts'
import { idPattern, idSchema, instantSchema, wholeNumber } from './value.ts'

const text = (pattern: string, maxLength: number) => z.string().openapi({ pattern, maxLength })
const position = () => text(tokenPattern, tokenCharsMax)

/** `GET /changes`: the log, as pages and as a stream. */
export function changesRoute(draft: Draft, { headers, problems, schemas }: Parts): Route {
  const names = [...draft.view.resources.keys()]
  const records = [...draft.view.resources.values()].map(({ resource }) => schemas.get(resource.name)?.selection)
  const record = z.union([...records.filter((each) => each !== undefined), z.null()])
  const event = draft.registry.register('ChangeEvent', eventSchema(names, record))
  const cloudEvent = draft.registry.register('ChangeCloudEvent', cloudEventSchema(names, record))
  const page = z.object({
    data: z.array(event).max(limits.feedRowsMax),
    next: position().openapi({ description: 'What `after` takes to go on.' }),
  })
  const { plain, cloud } = examples(draft)
  const stream = `id: ${plain.position}\nevent: change\ndata: ${JSON.stringify(plain)}\n\n`
  return {
    ...{ operationId: 'changes', tags: ['changes'], method: 'get', path: '/changes' },
    summary: 'Follow what happens',
    description: describe,
    security: [{ apiKey: ['read'] }, {}],
    parameters: [headers.version],
    request: { query: z.object(parameters(names)), headers: z.object({ 'Last-Event-ID': lastEventId }) },
    responses: {
      200: {
        description: 'Changes in their order, or a stream of them.',
        headers: answerHeaders('API-Version', 'Consistency-Token', 'Vary', 'Link'),
        content: {
          [jsonType]: {
            schema: page,
            examples: { page: { summary: 'One change', value: { data: [plain], next: plain.position } } },
          },
          'application/cloudevents-batch+json': {
            schema: z.array(cloudEvent).max(limits.feedRowsMax),
            examples: { batch: { summary: 'One change', value: [cloud] } },
          },
          'text/event-stream': {
            schema: text('', limits.bodyBytesMax),
            examples: { stream: { summary: 'One change', value: stream } },
          },
        },
      },
      ...problems('changes', problemsByKind.changes),
    },
  }
}

const describe = `What happened after a position, each change once and in order, as far as the caller may read it: a record that leaves its sight is told as deleted. Read records, then follow from the \`Consistency-Token\` of the answer, and nothing is missed or told twice.

With \`Accept: text/event-stream\` the answer is a stream (server-sent events) whose ids are positions: \`Last-Event-ID\` goes on from one. A position that the log no longer reaches back to is answered 410 \`must-refetch\`, and in a stream that is resumed by the event \`reset\`: read the records again.`

const lastEventId = position()
  .optional()
  .openapi({
    param: {
      description: 'Of a stream: the position that was reached.',
      examples: example.offered(example.exampleToken),
    },
  })

function parameters(names: readonly string[]): Record<string, z.ZodType> {
  const parameter = (schema: z.ZodType, description: string, value: unknown) =>
    schema.optional().openapi({ param: { description, examples: example.offered(value) } })
  const [first = ''] = names
  return {
    after: parameter(
      text(`^start$|${tokenPattern}`, tokenCharsMax),
      'The position to follow from: a `Consistency-Token`, a `next`, or `start` for all that the log has. Without it: from now on.',
      example.exampleToken,
    ),
    resource: parameter(z.enum(names), 'Changes of this resource only.', first),
    id: parameter(
      text(idPattern, 36),
      'Changes of this record only; beside `resource`.',
      '019a3f00-0000-7000-8000-000000000001',
    ),
    fields: parameter(
      text('^[a-z][a-zA-Z0-9]*(,[a-z][a-zA-Z0-9]*)*$', limits.urlCharsMax),
      'The fields of the records, between commas; beside `resource`.',
      'id',
    ),
    limit: parameter(
      z.int().openapi({ format: 'int32', minimum: 1, maximum: limits.feedRowsMax, default: limits.feedRowsDefault }),
      'How many a page has at most.',
      limits.feedRowsDefault,
    ),
    wait: parameter(
      z.int().openapi({ format: 'int32', minimum: 0, maximum: limits.feedWaitSecondsMax, default: 0 }),
      'How many seconds a page waits for its first change.',
      limits.feedWaitSecondsMax,
    ),
    format: parameter(
      z.enum(['plain', 'cloudevents']).openapi({ default: 'plain' }),
      'The shape of the events: `cloudevents` is CloudEvents 1.0.2.',
      'plain',
    ),
  }
}

const changedNames = () => z.array(text('^[a-z][a-zA-Z0-9]*$', 63)).max(2_000).nullable()

function eventSchema(names: readonly string[], record: z.ZodType): z.ZodObject {
  return z.object({
    position: position(),
    seq: wholeNumber(1),
    time: instantSchema,
    resource: z.enum(names),
    id: idSchema,
    operation: operationSchema,
    version: wholeNumber(1),
    changed: changedNames(),
    actor: actorSchema,
    request: requestSchema,
    record,
  })
}

function cloudEventSchema(names: readonly string[], record: z.ZodType): z.ZodObject {
  const name = `(${names.join('|')})`
  return z.object({
    specversion: z.literal('1.0'),
    id: text('^\\d+$', 16),
    source: z.literal('/changes'),
    type: text(`^perigee\\.${name}\\.(create|update|delete)$`, 100),
    subject: text(`^${name}/${idPattern.slice(1)}`, 101),
    time: instantSchema,
    datacontenttype: z.literal(jsonType),
    data: z.object({
      position: position(),
      version: wholeNumber(1),
      changed: changedNames(),
      actor: actorSchema,
      request: requestSchema,
      record,
    }),
  })
}

function examples({ model, view }: Draft) {
  const [first] = view.resources.values()
  if (!first) throw new Error('broken invariant: a view has resources')
  const id = example.exampleId(model, first.resource.name)
  const told = {
    ...{ version: 2, changed: Object.keys(example.examplePatch(model, first)), actor: 'key:q3Zx81Lw' },
    ...{ request: null, record: example.exampleChanged(model, first) },
  }
  const of = { time: example.changed, position: example.exampleToken }
  const plain = { ...of, seq: 1842, resource: first.name, id, operation: 'update', ...told }
  const cloud = {
    ...{ specversion: '1.0', id: '1842', source: '/changes', type: `perigee.${first.name}.update` },
    ...{ subject: `${first.name}/${id}`, time: of.time, datacontenttype: jsonType },
    data: { position: of.position, ...told },
  }
  return { plain, cloud }
}
