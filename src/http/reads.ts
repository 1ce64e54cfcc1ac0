import type { Context } from 'hono'
import type { Seq } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { readHistory } from '../read/history.ts'
import { type Page, readPage, readRecord } from '../read/page.ts'
import { momentOf, readPastRecord } from '../read/past.ts'
import { planList, planRecord } from '../read/plan.ts'
import { parseListQuery, parsePaging, parseRecordQuery, type Query, type RecordQuery } from '../read/query.ts'
import { type Caller, callerIdentity, resolve } from '../schema/access.ts'
import { andThen, type Soon } from '../soon.ts'
import type { ResourceView } from '../version/view.ts'
import { parseId } from '../write/command.ts'
import { refuseUnreadable, requireScope } from './auth.ts'
import { dependency, groupsHeader } from './cache-groups.ts'
import { hasEnded, tellLife, viewServed } from './life.ts'
import { type Consistency, matchesTag, parseConsistency, requirePosition } from './negotiation.ts'
import {
  jsonHeaders,
  pageBody,
  pageLinks,
  privateCaching,
  publicCaching,
  readVary,
  serverTiming,
  withoutBodyHeaders,
} from './present.ts'
import { type ReadAnswer, resourceOf, type Service } from './service.ts'

/** One read: who asks, in which view, for what. */
interface ReadRequest {
  readonly caller: Caller
  readonly view: ResourceView
  readonly consistency: Consistency
  readonly path: string
  /** The query string with its question mark, or empty. */
  readonly search: string
  readonly id: string | undefined
}

/** What was read for a request. */
interface Read {
  readonly body: string
  readonly tag: string
  readonly seq: Seq
  readonly links: string | null
  /** How far the log has come, where the answer is of a moment before: such an answer is not kept. */
  readonly reached?: Seq
  /** What it is made of: `posts` for whichever records of a resource, `posts/ID` for one, by the names in the tables. */
  readonly groups: readonly string[]
}

type Produce = (request: ReadRequest, service: Service) => Soon<Read>

export const recordHandler = (service: Service, name: string, alias: string | null, route: string) =>
  readHandler(service, name, alias, route, readOne)

export const listHandler = (service: Service, name: string, alias: string | null, route: string) =>
  readHandler(service, name, alias, route, readList)

export const historyHandler = (service: Service, name: string, alias: string | null, route: string) =>
  readHandler(service, name, alias, route, readChanges)

const everything: RecordQuery = { fields: null, includes: [], asOf: null }

function readOne(request: ReadRequest, service: Service): Soon<Read> {
  const { view, search, id, caller } = request
  const selection = search === '' ? everything : parseRecordQuery(view, search)
  if (selection.asOf !== null) return readPast(request, service, selection)
  const plan = planRecord(view, parseId(id), selection, caller)
  return andThen(readRecord(plan, service.reader), (found) => {
    if (found.record === null) throw notFound(request, service, found.seq)
    const tag = `"${found.version}${found.head === null ? '' : `.${found.head}`}-${view.alias}"`
    const groups = found.head === null ? [`${view.resource.name}/${id}`] : plan.involved
    return { body: found.record, tag, seq: found.seq, links: null, groups }
  })
}

function readList(request: ReadRequest, service: Service): Soon<Read> {
  const { view, search, caller } = request
  const query = parseListQuery(view, search)
  if (query.asOf !== null) return readPastList(request, service, query)
  const plan = planList(query, caller, service)
  return andThen(readPage(plan, service.reader, service), (page) => pageRead(request, service, page, plan.involved))
}

/** A record as it was. Its tag is that of the record when it was so; it is kept nowhere, for it may be compacted. */
async function readPast(request: ReadRequest, service: Service, { fields, asOf }: RecordQuery): Promise<Read> {
  const { view, id, caller } = request
  const moment = await momentOf(asOf ?? '', service)
  const found = await readPastRecord(view, parseId(id), fields, caller, moment, service.reader)
  if (found.record === null) throw notFound(request, service, moment.head)
  const tag = `"${found.version}-${view.alias}"`
  return { body: found.record, tag, seq: moment.seq, reached: moment.head, links: null, groups: [] }
}

async function readPastList(request: ReadRequest, service: Service, query: Query): Promise<Read> {
  const { view, caller, path, search } = request
  const { seq, head } = await momentOf(query.asOf ?? '', service)
  const page = await readPage(planList(query, caller, service, seq), service.reader, service)
  const tag = `"${service.epoch}-${seq}-past-${view.alias}"`
  return { body: pageBody(page), tag, seq, reached: head, links: pageLinks(path, search, page), groups: [] }
}

async function readChanges(request: ReadRequest, service: Service): Promise<Read> {
  const { view, search, id, caller } = request
  const paging = parsePaging(search)
  const page = await readHistory(view, parseId(id), paging, caller, service.reader, service)
  if (page.records === '' && paging.after === null) throw notFound(request, service, page.seq)
  return pageRead(request, service, page, [`${view.resource.name}/${id}`])
}

function pageRead(
  { path, search, view }: ReadRequest,
  { epoch }: Service,
  page: Page,
  groups: readonly string[],
): Read {
  const tag = `"${epoch}-${page.head}-${view.alias}"`
  return { body: pageBody(page), tag, seq: page.seq, links: pageLinks(path, search, page), groups }
}

/** A record that is not here is not there only where this node has what the caller has seen. */
function notFound({ view, consistency }: ReadRequest, { epoch }: Service, seq: Seq): Problem {
  requirePosition(consistency, { epoch, seq })
  return new Problem('not-found', { detail: `There is no ${view.name} with this id.`, seq })
}

/** Every read: who asks, which view, how fresh; then the answer, which is kept while it is true. */
function readHandler(service: Service, name: string, alias: string | null, route: string, produce: Produce) {
  return (c: Context, start: number): Soon<Response> => {
    const { headers, url } = c.req.raw
    return andThen(service.authenticate(headers.get('authorization')), (caller) => {
      requireScope(caller, 'read')
      const version = viewServed(c, service, caller, alias)
      const view = resourceOf(version, name)
      if (resolve(view.resource.access.read, caller).kind === 'never') refuseUnreadable(caller, name)
      const consistency = parseConsistency(headers.get('consistency'), headers.get('consistency-token'), service.sealer)
      const query = url.indexOf('?')
      const search = query < 0 ? '' : url.slice(query)
      const request: ReadRequest = { caller, view, consistency, path: c.req.path, search, id: c.req.param('id') }
      const begun = service.elapsed()
      return andThen(produce(request, service), (read) => {
        const answer = answerOf(service, route, request, read)
        const depends = read.groups.map((group) => dependency(caller.tenant, group))
        if (read.reached === undefined) service.answers.keep(keyOf(caller, c.req.raw), answer, depends)
        requirePosition(consistency, { epoch: service.epoch, seq: read.reached ?? read.seq })
        const timing = serverTiming([
          ['begin', begun - start],
          ['read', service.elapsed() - begun],
        ])
        return present(answer, headers.get('if-none-match'), { kind: 'read', timing })
      })
    })
  }
}

export function answerOf(
  service: Service,
  route: string,
  { caller, view, path }: Pick<ReadRequest, 'caller' | 'view' | 'path'>,
  read: Omit<Read, 'reached'>,
): ReadAnswer {
  const position = { epoch: service.epoch, seq: read.seq }
  const headers: Record<string, string> = {
    ...jsonHeaders,
    ETag: read.tag,
    'API-Version': view.version,
    'Consistency-Token': service.sealer.seal(position),
    'Cache-Control': caller.kind === 'anonymous' ? publicCaching : privateCaching,
    Vary: readVary,
    'Server-Timing': 'kept',
    'Cache-Status': service.cacheMiss,
  }
  if (caller.kind === 'anonymous') headers['Cache-Groups'] = groupsHeader(read.groups)
  const life = service.lives.get(view.version)
  tellLife(headers, life, path, read.links)
  return {
    route,
    version: view.version,
    sunsetAt: life?.sunsetAt ?? null,
    body: read.body,
    tag: read.tag,
    position,
    headers,
    keptToken: '',
    keptWhole: null,
    keptUnchanged: null,
  }
}

/** Where an answer comes from: it was just read, in the time of its stages; or kept, and is still true at a position. */
export type Origin =
  | { readonly kind: 'read'; readonly timing: string }
  | { readonly kind: 'kept'; readonly token: string; readonly status: string }

/** The answer to one request. */
export function present(answer: ReadAnswer, ifNoneMatch: string | null, origin: Origin): Response {
  const isUnchanged = matchesTag(ifNoneMatch, answer.tag)
  const [body, status] = isUnchanged ? [null, 304] : [answer.body, 200]
  return new Response(body, { status, headers: headersOf(answer, isUnchanged, origin) })
}

/**
 * An answer that was kept has its headers made once for each position that it is true at: a response copies a Headers in
 * a third of the time of a record.
 */
function headersOf(answer: ReadAnswer, isUnchanged: boolean, origin: Origin): Headers | Record<string, string> {
  const make = () => (isUnchanged ? withoutBodyHeaders(answer.headers) : answer.headers)
  if (origin.kind === 'read') return { ...make(), 'Server-Timing': origin.timing }
  const { token, status } = origin
  if (answer.keptToken !== token) {
    answer.keptToken = token
    answer.keptWhole = null
    answer.keptUnchanged = null
  }
  const known = isUnchanged ? answer.keptUnchanged : answer.keptWhole
  if (known) return known
  const made = new Headers({ ...make(), 'Consistency-Token': token, 'Cache-Status': status })
  if (isUnchanged) answer.keptUnchanged = made
  else answer.keptWhole = made
  return made
}

/**
 * Everything that decides an answer: who may see what, the version asked for, the URL, in which there is no space. That
 * of nobody's plain request is its URL: to join and hash a longer text costs a twentieth of an answer that is kept.
 */
function keyOf(caller: Caller, { url, headers }: Request): string {
  const version = headers.get('api-version')
  if (caller.kind === 'anonymous' && version === null) return url
  return `${url} ${version ?? ''} ${callerIdentity(caller)}`
}

/**
 * The answer that is kept and still true, without routing or planning anything; null where there is none, or
 * where anything about the request is wrong, which the way around finds again and answers.
 */
export function keptResponse(service: Service, request: Request): Response | null {
  const start = service.elapsed()
  const { headers } = request
  try {
    const caller = service.authenticate(headers.get('authorization'))
    if (caller instanceof Promise) {
      // A key that is refused is refused again on the way around; a rejection that nobody awaits would end the process.
      caller.catch(() => {})
      return null
    }
    const kept = service.answers.find(keyOf(caller, request))
    if (!kept || hasEnded(kept.answer, service.now)) return null
    const { answer, seq } = kept
    const position = { epoch: service.epoch, seq }
    const consistency = parseConsistency(headers.get('consistency'), headers.get('consistency-token'), service.sealer)
    requirePosition(consistency, position)
    const origin = { kind: 'kept', token: service.sealer.seal(position), status: service.cacheHit } as const
    const response = present(answer, headers.get('if-none-match'), origin)
    service.metrics.countVersion(answer.version, caller.key)
    service.metrics.record('GET', answer.route, response.status, service.elapsed() - start)
    return response
  } catch {
    return null
  }
}
