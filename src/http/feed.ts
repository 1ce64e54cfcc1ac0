import type { Context } from 'hono'
import { isAtLeast, type Position, type Seq } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { type ChangeEvent, eventOf, type Interest, readLog } from '../read/feed.ts'
import { type FeedQuery, parseFeedQuery } from '../read/feed-query.ts'
import { limits } from '../schema/limits.ts'
import { requireScope } from './auth.ts'
import { EventStream } from './event-stream.ts'
import { eventText } from './event-text.ts'
import { type Followers, mustRefetch } from './followers.ts'
import { type Life, requireServed, tellLife, viewServed } from './life.ts'
import { baseHeaders, jsonHeaders, privateCaching, problemText, readVary } from './present.ts'
import type { Service } from './service.ts'

/** One request for changes. */
interface FeedRequest {
  readonly service: Service
  readonly followers: Followers
  readonly query: FeedQuery
  readonly interest: Interest
  readonly request: Request
  readonly path: string
}

/** `GET /changes`: a page of the log, or with `Accept: text/event-stream` a stream of it (WHATWG, server-sent events). */
export function feedHandler(service: Service, followers: Followers, alias: string | null) {
  return async (c: Context): Promise<Response> => {
    const { headers, url } = c.req.raw
    const caller = await service.authenticate(headers.get('authorization'))
    requireScope(caller, 'read')
    const view = viewServed(c, service, caller, alias)
    const at = url.indexOf('?')
    const query = parseFeedQuery(view, at < 0 ? '' : url.slice(at))
    const { resource, id, fields } = query
    const interest = { caller, view, resource, id, fields }
    const request: FeedRequest = { service, followers, query, interest, request: c.req.raw, path: c.req.path }
    return wantsStream(headers.get('accept')) ? answerStream(request) : answerPage(request)
  }
}

function wantsStream(accept: string | null): boolean {
  return accept !== null && /(^|[,\s])text\/event-stream\b/i.test(accept)
}

/** Where a follower begins. `lastEventId` is the position that a browser's EventSource had when it was cut off. */
async function startOf({ service, query }: FeedRequest, lastEventId: string | null): Promise<Seq> {
  const { after } = query
  const token = lastEventId ?? (after.kind === 'token' ? after.token : null)
  if (token === null) {
    const [row] = await service.reader.rows('select coalesce(max(seq), 0) from changes', [])
    return (after.kind === 'start' ? 0 : Number(row?.[0] ?? 0)) as Seq
  }
  const position = service.sealer.open(token)
  if (position === null)
    throw new Problem('invalid-consistency-token', {
      detail: '"after" takes a position: the Consistency-Token of an answer, the "next" of a page, or "start".',
      errors: [{ parameter: 'after', code: 'invalid-position', message: 'This is no position that this API gave.' }],
    })
  requireEpoch(position, service)
  return position.seq
}

function requireEpoch({ epoch, seq }: Position, service: Service) {
  if (isAtLeast({ epoch, seq }, { epoch: service.epoch, seq })) return
  throw new Problem('token-from-another-epoch', {
    detail:
      'The primary was restored from a backup since. Forget what was read before, read it again, and follow from there.',
  })
}

async function answerPage(request: FeedRequest): Promise<Response> {
  const { service, followers, query, interest } = request
  const start = await startOf(request, null)
  let page = await readPage(request, start)
  if (page.events.length === 0 && query.waitMs > 0) {
    const wish = { interest, format: query.format, position: page.reached }
    await followers.firstEvent(wish, query.waitMs, request.request.signal)
    page = await readPage(request, start)
  }
  const tokenOf = (seq: Seq) => service.sealer.seal({ epoch: service.epoch, seq })
  const texts = page.events.map((event) => eventText(event, tokenOf(event.seq), query.format))
  const next = tokenOf(page.reached)
  const type = query.format === 'cloudevents' ? 'application/cloudevents-batch+json' : 'application/json'
  const body = query.format === 'cloudevents' ? `[${texts.join()}]` : `{"data":[${texts.join()}],"next":"${next}"}`
  const headers = {
    ...jsonHeaders,
    'Content-Type': type,
    'API-Version': interest.view.version.date,
    'Consistency-Token': next,
    'Cache-Control': privateCaching,
    Vary: `${readVary}, Accept`,
  }
  tellLife(headers, lifeOf(request), request.path, `<${linkOf(request, next)}>; rel="next"`)
  return new Response(body, { headers })
}

function lifeOf({ service, interest }: FeedRequest): Life | undefined {
  return service.lives.get(interest.view.version.date)
}

/** The same request from another position on. */
function linkOf({ request: { url }, path }: FeedRequest, next: string): string {
  const kept = new URL(url).searchParams
  kept.set('after', next)
  return `${path}?${kept}`
}

async function readPage({ service, query, interest }: FeedRequest, start: Seq) {
  const { model, reader } = service
  const events: ChangeEvent[] = []
  let position = start
  // Changes that are none of this follower's are passed over, as many as one look at the log takes.
  const { tenant } = interest.caller
  const page = await readLog(model, reader, { tenant, after: start, bytesMax: limits.feedBytesMax })
  if (start < page.horizon) throw mustRefetch()
  for (const change of page.changes) {
    if (events.length === query.limit) return { events, reached: position }
    const event = eventOf(change, interest)
    if (event) events.push(event)
    position = change.seq
  }
  return { events, reached: page.reached }
}

async function answerStream(request: FeedRequest): Promise<Response> {
  const { followers, query, interest } = request
  const { headers } = request.request
  const stream = new EventStream()
  const told = {
    ...baseHeaders,
    'Content-Type': 'text/event-stream',
    'API-Version': interest.view.version.date,
    'Cache-Control': 'no-store',
    'X-Accel-Buffering': 'no',
    Vary: `${readVary}, Accept`,
  }
  tellLife(told, lifeOf(request), request.path, null)
  try {
    const position = await startOf(request, headers.get('last-event-id'))
    const leave = followers.follow({
      ...{ interest, format: query.format, position },
      tell: (event) => stream.send(event),
      reach: (reached) => stream.send(reached),
      ready: () => stream.ready(),
      check: () => checkStill(request),
      end: (problem) => stream.end(problem && isReset(problem) ? resetText(problem) : null),
    })
    stream.onEnd(leave)
  } catch (error) {
    // A follower that cannot go on where it was must learn so from its stream: an EventSource does not show it an answer.
    if (!(error instanceof Problem) || !isReset(error) || headers.get('last-event-id') === null) throw error
    stream.end(resetText(error))
  }
  return new Response(stream.readable, { headers: told })
}

/** Whoever follows goes on only while its key is one and its version is served. */
async function checkStill({ service, interest, request }: FeedRequest) {
  await service.authenticate(request.headers.get('authorization'))
  requireServed(service, interest.view)
}

/** Whether a follower must begin anew. Other problems pass, or are told to whoever comes back. */
function isReset({ code }: Problem): boolean {
  return code === 'must-refetch' || code === 'token-from-another-epoch' || code === 'invalid-consistency-token'
}

function resetText(problem: Problem): string {
  return problemText(problem, '/changes')
}
