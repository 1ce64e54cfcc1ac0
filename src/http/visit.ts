import { Problem } from '../problem.ts'
import type { ResourceView } from '../version/view.ts'
import { type Consistency, parseConsistency, requestIdOf } from './negotiation.ts'
import { recordPath } from './recent-writes.ts'
import type { Local, Service } from './service.ts'

/** What an edge does with one request. */
export interface Visit {
  readonly request: Request
  readonly local: Local
  readonly service: Service
}

/** Which record a write was of, from its answer; `tag` is null where it was deleted. Null for batches, and what is none of ours. */
export function writtenRecord(
  { request, service }: Visit,
  { status, headers }: Response,
): { readonly view: ResourceView; readonly id: string; readonly tag: string | null } | null {
  const path = recordPath(status === 201 ? (headers.get('location') ?? '') : request.url)
  const view = service.views.get(headers.get('api-version') ?? '')?.resources.get(path?.name ?? '')
  const tag = headers.get('etag')
  if (!path || !view || headers.has('content-encoding') || (tag === null && status !== 204)) return null
  return { view, id: path.id, tag }
}

export function requestIdFor({ request, service }: Visit): string {
  return requestIdOf(request.headers.get('x-request-id')) ?? service.newId()
}

/** What a read asks for; null where its headers are malformed, which the node itself tells. */
export function consistencyOf({ headers }: Request, { sealer }: Service): Consistency | null {
  try {
    return parseConsistency(headers.get('consistency'), headers.get('consistency-token'), sealer)
  } catch (error) {
    if (error instanceof Problem) return null
    throw error
  }
}

/** Whether a URL is of the model's records, and not of what every node says of itself. */
export function isOfRecords(visit: Visit): boolean {
  return isOfWebhooks(visit) || [...visit.service.views.values()].some((view) => view.resources.has(nameIn(visit)))
}

export function isOfWebhooks(visit: Visit): boolean {
  return nameIn(visit) === 'webhooks'
}

/** The first part of the path, after a version's alias where it has one. */
function nameIn({ request, service: { views } }: Visit): string {
  const [, first = '', second = ''] = /^https?:\/\/[^/]+\/([^/?#]*)(?:\/([^/?#]*))?/.exec(request.url) ?? []
  return views.has(first) ? second : first
}
