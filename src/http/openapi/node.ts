import { z } from '@hono/zod-openapi'
import { type ProblemCode, problemCodes, problemType } from '../../problem.ts'
import { limits } from '../../schema/limits.ts'
import { jsonType } from '../body.ts'
import { changelog, listVersions } from '../changelog.ts'
import { Metrics } from '../metrics.ts'
import { ofAnyRequest } from './codes.ts'
import type { Draft, Route } from './draft.ts'
import type { Parts } from './operation.ts'
import { answerHeaders, ofEveryVersion, type ResponseHeader } from './response-header.ts'
import { freeText, plainText, wholeNumber } from './value.ts'

/** What the node says of itself: its health, its numbers, this document, the problems there are. */
export function nodeRoutes(draft: Draft, parts: Parts): Route[] {
  return [
    livenessRoute(parts),
    readinessRoute(parts),
    metricsRoute(parts),
    problemRoute(draft, parts),
    documentRoute(draft, parts),
    versionsRoute(draft, parts),
    changelogRoute(draft, parts),
  ]
}

function open(
  { problems }: Parts,
  operationId: string,
  codes: readonly ProblemCode[],
  route: Pick<Route, 'path' | 'summary' | 'parameters' | 'request' | 'responses'>,
): Route {
  return {
    ...route,
    ...{ method: 'get', operationId, tags: ['node'], security: [{}] },
    responses: { ...route.responses, ...problems(operationId, [...ofAnyRequest, ...codes]) },
  }
}

type Content = readonly [type: string, schema: z.ZodType, value: unknown, summary: string]

const answer = (
  description: string,
  [type, schema, value, summary]: Content,
  ...headers: readonly ResponseHeader[]
) => ({
  description,
  headers: answerHeaders(...headers),
  content: { [type]: { schema, examples: { answer: { summary, value } } } },
})

function livenessRoute(parts: Parts): Route {
  const schema = z.object({ status: z.literal('live') })
  return open(parts, 'livez', [], {
    path: '/livez',
    summary: 'Ask whether the process lives',
    responses: { 200: answer('It does.', [jsonType, schema, { status: 'live' }, 'Alive']) },
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
    responses: { 200: answer('It does.', [jsonType, schema, value, 'Ready']) },
  })
}

function metricsRoute(parts: Parts): Route {
  const metrics = new Metrics(() => 0)
  metrics.countVersion('2026-11-01')
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
      200: answer('The Prometheus text format, 0.0.4.', ['text/plain', freeText(), value, 'A quiet node']),
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
    responses: { 200: answer('The problem type.', [jsonType, schema, problemType('not-found'), 'A problem type']) },
  })
}

function documentRoute(draft: Draft, parts: Parts): Route {
  const text = z.string().openapi({ pattern: plainText, maxLength: limits.textCharsMax })
  const schema = z
    .looseObject({ openapi: text, info: z.looseObject({ title: text, version: text }) })
    .openapi({ description: 'An OpenAPI 3.1 document.' })
  const value = { openapi: '3.1.0', info: { title: draft.model.title, version: draft.view.version.date }, paths: {} }
  const content = [jsonType, schema, value, 'Its beginning'] as const
  return open(parts, 'openapi', ['unknown-version', 'version-sunset'], {
    path: '/openapi.json',
    summary: 'Read this document, or that of another version',
    parameters: [parts.headers.version],
    responses: { 200: answer('The document of the version that served it.', content, ...ofEveryVersion, 'Vary') },
  })
}

const day = z.string().openapi({ format: 'date', pattern: '^\\d{4}-\\d{2}-\\d{2}$', maxLength: 10 })
const name = z.string().openapi({ pattern: '^[a-zA-Z][a-zA-Z0-9]*$', maxLength: 63 })

/** What is told of each version. */
const ofVersion = {
  date: day.openapi({ description: 'What `API-Version` takes.' }),
  alias: name.openapi({ description: 'What its paths begin with.' }),
  notes: freeText(limits.textCharsMax),
  deprecated: day.nullable().openapi({ description: 'From when on one should move to another.' }),
  sunset: day.nullable().openapi({ description: 'From when on every answer is 410.' }),
  state: z.enum(['active', 'deprecated', 'sunset']).openapi({ description: 'Where it stands today, in UTC.' }),
  default: z.boolean().openapi({ description: 'Whether requests get it that name none, with a key pinned to none.' }),
}

const change = z.object({
  resource: name.openapi({ description: 'By its name from this version on.' }),
  kind: name,
  text: freeText(limits.textCharsMax).openapi({ description: 'What changed, names between backticks.' }),
})

/** A list of all versions, the newest first, which has no pages. */
function versionList(draft: Draft, shape: Record<string, z.ZodType>): z.ZodType {
  return z.object({ data: z.array(z.object(shape)).max(draft.model.versions.length) })
}

/** A moment at which the newest version is new, so that the examples are the same at every start. */
const momentOf = ({ model }: Draft) => Date.parse(model.versions.at(-1)?.date ?? '')

function versionsRoute(draft: Draft, parts: Parts): Route {
  const value = { data: listVersions(draft.model, momentOf(draft)) }
  return open(parts, 'versions', [], {
    path: '/versions',
    summary: 'List the versions of the API',
    responses: {
      200: answer('All versions, the newest first.', [jsonType, versionList(draft, ofVersion), value, 'Versions']),
    },
  })
}

function changelogRoute(draft: Draft, parts: Parts): Route {
  const schema = versionList(draft, { ...ofVersion, changes: z.array(change).max(limits.jsonMembersMax) })
  const value = { data: changelog(draft.model, momentOf(draft)) }
  return open(parts, 'changelog', [], {
    path: '/changelog.json',
    summary: 'Read what changed at each version',
    responses: {
      200: answer('All versions with their changes, the newest first. /changelog is a page of it.', [
        jsonType,
        schema,
        value,
        'Changes',
      ]),
    },
  })
}
