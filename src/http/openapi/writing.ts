import { mergePatchType } from '../body.ts'
import { accessText } from './access.ts'
import type { Route } from './draft.ts'
import * as example from './example.ts'
import { basics, idParameter, json, ofEveryWrite, route, type Subject } from './operation.ts'
import { answerHeaders, type ResponseHeader } from './response-header.ts'

export function createRoute(subject: Subject): Route {
  const { draft, view, headers, own, list } = subject
  return route(
    basics(subject, 'create', `Create a record of ${view.name}`, `Perigee gives the id. ${accessText(view)}`),
    {
      method: 'post',
      path: list,
      parameters: [headers.version, headers.key, headers.requestId],
      request: {
        body: { required: true, content: json(own.input, inputExamples(subject)) },
      },
      responses: {
        201: {
          description: 'The record, created and durable.',
          headers: answerHeaders(...ofEveryWrite, 'ETag', 'Location'),
          content: json(own.record, {
            record: { summary: 'The new record', value: example.exampleRecord(draft.model, view) },
          }),
        },
      },
    },
  )
}

function inputExamples({ draft, view }: Subject) {
  return { record: { summary: 'Every field', value: example.exampleInput(draft.model, view) } }
}

export function replaceRoute(subject: Subject): Route {
  const { draft, view, headers, own, one } = subject
  const answer = (description: string, ...names: readonly ResponseHeader[]) => ({
    description,
    headers: answerHeaders(...ofEveryWrite, 'ETag', ...names),
    content: json(own.record, { record: { summary: 'The record', value: example.exampleRecord(draft.model, view) } }),
  })
  return route(
    basics(
      subject,
      'replace',
      `Replace or create a record of ${view.name}`,
      `The id is the caller's to choose. Fields that the body leaves out get their defaults. ${accessText(view)}`,
    ),
    {
      method: 'put',
      path: one,
      parameters: [headers.version, headers.key, headers.ifMatch, headers.ifNew, headers.requestId],
      request: {
        params: idParameter(subject),
        body: { required: true, content: json(own.input, inputExamples(subject)) },
      },
      responses: {
        200: answer('The record, replaced.'),
        201: answer('The record, created.', 'Location'),
      },
    },
  )
}

export function patchRoute(subject: Subject): Route {
  const { draft, view, headers, own, one } = subject
  const value = example.examplePatch(draft.model, view)
  return route(
    basics(
      subject,
      'patch',
      `Change a record of ${view.name}`,
      `A merge patch (RFC 7396): what is named changes, null takes a value away, the rest stays. ${accessText(view)}`,
    ),
    {
      method: 'patch',
      path: one,
      parameters: [headers.version, headers.key, headers.ifMatch, headers.requestId],
      request: {
        params: idParameter(subject),
        body: {
          required: true,
          content: { [mergePatchType]: { schema: own.patch, examples: { change: { summary: 'One field', value } } } },
        },
      },
      responses: {
        200: {
          description: 'The record after the change.',
          headers: answerHeaders(...ofEveryWrite, 'ETag'),
          content: json(own.record, {
            record: { summary: 'The changed record', value: example.exampleChanged(draft.model, view) },
          }),
        },
      },
    },
  )
}

export function deleteRoute(subject: Subject): Route {
  const { view, headers, one } = subject
  return route(basics(subject, 'delete', `Delete a record of ${view.name}`, `Its history stays. ${accessText(view)}`), {
    method: 'delete',
    path: one,
    parameters: [headers.version, headers.key, headers.ifMatch, headers.requestId],
    request: { params: idParameter(subject) },
    responses: { 204: { description: 'The record is deleted.', headers: answerHeaders(...ofEveryWrite) } },
  })
}
