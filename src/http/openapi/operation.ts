import { z } from '@hono/zod-openapi'
import type { ResourceView } from '../../version/view.ts'
import { jsonType } from '../body.ts'
import { isPublic } from './access.ts'
import { type OperationKind, problemsOf } from './codes.ts'
import type { Draft, Route } from './draft.ts'
import { exampleId } from './example.ts'
import type { problemResponses } from './problem.ts'
import type { RecordSchemas } from './record.ts'
import type { RequestHeaders } from './request-header.ts'
import { ofEveryVersion, type ResponseHeader } from './response-header.ts'
import { idSchema } from './value.ts'

/** What every operation is written with. */
export interface Parts {
  readonly headers: RequestHeaders
  readonly problems: ReturnType<typeof problemResponses>
  readonly schemas: ReadonlyMap<string, RecordSchemas>
}

/** What the operations of one resource are written with. */
export interface Subject extends Parts {
  readonly draft: Draft
  readonly view: ResourceView
  readonly own: RecordSchemas
  /** The paths of the list and of one record. */
  readonly list: string
  readonly one: string
}

export function subjectOf(draft: Draft, view: ResourceView, parts: Parts): Subject {
  const own = parts.schemas.get(view.resource.name)
  if (!own) throw new Error(`broken invariant: ${view.name} has schemas`)
  return { ...parts, draft, view, own, list: `/${view.name}`, one: `/${view.name}/{id}` }
}

export const ofEveryWrite = [
  ...ofEveryVersion,
  'Consistency-Token',
  'X-Request-Id',
  'Server-Timing',
  'Idempotency-Replayed',
  'Cache-Group-Invalidation',
  'RateLimit-Policy',
  'RateLimit',
] as const satisfies readonly ResponseHeader[]

/** What all operations of a resource say alike. */
export function basics({ view, problems }: Subject, kind: OperationKind, summary: string, description: string) {
  const isRead = kind === 'list' || kind === 'read' || kind === 'history'
  const key = { apiKey: [isRead ? 'read' : 'write'] }
  return {
    operationId: `${view.name}${kind.charAt(0).toUpperCase()}${kind.slice(1)}`,
    tags: [view.name],
    summary,
    description,
    security: isRead && isPublic(view.resource.access.read) ? [key, {}] : [key],
    problems: problems(kind, problemsOf(kind, view)),
  }
}

/** A route of its own parts and of those that its kind shares. */
export function route({ problems, ...shared }: ReturnType<typeof basics>, { responses, ...own }: Route): Route {
  return { ...shared, ...own, responses: { ...responses, ...problems } }
}

export function json(schema: z.ZodType, examples: Record<string, { summary: string; value: unknown }>) {
  return { [jsonType]: { schema, examples } }
}

export function idParameter({ draft, view }: Subject) {
  const param = { description: 'The id of the record.', example: exampleId(draft.model, view.resource.name) }
  return z.object({ id: idSchema.openapi({ param }) })
}
