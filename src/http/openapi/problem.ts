import { z } from '@hono/zod-openapi'
import { Problem, type ProblemCode, type ProblemDetails, problemCodes, problemType } from '../../problem.ts'
import { limits } from '../../schema/limits.ts'
import type { Draft, Registry, Route } from './draft.ts'
import { exampleId } from './example.ts'
import { answerHeaders, ofEveryVersion, type ResponseHeader } from './response-header.ts'
import { freeText } from './value.ts'

type Responses = Route['responses']

/** Registers what all problems share, and returns what makes the responses of one operation. */
export function problemResponses(draft: Draft): (operation: string, codes: readonly ProblemCode[]) => Responses {
  const { registry } = draft
  registry.register('Problem', problemSchema())
  const used = new Set<string>()
  return (operation, codes) => {
    const byStatus = Map.groupBy(codes, (code) => problemType(code).status)
    const responses = [...byStatus].map(([status, list]) => {
      // The same problems are one component, whoever answers them.
      const name = list.length === 1 ? (list[0] ?? '') : `${operation}-${status}`
      if (!used.has(name)) {
        used.add(name)
        for (const code of list) registerExample(draft, code, used)
        registry.registerComponent('responses', name, response(list))
      }
      return [String(status), { $ref: `#/components/responses/${name}` }] as const
    })
    return Object.fromEntries(responses)
  }
}

function registerExample(draft: Draft, code: ProblemCode, used: Set<string>) {
  if (used.has(`example ${code}`)) return
  used.add(`example ${code}`)
  draft.registry.registerComponent('examples', code, {
    summary: problemType(code).title,
    value: exampleOf(draft, code),
  })
}

function response(codes: readonly ProblemCode[]): Parameters<Registry['registerComponent']>[2] {
  const headers = codes.flatMap((code) => headersOf[code] ?? [])
  const list = codes.map((code) => `- \`${code}\`: ${problemType(code).title}`)
  const types = codes.map((code) => problemType(code).type)
  return {
    description: codes.length === 1 ? problemType(codes[0] as ProblemCode).title : list.join('\n'),
    headers: answerHeaders(...ofEveryVersion, 'Consistency-Token', ...headers),
    content: {
      'application/problem+json': {
        schema: {
          allOf: [
            { $ref: '#/components/schemas/Problem' },
            { type: 'object', properties: { type: { type: 'string', enum: types } } },
          ],
        },
        examples: Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }])),
      },
    },
  }
}

const headersOf: Readonly<Partial<Record<ProblemCode, readonly ResponseHeader[]>>> = {
  unauthorized: ['WWW-Authenticate'],
  'precondition-failed': ['ETag'],
  'unsupported-media-type': ['Accept-Patch', 'Accept-Post'],
  'unsupported-content-encoding': ['Accept-Encoding'],
  'internal-error': ['X-Request-Id'],
  'not-ready': ['Retry-After'],
  overloaded: ['Retry-After'],
  'rate-limited': ['Retry-After', 'RateLimit-Policy', 'RateLimit'],
  'primary-unreachable': ['Retry-After', 'X-Request-Id'],
  'position-not-reached': ['Retry-After'],
  'storage-error': ['Retry-After'],
  'outcome-unknown': ['X-Request-Id'],
  'storage-full': ['Retry-After'],
}

/** RFC 9457, with every broken part of the request in `errors`. */
function problemSchema(): z.ZodObject {
  const place = freeText(limits.urlCharsMax).optional()
  const fault = z.object({
    code: z.string().openapi({ pattern: '^[a-z][a-z_-]*$', maxLength: 100 }),
    message: freeText().openapi({ description: 'What is wrong and what was expected.' }),
    pointer: place.openapi({ description: 'Where in the body, as a JSON pointer (RFC 6901).' }),
    parameter: place.openapi({ description: 'Or the query parameter.' }),
    header: place.openapi({ description: 'Or the header.' }),
  })
  return z
    .object({
      type: z
        .enum(problemCodes.map((code) => problemType(code).type))
        .openapi({ description: 'What kind of problem it is; a GET of it tells more.' }),
      title: freeText(500),
      status: z.int().openapi({ format: 'int32', minimum: 400, maximum: 599 }),
      detail: freeText().optional().openapi({ description: 'What happened this time.' }),
      instance: freeText(limits.urlCharsMax).optional().openapi({ description: 'The path of the request.' }),
      errors: z
        .array(fault)
        .max(limits.urlCharsMax / 2)
        .optional()
        .openapi({ description: 'Every broken part of the request, all at once.' }),
    })
    .openapi({ description: 'Why a request was not answered as it asked (RFC 9457).' })
}

function exampleOf(draft: Draft, code: ProblemCode): Record<string, unknown> {
  const [resource = ''] = draft.model.resources.keys()
  const path = pathless.includes(code) ? '' : `/${resource}/${exampleId(draft.model, resource)}`
  return new Problem(code, exampleDetails[code] ?? {}).body(path)
}

/** Refused before a path is known. */
const pathless: readonly ProblemCode[] = ['invalid-host', 'uri-too-long']

const at = (pointer: string, code: string, message: string): ProblemDetails => ({
  detail: message,
  errors: [{ pointer, code, message }],
})
const inQuery = (parameter: string, code: string, message: string): ProblemDetails => ({
  detail: message,
  errors: [{ parameter, code, message }],
})

const exampleDetails: Readonly<Partial<Record<ProblemCode, ProblemDetails>>> = {
  'invalid-json': at('', 'duplicate-key', 'An object has the member "name" twice.'),
  'invalid-parameter': inQuery(
    'limit',
    'limit-too-large',
    `The limit is a whole number from 1 to ${limits.pageRowsMax}.`,
  ),
  'invalid-cursor': { detail: 'The cursor belongs to another query, or is damaged. Start again without it.' },
  'version-sunset': {
    detail: 'This API version has ended. Move to the next. See /changelog.',
  },
  unauthorized: { detail: 'The API key is unknown or was revoked.' },
  forbidden: { detail: 'This key lacks the scope "write".' },
  'not-found': { detail: 'There is no such record.' },
  'already-exists': at('/name', 'not-unique', 'Another record has this name.'),
  'still-referenced': { detail: 'Records of another resource still refer to this one. Delete or move them first.' },
  'precondition-failed': {
    detail: 'The record is at version 3; the request expects 2. Read it again and repeat the change.',
  },
  'content-too-large': { detail: `A body is at most ${limits.bodyBytesMax} bytes.` },
  'unsupported-media-type': { detail: 'Send the body with "Content-Type: application/json".' },
  'unknown-parameter': inQuery('colour', 'unknown-parameter', 'There is no "colour"; there are fields, include.'),
  'unknown-field': at('/nmae', 'unknown-field', 'There is no field "nmae"; did you mean "name"?'),
  'invalid-value': at('/name', 'too_small', '"name": Too small: expected string to have >=1 characters'),
  'invalid-command': at('/commands/0/do', 'invalid-command', '"do" is one of create, replace, patch, delete.'),
  'filter-too-complex': inQuery(
    'include',
    'too-deep',
    `An include is at most ${limits.includeDepthMax} relations deep.`,
  ),
  'idempotency-key-reused': {
    detail: 'This Idempotency-Key was used with another request. Use a new key for a new request.',
  },
}
