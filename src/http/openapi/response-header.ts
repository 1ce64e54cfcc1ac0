import { limits } from '../../schema/limits.ts'
import { jsonType, mergePatchType } from '../body.ts'
import { baseHeaders, privateCaching, readVary } from '../present.ts'
import { type Draft, versionDates } from './draft.ts'
import { exampleId, exampleToken } from './example.ts'
import { requestIdPattern, tokenCharsMax, tokenPattern } from './request-header.ts'

/** The headers of answers, by their names. */
export type ResponseHeader = keyof ReturnType<typeof headersByName>

function headersByName(draft: Draft) {
  return { ...ownHeaders(draft), ...cacheHeaders, ...limitHeaders, ...refusalHeaders, ...browserHeaders }
}

const text = (pattern: string, maxLength: number) => ({ type: 'string', pattern, maxLength }) as const
const constant = (value: string) => ({ type: 'string', const: value }) as const

const link = '<[^<>]*>; rel="[a-z-]+"(; type="text/html")?'
const cacheStatus = 'Perigee-[a-z0-9-]{1,32}; (hit|fwd=[a-z]+)(; [a-z]+(=[a-z0-9]+)?)*'
const group = '"[A-Za-z0-9_/-]+"'
const stage = '[a-z]+(;dur=[0-9.e-]+)?'

const cacheHeaders = {
  'Cache-Status': {
    description:
      'Whether the answer was kept, `hit`, or read for this request, and why: `fwd=miss`, `fwd=stale`, `fwd=bypass` (RFC 9211). Each node that it came through says so, the nearest to the data first.',
    schema: text(`^${cacheStatus}(, ${cacheStatus})*$`, 300),
    example: 'Perigee-local; hit',
  },
  Age: {
    description: 'Of an answer that was kept for others as well: since how many seconds it is known to be true.',
    schema: text('^[0-9]+$', 10),
    example: '0',
  },
  'Cache-Groups': {
    description:
      'Of an answer to a request without a key: what it is made of (RFC 9875), `posts` for any records of a resource, `posts/ID` for one.',
    schema: text(`^${group}(, ${group})*$`, 2_000),
  },
  'Cache-Group-Invalidation': {
    description: 'The groups of answers that the write has changed (RFC 9875).',
    schema: text(`^${group}(, ${group})*$`, 20_000),
  },
} as const

const limitHeaders = {
  'RateLimit-Policy': {
    description: 'How many requests the caller may send in how many seconds, where there is a limit.',
    schema: text('^"default";q=[0-9]+;w=[0-9]+$', 60),
    example: '"default";q=600;w=60',
  },
  RateLimit: {
    description: 'How many are left now, and in how many seconds all of them are again.',
    schema: text('^"default";r=[0-9]+;t=[0-9]+$', 60),
    example: '"default";r=599;t=1',
  },
} as const

function ownHeaders(draft: Draft) {
  const [first = ''] = draft.model.resources.keys()
  return {
    'API-Version': {
      description: 'The version of the API that served the answer.',
      schema: { type: 'string', enum: versionDates(draft) },
    },
    'Consistency-Token': {
      description: 'The position of the answer. Send it back to read nothing older.',
      schema: text(tokenPattern, tokenCharsMax),
      example: exampleToken,
    },
    ETag: {
      description: 'What `If-Match` and `If-None-Match` take. It is of one API version.',
      schema: text('^"[!#-~]*"$', 128),
      example: `"1-${draft.view.version.alias}"`,
    },
    'Cache-Control': {
      description: 'Whether the answer may be kept. What is kept is checked by its ETag each time.',
      schema: text('^[a-z0-9=, -]+$', 60),
      example: privateCaching,
    },
    Vary: { description: 'The request headers that the answer depends on.', schema: constant(readVary) },
    'Server-Timing': {
      description: 'How long the stages of the request took, in milliseconds; `kept` for an answer that was ready.',
      schema: text(`^${stage}(, ${stage})*$`, 200),
      example: 'plan;dur=0.21, read;dur=0.094',
    },
    'Replica-Age': {
      description:
        'Of an answer from an edge: since how many seconds its copy is known to have all that the primary had, or `unknown`. Absent where the primary answered.',
      schema: text('^([0-9]+\\.[0-9]{3}|unknown)$', 20),
      example: '0.012',
    },
    ...ofSomeAnswers(`/${first}/${exampleId(draft.model, first)}`),
    'X-Request-Id': {
      description: 'The name of the request, for questions about it.',
      schema: text(requestIdPattern, limits.requestIdCharsMax),
      example: exampleId(draft.model, first),
    },
  } as const
}

function ofSomeAnswers(location: string) {
  return {
    Link: {
      description:
        'The pages after and before this one (RFC 8288), where there are such. Where the version has an end: `deprecation` and `sunset`, what is told of it, and `successor-version` (RFC 5829), the same in the version to move to.',
      schema: text(`^${link}(, ${link})*$`, 4 * limits.urlCharsMax),
    },
    Deprecation: {
      description:
        'From when on the version is deprecated, in seconds since 1970 (RFC 9745), where such a day is set; it may be to come.',
      schema: text('^@\\d+$', 20),
      example: '@1793491200',
    },
    Sunset: {
      description: 'From when on the version is answered 410 (RFC 8594), where such a day is set.',
      schema: text('^[A-Z][a-z]{2}, \\d{2} [A-Z][a-z]{2} \\d{4} \\d{2}:\\d{2}:\\d{2} GMT$', 29),
      example: 'Fri, 01 Mar 2030 00:00:00 GMT',
    },
    Location: {
      description: 'The path of the record that was created.',
      schema: { ...text('^/', limits.urlCharsMax), format: 'uri-reference' },
      example: location,
    },
    'Idempotency-Replayed': {
      description: 'The request was carried out before, and this is the answer that it got.',
      schema: constant('true'),
    },
  } as const
}

const refusalHeaders = {
  'Retry-After': {
    description: 'In how many seconds to try again.',
    schema: { type: 'integer', format: 'int32', minimum: 1, maximum: 86_400 },
    example: 1,
  },
  'WWW-Authenticate': {
    description: 'How to authenticate (RFC 6750).',
    schema: constant('Bearer realm="perigee"'),
  },
  'Accept-Patch': { description: 'What a PATCH takes.', schema: constant(mergePatchType) },
  'Accept-Post': { description: 'What a POST or a PUT takes.', schema: constant(jsonType) },
  'Accept-Encoding': { description: 'How a body may be encoded.', schema: constant('identity') },
} as const

const browserHeaders = {
  'Access-Control-Allow-Origin': {
    description: 'The origin of the page that asks, where the server allows it.',
    schema: { ...text('^https?://[^/]+$', 300), format: 'uri' },
    example: 'https://app.example.com',
  },
  'Access-Control-Expose-Headers': {
    description: 'The headers that such a page may read.',
    schema: text('^[A-Za-z-]+(, [A-Za-z-]+)*$', 1_000),
  },
  'X-Content-Type-Options': {
    description: 'The Content-Type is what it says.',
    schema: constant(baseHeaders['X-Content-Type-Options']),
  },
  'Content-Security-Policy': {
    description: 'An answer is no page: a browser that is led to show one loads nothing.',
    schema: constant(baseHeaders['Content-Security-Policy']),
  },
} as const

/** The headers of answers of a version: its name, and what it tells of its end. */
export const ofEveryVersion = [
  'API-Version',
  'Deprecation',
  'Sunset',
  'Link',
] as const satisfies readonly ResponseHeader[]

const ofEveryAnswer = [...(Object.keys(browserHeaders) as (keyof typeof browserHeaders)[]), 'Cache-Control'] as const

export function registerResponseHeaders(draft: Draft) {
  for (const [name, header] of Object.entries(headersByName(draft)))
    draft.registry.registerComponent('headers', name, header)
}

/** The headers of an answer as references to their components: the named ones and those of every answer. */
export function answerHeaders(...names: readonly ResponseHeader[]): Record<string, { $ref: string }> {
  const all = [...names, ...ofEveryAnswer]
  return Object.fromEntries(all.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}
