import { z } from '@hono/zod-openapi'
import { limits } from '../../schema/limits.ts'
import { accessText } from './access.ts'
import type { Route } from './draft.ts'
import * as example from './example.ts'
import { basics, idParameter, json, route, type Subject } from './operation.ts'
import { listParameters, pagingParameters, recordParameters } from './query.ts'
import type { RequestHeaders } from './request-header.ts'
import { answerHeaders, ofEveryVersion, type ResponseHeader } from './response-header.ts'

const ofEveryRead = [
  'ETag',
  ...ofEveryVersion,
  'Consistency-Token',
  'Cache-Status',
  'Cache-Groups',
  'Age',
  'RateLimit-Policy',
  'RateLimit',
  'Vary',
  'Server-Timing',
  'Replica-Age',
] as const satisfies readonly ResponseHeader[]

const readHeaders = ({ version, consistency, token, ifNoneMatch }: RequestHeaders) => [
  version,
  consistency,
  token,
  ifNoneMatch,
]

function unchanged() {
  const description = 'The caller has the answer already: the ETag in If-None-Match still holds.'
  return { description, headers: answerHeaders(...ofEveryRead) }
}

export function listRoute(subject: Subject): Route {
  const { draft, view, headers, own, list } = subject
  const page = { data: [example.exampleRecord(draft.model, view)], next: example.exampleCursor }
  return route(
    basics(
      subject,
      'list',
      `List ${view.name}`,
      `A page of the records that the caller may read, at most ${view.pageRowsMax} of them. Filters stand beside one another and all hold; a query has at most ${limits.filterTermsMax}. ${accessText(view)}`,
    ),
    {
      method: 'get',
      path: list,
      parameters: readHeaders(headers),
      request: { query: listParameters(draft, view) },
      responses: {
        200: {
          description: 'A page.',
          headers: answerHeaders(...ofEveryRead),
          content: json(own.page, {
            page: { summary: 'A page, and where the next one begins', value: page },
            counted: { summary: 'The last page, counted', value: { ...page, next: null, count: 1 } },
          }),
        },
        304: unchanged(),
      },
    },
  )
}

export function readRoute(subject: Subject): Route {
  const { draft, view, headers, own, one } = subject
  const record = example.exampleRecord(draft.model, view)
  const [first = 'id', second = 'version'] = view.fields.keys()
  return route(basics(subject, 'read', `Read a record of ${view.name}`, accessText(view)), {
    method: 'get',
    path: one,
    parameters: readHeaders(headers),
    request: { params: idParameter(subject), query: z.object(recordParameters(view)) },
    responses: {
      200: {
        description: 'The record.',
        headers: answerHeaders(...ofEveryRead),
        content: json(z.union([own.record, own.selection]), {
          record: { summary: 'The whole record', value: record },
          some: {
            summary: `With fields=${first},${second}`,
            value: { [first]: record[first], [second]: record[second] },
          },
        }),
      },
      304: unchanged(),
    },
  })
}

export function historyRoute(subject: Subject): Route {
  const { draft, view, headers, own, one } = subject
  const record = example.exampleChanged(draft.model, view)
  const change = {
    ...{ seq: 1842, time: example.changed, operation: 'update', version: 2 },
    changed: Object.keys(example.examplePatch(draft.model, view)),
    ...{ actor: 'key:q3Zx81Lw', request: 'import-2026-11-01.17', record },
  }
  return route(
    basics(
      subject,
      'history',
      `Read the history of a record of ${view.name}`,
      'The changes of the record, the newest first, also after its deletion. A caller sees the changes that left the record as it may read it.',
    ),
    {
      method: 'get',
      path: `${one}/history`,
      parameters: readHeaders(headers),
      request: { params: idParameter(subject), query: z.object(pagingParameters(limits.pageRowsMax)) },
      responses: {
        200: {
          description: 'A page of changes.',
          headers: answerHeaders(...ofEveryRead),
          content: json(own.history, { changes: { summary: 'One change', value: { data: [change], next: null } } }),
        },
        304: unchanged(),
      },
    },
  )
}
