import { z } from '@hono/zod-openapi'
import { type ProblemCode, problemCodes, problemType } from '../../problem.ts'
import { limits } from '../../schema/limits.ts'
import { jsonType } from '../body.ts'
import { Metrics } from '../metrics.ts'
import { ofAnyRequest } from './codes.ts'
import type { Draft, Route } from './draft.ts'
import type { Parts } from './operation.ts'
import { answerHeaders } from './response-header.ts'
import { freeText, plainText, wholeNumber } from './value.ts'

/** What the node says of itself: its health, its numbers, this document, the problems there are. */
export function nodeRoutes(draft: Draft, parts: Parts): Route[] {
  return [
    livenessRoute(parts),
    readinessRoute(parts),
    metricsRoute(parts),
    problemRoute(draft, parts),
    documentRoute(draft, parts),
  ]
}

function open(
  { problems }: Parts,
  operationId: string,
  codes: readonly ProblemCode[],
  route: Pick<Route, 'path' | 'summary' | 'request' | 'responses'>,
): Route {
  return {
    ...route,
    ...{ method: 'get', operationId, tags: ['node'], security: [{}] },
    responses: { ...route.responses, ...problems(operationId, [...ofAnyRequest, ...codes]) },
  }
}

const answer = (description: string, type: string, schema: z.ZodType, value: unknown, summary: string) => ({
  description,
  headers: answerHeaders(),
  content: { [type]: { schema, examples: { answer: { summary, value } } } },
})

function livenessRoute(parts: Parts): Route {
  const schema = z.object({ status: z.literal('live') })
  return open(parts, 'livez', [], {
    path: '/livez',
    summary: 'Ask whether the process lives',
    responses: { 200: answer('It does.', jsonType, schema, { status: 'live' }, 'Alive') },
  })
}

const edgeLag = z
  .object({
    milliseconds: wholeNumber(0).nullable().openapi({ description: 'Since the copy is known to have had everything.' }),
    changes: wholeNumber(0).nullable().openapi({ description: 'How many changes the copy lacks.' }),
  })
  .openapi({ description: 'Of an edge: how far its copy is behind the primary; null where that is not known.' })

const edgeReplicator = z
  .object({
    phase: z.enum(['starting', 'bootstrapping', 'following', 'failing']),
    restarts: wholeNumber(0),
    bootstraps: wholeNumber(0),
  })
  .openapi({ description: 'Of an edge: what keeps its copy, and how often that and the copy were begun anew.' })

function readinessRoute(parts: Parts): Route {
  const schema = z.object({
    status: z.literal('ready'),
    region: z.string().openapi({ pattern: '^[a-z0-9-]+$', maxLength: 32 }),
    epoch: z.string().openapi({ pattern: '^[a-z0-9]+$', maxLength: 16 }),
    position: wholeNumber(0).openapi({ description: 'The number of the last change that the node has.' }),
    lag: edgeLag.optional(),
    replicator: edgeReplicator.optional(),
  })
  const value = { status: 'ready', region: 'local', epoch: 'k3v9x2', position: 1842 }
  return open(parts, 'readyz', ['not-ready'], {
    path: '/readyz',
    summary: 'Ask whether the node takes requests',
    responses: { 200: answer('It does.', jsonType, schema, value, 'Ready') },
  })
}

function metricsRoute(parts: Parts): Route {
  const metrics = new Metrics(() => 0)
  metrics.record('GET', '/livez', 200, 0.3)
  const value = metrics.render({
    seq: 1842,
    primary: { waiting: 0, groups: 310, batches: 1790 },
    kept: { hits: 7_210, misses: 402 },
    more: [],
  })
  return open(parts, 'metrics', [], {
    path: '/metrics',
    summary: 'Read the numbers of the node',
    responses: {
      200: answer('The Prometheus text format, 0.0.4.', 'text/plain', freeText(), value, 'A quiet node'),
    },
  })
}

function problemRoute(draft: Draft, parts: Parts): Route {
  const code = z.enum(problemCodes).openapi({ param: { description: 'The last part of `type`.' } })
  const schema = draft.registry.register(
    'ProblemType',
    z.object({
      type: z.enum(problemCodes.map((each) => problemType(each).type)),
      title: freeText(500),
      status: z.int().openapi({ format: 'int32', minimum: 400, maximum: 599 }),
    }),
  )
  return open(parts, 'problems', ['not-found'], {
    path: '/problems/{code}',
    summary: 'Read what a problem type means',
    request: { params: z.object({ code }) },
    responses: { 200: answer('The problem type.', jsonType, schema, problemType('not-found'), 'A problem type') },
  })
}

function documentRoute(draft: Draft, parts: Parts): Route {
  const text = z.string().openapi({ pattern: plainText, maxLength: limits.textCharsMax })
  const schema = z
    .looseObject({ openapi: text, info: z.looseObject({ title: text, version: text }) })
    .openapi({ description: 'An OpenAPI 3.1 document.' })
  const value = { openapi: '3.1.0', info: { title: draft.model.title, version: draft.view.version.date }, paths: {} }
  return open(parts, 'openapi', [], {
    path: '/openapi.json',
    summary: 'Read this document',
    responses: { 200: answer('This document.', jsonType, schema, value, 'Its beginning') },
  })
}
