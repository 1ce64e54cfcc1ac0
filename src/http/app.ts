import { type Context, Hono } from 'hono'
import type { Seq } from '../log/position.ts'
import { assert, Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import { andThen, type Soon } from '../soon.ts'
import type { Reader } from '../store/reader.ts'
import { buildViews, type View } from '../version/view.ts'
import { lagsOf } from '../write/projection.ts'
import { createAuthenticate } from './auth.ts'
import { hasLongBody } from './body.ts'
import { allowOrigin, optionsHeaders } from './cors.ts'
import { addDocuments } from './documents.ts'
import { feedHandler } from './feed.ts'
import { Followers } from './followers.ts'
import { hasSoundHost } from './guard.ts'
import { KeptAnswers } from './kept-answers.ts'
import { livesOf, tellLife } from './life.ts'
import { metric, projectionLines } from './metrics.ts'
import { viewNamed } from './negotiation.ts'
import { baseHeaders, jsonHeaders, problemResponse } from './present.ts'
import type { Peers } from './rate-limits.ts'
import { historyHandler, keptResponse, listHandler, recordHandler } from './reads.ts'
import { type AppOptions, type Local, readMethods, type Service, type Through } from './service.ts'
import { webhookRoutes } from './webhooks.ts'
import { batchHandler, writeHandler } from './writes.ts'

export interface App {
  /**
   * Answers one request; never throws, and never answers 500 for what a caller sent. The answer to HEAD is that to GET,
   * body and all: the server sends its length and leaves it away (RFC 9110 section 9.3.2).
   */
  fetch(request: Request, peers?: Peers): Soon<Response>
  /** How many follow the log by streams, or wait for changes. */
  followers(): number
  /** Ends the streams of those who follow the log; they come back. Requests for changes that wait are answered. */
  close(): void
}

export function createApp(options: AppOptions): App {
  const service = createService(options)
  const followers = new Followers(service)
  const hono = new Hono()
  for (const version of [null, ...options.model.versions.map((each) => each.alias)]) {
    addResources(hono, service, followers, version)
    addWebhooks(hono, service, version)
  }
  addOperations(hono, service, followers)
  addDocuments(hono, service)
  hono.notFound((c) => {
    const { version, resources } = viewNamed(service, c.req.raw, c.req.path)
    const names = [...resources.keys()].map((name) => `/${name}`).join(', ')
    throw new Problem('not-found', {
      detail: `There is no ${c.req.path.slice(0, 100)}; the resources of ${version.date} are ${names}; see /docs.`,
    })
  })
  hono.onError((error, c) => failure(service, error, c))
  const local: Local = (request) => {
    const { method } = request
    if (method !== 'GET' && method !== 'HEAD') return hono.fetch(request)
    const asked = method === 'HEAD' ? headAsGet(request) : request
    const { shared, epoch } = service
    if (shared) return shared.answer({ request: asked, service, epoch }, (each) => hono.fetch(each))
    return keptResponse(service, asked) ?? hono.fetch(asked)
  }
  return {
    fetch: (request, peers) => serve(service, local, request, peers),
    followers: () => followers.count,
    close: () => followers.close(),
  }
}

/** What handlers share, of an app or of what stands before one. */
export function createService(options: AppOptions): Service {
  const views = buildViews(options.model)
  const defaultView = views.get(options.model.defaultVersion.date)
  assert(defaultView, 'a model has its default version')
  return {
    ...options,
    views,
    defaultView,
    lives: livesOf(views.values()),
    authenticate: createAuthenticate(options),
    answers: new KeptAnswers(options.reader, options.elapsed, options.answerBytesMax),
    cacheHit: `Perigee-${options.region}; hit`,
    cacheMiss: `Perigee-${options.region}; fwd=miss`,
  }
}

function serve(service: Service, local: Local, request: Request, peers: Peers | undefined): Soon<Response> {
  if (!hasSoundHost(request)) return problemResponse(new Problem('invalid-host'), '', { Connection: 'close' })
  if (request.url.length > limits.urlCharsMax) {
    const detail = `A URL has at most ${limits.urlCharsMax} characters.`
    return problemResponse(new Problem('uri-too-long', { detail }), '')
  }
  if (!methodsKnown.includes(request.method)) {
    const methods = methodsKnown.join(', ')
    const details = { detail: `There are the methods ${methods}.`, headers: { Allow: methods } }
    return problemResponse(new Problem('method-not-allowed', details), '')
  }
  const { through, rateLimits } = service
  const respond = () => (through ? around(service, through, local, request) : local(request))
  const response = rateLimits ? rateLimits.answer(service, request, peers, respond) : respond()
  if (service.allowedOrigins.size === 0) return response
  const origin = request.headers.get('origin')
  return origin === null ? response : andThen(response, (each) => allowOrigin(each, origin, service.allowedOrigins))
}

/** What the node puts around its own answer. A problem of its own was read at no position of the log, so it tells none. */
function around(service: Service, through: Through, local: Local, request: Request): Soon<Response> {
  const fail = (error: unknown) => problemAnswer(service, error, request, new URL(request.url).pathname)
  try {
    const response = through.answer(request, local, service)
    return response instanceof Promise ? response.catch(fail) : response
  } catch (error) {
    return fail(error)
  }
}

/** A stream has no length, so what would be one is asked for as a page. */
function headAsGet({ url, headers }: Request): Request {
  const asked = new Request(url, { headers })
  if (/event-stream/i.test(asked.headers.get('accept') ?? '')) asked.headers.delete('accept')
  return asked
}

/** Answers one request; `start` is when it began, on the monotonic clock. */
type Handler = (c: Context, start: number) => Soon<Response>

/** A route's handler, its faults answered and its duration counted. */
function measured(service: Service, route: string, handler: Handler): (c: Context) => Soon<Response> {
  const answerWithin = (c: Context, start: number): Soon<Response> => {
    try {
      const response = handler(c, start)
      return response instanceof Promise ? response.catch((error) => failure(service, error, c)) : response
    } catch (error) {
      return failure(service, error, c)
    }
  }
  return (c) => {
    const start = service.elapsed()
    return andThen(answerWithin(c, start), (response) => {
      service.metrics.record(c.req.method, route, response.status, service.elapsed() - start)
      return response
    })
  }
}

function addResources(hono: Hono, service: Service, followers: Followers, alias: string | null) {
  const prefix = alias === null ? '' : `/${alias}`
  // Without an alias, a path may be of any version: which, the header says, or the key.
  const views = [...service.views.values()].filter((view) => alias === null || view.version.alias === alias)
  for (const name of new Set(views.flatMap((view) => [...view.resources.keys()]))) {
    const [list, one, history] = [`/${name}`, `/${name}/:id`, `/${name}/:id/history`]
    const isReadOnly = views.every((view) => view.resources.get(name)?.resource.isReadOnly !== false)
    const on = (method: string, route: string, handler: Handler) =>
      hono.on(method, prefix + route, measured(service, route, handler))
    on('GET', list, listHandler(service, name, alias, list))
    on('GET', one, recordHandler(service, name, alias, one))
    on('GET', history, historyHandler(service, name, alias, history))
    refuseOthers(hono, prefix + history, readMethods)
    if (isReadOnly) {
      for (const path of [list, one]) refuseOthers(hono, prefix + path, readMethods)
      continue
    }
    on('POST', list, writeHandler(service, name, alias, 'create'))
    refuseOthers(hono, prefix + list, 'GET, HEAD, POST, OPTIONS')
    on('PUT', one, writeHandler(service, name, alias, 'replace'))
    on('PATCH', one, writeHandler(service, name, alias, 'patch'))
    on('DELETE', one, writeHandler(service, name, alias, 'delete'))
    refuseOthers(hono, prefix + one, 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS')
  }
  hono.post(`${prefix}/batch`, measured(service, '/batch', batchHandler(service, alias)))
  refuseOthers(hono, `${prefix}/batch`, 'POST, OPTIONS')
  hono.get(`${prefix}/changes`, measured(service, '/changes', feedHandler(service, followers, alias)))
  refuseOthers(hono, `${prefix}/changes`, readMethods)
}

function addWebhooks(hono: Hono, service: Service, alias: string | null) {
  const prefix = alias === null ? '' : `/${alias}`
  const routes = webhookRoutes(service, alias)
  for (const [method, route, handler] of routes) hono.on(method, prefix + route, measured(service, route, handler))
  for (const [route, list] of Map.groupBy(routes, ([, each]) => each)) {
    const methods = list.flatMap(([method]) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))
    refuseOthers(hono, prefix + route, [...methods, 'OPTIONS'].join(', '))
  }
}

const methodsKnown = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/**
 * Answers OPTIONS, and 405 to the methods that a path does not have. They are registered one by one, because a route
 * for all methods would be a second match of every request, and Hono has a shorter way for one.
 */
function refuseOthers(hono: Hono, path: string, methods: string) {
  const taken = methods.split(', ').filter((method) => method !== 'OPTIONS')
  const refused = methodsKnown.filter((method) => !taken.includes(method))
  hono.on(refused, path, (c) => {
    if (c.req.method === 'OPTIONS') {
      const isPreflight = c.req.raw.headers.has('access-control-request-method')
      return new Response(null, { status: 204, headers: { ...baseHeaders, ...optionsHeaders(methods, isPreflight) } })
    }
    throw new Problem('method-not-allowed', {
      detail: `${c.req.path.slice(0, 100)} takes ${methods}.`,
      headers: { Allow: methods },
    })
  })
}

function addOperations(hono: Hono, service: Service, followers: Followers) {
  const { reader, primary, metrics, epoch, region, through } = service
  const plain = { ...jsonHeaders, 'Cache-Control': 'no-store' }
  hono.get('/livez', () => new Response('{"status":"live"}', { headers: plain }))
  hono.get('/readyz', async () => {
    const reason = service.unready()
    if (reason !== null) throw new Problem('not-ready', { detail: reason, headers: { 'Retry-After': '1' } })
    const seq = await positionOf(reader)
    const more = through?.health({ epoch, seq })
    return new Response(JSON.stringify({ status: 'ready', region, epoch, position: seq, ...more }), { headers: plain })
  })
  hono.get('/metrics', async () => {
    const seq = await positionOf(reader).catch(nullWhereAway)
    const text = metrics.render({
      seq,
      primary: primary?.stats() ?? null,
      kept: service.answers,
      more: [
        ...projectionLines(seq === null ? [] : await lagsOf(service.model.projections, reader), service.now()),
        ...metric('perigee_followers', 'gauge', 'Streams, and requests that wait for changes.', followers.count),
        ...(through?.metrics(seq === null ? null : { epoch, seq }) ?? []),
        ...(service.shared?.numbers.lines() ?? []),
        ...(service.rateLimits?.lines() ?? []),
      ],
    })
    return new Response(text, {
      headers: { ...baseHeaders, 'Content-Type': 'text/plain; version=0.0.4', 'Cache-Control': 'no-store' },
    })
  })
  for (const path of ['/livez', '/readyz', '/metrics']) refuseOthers(hono, path, readMethods)
}

async function positionOf(reader: Reader): Promise<Seq> {
  const [row] = await reader.rows('select max(seq) from changes', [])
  return Number(row?.[0] ?? 0) as Seq
}

/** The numbers of a node are told also while its database is away. */
function nullWhereAway(error: unknown): null {
  if (error instanceof Problem) return null
  throw error
}

/** What a handler threw as an answer, at the position that it was read at, or without where the database is away. */
async function failure(service: Service, error: unknown, c: Context): Promise<Response> {
  const answer = (told: unknown, position?: Readonly<Record<string, string>>) =>
    problemAnswer(service, told, c.req.raw, c.req.path, c.get('view'), position)
  if (!(error instanceof Problem) || error.status >= 500) return answer(error)
  const seq = error.details.seq ?? (await positionOf(service.reader).catch((fault: Error) => fault))
  if (seq instanceof Error) return answer(seq instanceof Problem ? error : seq)
  return answer(error, { 'Consistency-Token': service.sealer.seal({ epoch: service.epoch, seq: seq as Seq }) })
}

/** Any error as an answer. What is no Problem is a fault of ours: it is reported with an id, and the caller gets the id. */
function problemAnswer(
  service: Service,
  error: unknown,
  request: Request,
  path: string,
  chosen?: View,
  position: Readonly<Record<string, string>> = {},
): Response {
  const problem = error instanceof Problem ? error : faultOf(service, error)
  const view = chosen ?? service.views.get(problem.details.version ?? '') ?? viewNamed(service, request, path)
  const { date } = view.version
  const headers: Record<string, string> = { 'API-Version': date, ...position }
  tellLife(headers, service.lives.get(date), path, null)
  if (hasLongBody(request)) headers.Connection = 'close'
  return problemResponse(problem, path, headers)
}

function faultOf(service: Service, error: unknown): Problem {
  const requestId = service.newId()
  service.onFault(error, requestId)
  return new Problem('internal-error', { headers: { 'X-Request-Id': requestId } })
}
