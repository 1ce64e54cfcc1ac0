import { jsonType, mergePatchType } from './body.ts'

const exposed =
  'API-Version, Consistency-Token, Deprecation, ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Replica-Age, Retry-After, Server-Timing, Sunset, X-Request-Id'
const allowed =
  'API-Version, Authorization, Consistency, Consistency-Token, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id'

/** Adds what the Fetch standard asks for to an answer to a page of an allowed origin; other origins get none of it. */
export function allowOrigin(response: Response, origin: string | null, origins: ReadonlySet<string>): Response {
  if (origin === null || !origins.has(origin)) return response
  response.headers.set('Access-Control-Allow-Origin', origin)
  response.headers.set('Access-Control-Expose-Headers', exposed)
  return response
}

/** Headers of the answer to OPTIONS, a preflight among them. */
export function optionsHeaders(methods: string, isPreflight: boolean): Record<string, string> {
  const headers: Record<string, string> = { Allow: methods, Vary: 'Origin' }
  if (methods.includes('PATCH')) headers['Accept-Patch'] = mergePatchType
  if (methods.includes('POST')) headers['Accept-Post'] = jsonType
  if (!isPreflight) return headers
  return {
    ...headers,
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Allow-Headers': allowed,
    'Access-Control-Max-Age': '600',
  }
}
