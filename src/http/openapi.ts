import { OpenAPIHono } from '@hono/zod-openapi'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import type { View } from '../version/view.ts'
import { batchRoute } from './openapi/batch.ts'
import { changesRoute } from './openapi/changes.ts'
import { type Draft, type Route, versionDates } from './openapi/draft.ts'
import { nodeRoutes } from './openapi/node.ts'
import { type Parts, subjectOf } from './openapi/operation.ts'
import { problemResponses } from './openapi/problem.ts'
import { historyRoute, listRoute, readRoute } from './openapi/reading.ts'
import { recordSchemas } from './openapi/record.ts'
import { requestHeaders } from './openapi/request-header.ts'
import { registerResponseHeaders } from './openapi/response-header.ts'
import { webhookRoutes } from './openapi/webhook.ts'
import { createRoute, deleteRoute, patchRoute, replaceRoute } from './openapi/writing.ts'

/** Beside one another in the document as they are here. */
const resourceOperations = [
  listRoute,
  createRoute,
  readRoute,
  replaceRoute,
  patchRoute,
  deleteRoute,
  historyRoute,
] as const
const readOperations = [listRoute, readRoute, historyRoute] as const

const documents = new WeakMap<View, string>()

/** The OpenAPI 3.1 document of a view of the model, as JSON text. It is made once for each view. */
export function openApiDocument(model: Model, view: View): string {
  const known = documents.get(view)
  if (known !== undefined) return known
  const text = JSON.stringify(generate(model, view))
  documents.set(view, text)
  return text
}

function generate(model: Model, view: View): object {
  const app = new OpenAPIHono()
  const draft: Draft = { model, view, registry: app.openAPIRegistry }
  draft.registry.registerComponent('securitySchemes', 'apiKey', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'pgk_ and 43 characters',
    description:
      'An API key, made with `bun run keys create`. It belongs to one tenant, and has the scopes `read`, `write`, `webhooks` and those of the model. Without a key, the public records of the public tenant can be read, where the server has one.',
  })
  registerResponseHeaders(draft)
  const parts: Parts = {
    headers: requestHeaders(draft),
    problems: problemResponses(draft),
    schemas: recordSchemas(draft),
  }
  const routes = [...ofVersion(draft, parts), ...nodeRoutes(draft, parts)]
  for (const route of routes) draft.registry.registerPath(route)
  const { webhooks: _, ...document } = app.getOpenAPI31Document(headOf(draft))
  return document
}

/** The operations on records. Those of a version that has an end say so, also while that is to come. */
function ofVersion(draft: Draft, parts: Parts): Route[] {
  const { resources, version } = draft.view
  const ofResources = [...resources.values()].flatMap((each) => {
    const subject = subjectOf(draft, each, parts)
    const operations = each.resource.isReadOnly ? readOperations : resourceOperations
    return operations.map((operation) => operation(subject))
  })
  const routes = [...ofResources, batchRoute(draft, parts), changesRoute(draft, parts), ...webhookRoutes(draft, parts)]
  return version.deprecated === null ? routes : routes.map((route) => ({ ...route, deprecated: true }))
}

function headOf(draft: Draft) {
  const { model, view } = draft
  return {
    openapi: '3.1.0',
    info: {
      title: model.title,
      version: view.version.date,
      description: about(draft),
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'This server, whether local, staging or production.', 'x-internal': false }],
    tags: [
      ...[...view.resources.values()].map((each) => ({ name: each.name, description: each.resource.description })),
      { name: 'batch', description: 'Several commands in one transaction.' },
      { name: 'changes', description: 'The log of all changes, to follow.' },
      { name: 'webhooks', description: 'Changes sent on, signed as Standard Webhooks 1.0.0 has it: docs/webhooks.md.' },
      { name: 'node', description: 'What the node says of itself. No key is needed.' },
    ],
  }
}

function about(draft: Draft): string {
  const { date, alias, notes, deprecated, sunset } = draft.view.version
  const dates = versionDates(draft)
  const others = dates.length > 1 ? ` There are ${dates.join(', ')}.` : ''
  const end = sunset === null ? '' : ` and ends on ${sunset}`
  const life = deprecated === null ? '' : ` It is deprecated from ${deprecated} on${end}.`
  return `${notes} This is version ${date}: ask for it with \`API-Version: ${date}\`, or put \`/${alias}\` before the path.${life}${others} What changed at each is in [the changelog](/changelog).

- Every answer carries a \`Consistency-Token\`; send it back, and nothing older is read.
- Every record has an \`ETag\`; send it as \`If-Match\`, and no change of another is lost.
- Every write may carry an \`Idempotency-Key\`; send it again, and it is carried out once.
- Every problem is \`application/problem+json\` and names all that is wrong.

A body is at most ${limits.bodyBytesMax} bytes, a URL ${limits.urlCharsMax} characters. HEAD answers as GET without the body, OPTIONS says what a path takes.`
}
