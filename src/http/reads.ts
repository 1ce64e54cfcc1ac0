import type { Context } from 'hono'
import type { Position, Seq } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { readHistory } from '../read/history.ts'
import { type Page, readPage, readRecord } from '../read/page.ts'
import { planList, planRecord } from '../read/plan.ts'
import { parseListQuery, parsePaging, parseRecordQuery, type Selection } from '../read/query.ts'
import { type Caller, callerIdentity, resolve } from '../schema/access.ts'
import { andThen, type Soon } from '../soon.ts'
import type { ResourceView } from '../version/view.ts'
import { parseId } from '../write/command.ts'
import { refuseUnreadable, requireScope } from './auth.ts'
import { type Consistency, chooseView, matchesTag, parseConsistency, requirePosition } from './negotiation.ts'
import { jsonHeaders, pageBody, pageLinks, privateCaching, publicCaching, readVary, serverTiming } from './present.ts'
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

type Produce = (request: ReadRequest, service: Service) => Soon<ReadAnswer>

export const recordHandler = (service: Service, name: string, alias: string | null) =>
  readHandler(service, name, alias, answerRecord)

export const listHandler = (service: Service, name: string, alias: string | null) =>
  readHandler(service, name, alias, answerList)

export const historyHandler = (service: Service, name: string, alias: string | null) =>
  readHandler(service, name, alias, answerHistory)

const everything: Selection = { fields: null, includes: [] }

function answerRecord(request: ReadRequest, service: Service): Soon<ReadAnswer> {
  const { view, search, id, caller } = request
  const selection = search === '' ? everything : parseRecordQuery(view, search)
  return andThen(readRecord(planRecord(view, parseId(id), selection, caller), service.reader), (found) => {
    if (found.record === null) throw notFound(request, service, found.seq)
    const tag = found.head === null ? `"${found.version}"` : `"${found.version}.${found.head}"`
    return { body: found.record, tag, seq: found.seq, links: null }
  })
}

function answerList(request: ReadRequest, service: Service): Soon<ReadAnswer> {
  const { view, search, caller } = request
  const plan = planList(parseListQuery(view, search), caller, service)
  return andThen(readPage(plan, service.reader, service), (page) => answerPage(request, service, page))
}

async function answerHistory(request: ReadRequest, service: Service): Promise<ReadAnswer> {
  const { view, search, id, caller } = request
  const paging = parsePaging(search)
  const page = await readHistory(view, parseId(id), paging, caller, service.reader, service)
  if (page.records.length === 0 && paging.after === null) throw notFound(request, service, page.seq)
  return answerPage(request, service, page)
}

function answerPage({ path, search }: ReadRequest, { epoch }: Service, page: Page): ReadAnswer {
  return { body: pageBody(page), tag: `"${epoch}-${page.head}"`, seq: page.seq, links: pageLinks(path, search, page) }
}

/** A record that is not here is not there only where this node has what the caller has seen. */
function notFound({ view, consistency }: ReadRequest, { epoch }: Service, seq: Seq): Problem {
  requirePosition(consistency, { epoch, seq })
  return new Problem('not-found', { detail: `There is no ${view.name} with this id.`, seq })
}

/** Every read: who asks, which view, how fresh; then the answer, kept until the next commit; then its headers. */
function readHandler(service: Service, name: string, alias: string | null, produce: Produce) {
  return (c: Context, start: number): Soon<Response> => {
    const { headers, url } = c.req.raw
    return andThen(service.authenticate(headers.get('authorization')), (caller) => {
      requireScope(caller, 'read')
      const version = chooseView(service.views, service.newest, alias, headers.get('api-version'))
      const view = resourceOf(version, name)
      if (resolve(view.resource.access.read, caller).kind === 'never') refuseUnreadable(caller, name)
      const consistency = parseConsistency(headers.get('consistency'), headers.get('consistency-token'), service.sealer)
      const query = url.indexOf('?')
      const search = query < 0 ? '' : url.slice(query)
      const request: ReadRequest = { caller, view, consistency, path: c.req.path, search, id: c.req.param('id') }
      const begun = service.elapsed()
      return andThen(answerOf(request, service, produce), (answer) => {
        const position = { epoch: service.epoch, seq: answer.seq }
        requirePosition(consistency, position)
        const timing = serverTiming([
          ['begin', begun - start],
          ['read', service.elapsed() - begun],
        ])
        return present(service, request, answer, position, timing, headers.get('if-none-match'))
      })
    })
  }
}

/** The answer that is kept since the last commit, or one made now. Only what differs by caller is in the key. */
function answerOf(request: ReadRequest, service: Service, produce: Produce): Soon<ReadAnswer> {
  const { answers, reader } = service
  const generation = reader.generation()
  const key = `${callerIdentity(request.caller)} ${request.view.version} ${request.path}${request.search}`
  const kept = answers.get(key, generation)
  if (kept) return kept
  return andThen(produce(request, service), (answer) => {
    answers.set(key, answer, 2 * (key.length + answer.body.length) + 200, generation)
    return answer
  })
}

function present(
  service: Service,
  { caller, view }: ReadRequest,
  answer: ReadAnswer,
  position: Position,
  timing: string,
  ifNoneMatch: string | null,
): Response {
  const isUnchanged = matchesTag(ifNoneMatch, answer.tag)
  const headers: Record<string, string> = {
    ...(isUnchanged ? undefined : jsonHeaders),
    ETag: answer.tag,
    'API-Version': view.version,
    'Consistency-Token': service.sealer.seal(position),
    'Cache-Control': caller.kind === 'anonymous' ? publicCaching : privateCaching,
    Vary: readVary,
    'Server-Timing': timing,
  }
  if (answer.links !== null) headers.Link = answer.links
  return isUnchanged ? new Response(null, { status: 304, headers }) : new Response(answer.body, { headers })
}
