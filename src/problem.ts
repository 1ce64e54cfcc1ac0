/**
 * The one error that callers see, as RFC 9457 problem details, and the catalogue of all of them.
 * `throw new Problem('stale-version', {...})` anywhere; `http/present.ts` answers it once.
 * A fault of our own is an `assert`, never a Problem.
 */
const catalogue = {
  'invalid-host': [400, 'The Host header is missing or malformed.'],
  'invalid-id': [400, 'The id is not a UUID of version 7.'],
  'invalid-json': [400, 'The body is not JSON that this API takes.'],
  'invalid-parameter': [400, 'A query parameter is malformed.'],
  'invalid-header': [400, 'A request header is malformed.'],
  'invalid-cursor': [400, 'The cursor is not one that this API gave for this query.'],
  'invalid-idempotency-key': [400, 'The Idempotency-Key is malformed.'],
  'invalid-consistency-token': [400, 'The Consistency-Token is not one that this API gave.'],
  'unknown-version': [400, 'The API version does not exist.'],
  unauthorized: [401, 'A valid API key is required.'],
  forbidden: [403, 'The API key may not do this.'],
  'not-found': [404, 'There is nothing here.'],
  'method-not-allowed': [405, 'The method is not allowed here.'],
  'already-exists': [409, 'A record with the same unique value exists.'],
  'still-referenced': [409, 'Other records still refer to this one.'],
  'too-many-webhooks': [409, 'The tenant has as many webhooks as it may.'],
  'token-from-another-epoch': [409, 'The Consistency-Token is from before a restore of the primary.'],
  'must-refetch': [
    410,
    'The log no longer has what came after this position. Read the records again, and follow from there.',
  ],
  'past-not-kept': [410, 'The log does not reach back to that time any more.'],
  'version-sunset': [410, 'The API version has ended.'],
  'precondition-failed': [412, 'The record is not at the version that the request expects.'],
  'content-too-large': [413, 'The body is larger than the limit.'],
  'unsupported-media-type': [415, 'The Content-Type is not one that this method takes.'],
  'unsupported-content-encoding': [415, 'Compressed request bodies are not taken.'],
  'unknown-parameter': [422, 'A query parameter is unknown.'],
  'unknown-field': [422, 'A field is unknown.'],
  'invalid-value': [422, 'A value is not what its field takes.'],
  'invalid-command': [422, 'A command of the batch is malformed.'],
  'filter-too-complex': [422, 'The query asks for more work than one request may.'],
  'webhook-url-refused': [422, 'The URL is not one that webhooks are sent to.'],
  'idempotency-key-reused': [422, 'The Idempotency-Key was used with another request.'],
  'uri-too-long': [414, 'The URL is longer than the limit.'],
  'rate-limited': [429, 'There were more requests than this caller may send.'],
  'internal-error': [
    500,
    'Perigee failed. The fault is ours; the request may be retried with the same Idempotency-Key.',
  ],
  'not-ready': [503, 'The server is not ready.'],
  overloaded: [503, 'Too many requests are waiting. The request was not applied.'],
  'primary-unreachable': [503, 'The primary cannot be reached. The request was not applied.'],
  'position-not-reached': [503, 'This node has not reached the position of the Consistency-Token.'],
  'storage-error': [503, 'The storage failed. The request was not applied.'],
  'outcome-unknown': [504, 'The write may or may not have been applied. Retry with the same Idempotency-Key.'],
  'storage-full': [507, 'The disk is full. The request was not applied.'],
  'loop-detected': [508, 'The request goes round between edges: one of them names another as its primary.'],
} as const satisfies Record<string, readonly [status: number, title: string]>

export type ProblemCode = keyof typeof catalogue

/** One broken part of a request: a JSON pointer into the body, or the name of a parameter or header. */
export type Fault = { code: string; message: string } & (
  | { pointer: string }
  | { parameter: string }
  | { header: string }
)

export interface ProblemDetails {
  /** What happened this time, one sentence for the person who reads it. */
  detail?: string
  /** Every broken part, all at once. */
  errors?: readonly Fault[]
  /** Response headers that belong to this answer, such as ETag or Retry-After. */
  headers?: Readonly<Record<string, string>>
  /** The position of the log that the refusal was read at, where it came from a read. */
  seq?: number
  /** The date of the API version that it is told in, where no handler has told the app. */
  version?: string
}

export class Problem extends Error {
  readonly code: ProblemCode
  readonly details: ProblemDetails

  constructor(code: ProblemCode, details: ProblemDetails = {}) {
    super(details.detail ?? catalogue[code][1])
    this.name = 'Problem'
    this.code = code
    this.details = details
  }

  get status(): number {
    return catalogue[this.code][0]
  }

  /** The body of the answer, RFC 9457 section 3. */
  body(instance: string | undefined): Record<string, unknown> {
    const { detail, errors } = this.details
    return {
      ...problemType(this.code),
      ...(detail && { detail }),
      ...(instance && { instance }),
      ...(errors && { errors }),
    }
  }
}

export const problemCodes = Object.keys(catalogue) as readonly ProblemCode[]

/** What a problem type says of itself; also what `GET /problems/{code}` answers. */
export function problemType(code: ProblemCode): { type: string; title: string; status: number } {
  return { type: `/problems/${code}`, title: catalogue[code][1], status: catalogue[code][0] }
}

/** States a truth of our own making. When it does not hold, we stop rather than answer wrongly. */
export function assert(holds: unknown, truth: string): asserts holds {
  if (!holds) throw new Error(`broken invariant: ${truth}`)
}

/** The valid name nearest to a mistyped one (Levenshtein distance of at most half its length), for error messages. */
export function nearest(name: string, valid: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(name.length / 2)) + 1
  if (name.length > 64) return undefined
  for (const candidate of valid) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, change))
    }
    row = next
  }
  return row[b.length] ?? 0
}
