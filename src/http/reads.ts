import type { Context } from 'hono'
import type { Position, Seq } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { readHistory } from '../read/history.ts'
import { readPage, readRecord } from '../read/page.ts'
import { planList, planRecord } from '../read/plan.ts'
import { parseListQuery, parsePaging, parseRecordQuery, type Selection } from '../read/query.ts'
import { type Caller, resolve } from '../schema/access.ts'
import type { ResourceView } from '../version/view.ts'
import { parseId } from '../write/command.ts'
import { refuseUnreadable, requireScope } from './auth.ts'
import { type Consistency, chooseView, matchesTag, parseConsistency, requirePosition } from './negotiation.ts'
import {
  baseHeaders,
  jsonHeaders,
  pageBody,
  pageLinks,
  privateCaching,
  publicCaching,
  readVary,
  serverTiming,
} from './present.ts'
import { resourceOf, type Service } from './service.ts'

/** What every read begins with: who asks, in which view, how fresh. */
interface ReadRequest {
  readonly caller: Caller
  readonly view: ResourceView
  readonly consistency: Consistency
  readonly search: string
  readonly start: number
}

const everything: Selection = { fields: null, includes: [] }

export function recordHandler(service: Service, name: string, alias: string | null) {
  return async (c: Context): Promise<Response> => {
    const request = await beginRead(service, c, name, alias)
    const selection = request.search === '' ? everything : parseRecordQuery(request.view, request.search)
    const plan = planRecord(request.view, parseId(c.req.param('id')), selection, request.caller)
    const planned = service.elapsed()
    const found = await readRecord(plan, service.reader)
    const read = service.elapsed()
    const position = positionAt(service, request, found.seq)
    if (found.record === null) throw new Problem('not-found', { detail: `There is no ${name} with this id.` })
    const tag = found.head === null ? `"${found.version}"` : `"${found.version}.${found.head}"`
    const headers = readHeaders(service, request, position, tag, planned, read)
    if (matchesTag(c.req.raw.headers.get('if-none-match'), tag))
      return new Response(null, { status: 304, headers: { ...baseHeaders, ...headers } })
    return new Response(found.record, { headers: { ...jsonHeaders, ...headers } })
  }
}

export function listHandler(service: Service, name: string, alias: string | null) {
  return async (c: Context): Promise<Response> => {
    const request = await beginRead(service, c, name, alias)
    const cursors = service
    const plan = planList(parseListQuery(request.view, request.search), request.caller, cursors)
    const planned = service.elapsed()
    const page = await readPage(plan, service.reader, cursors)
    const read = service.elapsed()
    const position = positionAt(service, request, page.seq)
    const tag = `"${service.epoch}-${page.head}"`
    const headers: Record<string, string> = readHeaders(service, request, position, tag, planned, read)
    const links = pageLinks(c.req.path, request.search, page)
    if (links !== null) headers.Link = links
    if (matchesTag(c.req.raw.headers.get('if-none-match'), tag))
      return new Response(null, { status: 304, headers: { ...baseHeaders, ...headers } })
    return new Response(pageBody(page), { headers: { ...jsonHeaders, ...headers } })
  }
}

export function historyHandler(service: Service, name: string, alias: string | null) {
  return async (c: Context): Promise<Response> => {
    const request = await beginRead(service, c, name, alias)
    const paging = parsePaging(request.search)
    const planned = service.elapsed()
    const page = await readHistory(
      request.view,
      parseId(c.req.param('id')),
      paging,
      request.caller,
      service.reader,
      service,
    )
    const position = positionAt(service, request, page.seq)
    const headers: Record<string, string> = readHeaders(
      service,
      request,
      position,
      `"${service.epoch}-${page.head}"`,
      planned,
      service.elapsed(),
    )
    const links = pageLinks(c.req.path, request.search, page)
    if (links !== null) headers.Link = links
    return new Response(pageBody(page), { headers: { ...jsonHeaders, ...headers } })
  }
}

async function beginRead(service: Service, c: Context, name: string, alias: string | null): Promise<ReadRequest> {
  const start = service.elapsed()
  const { headers, url } = c.req.raw
  const authenticated = service.authenticate(headers.get('authorization'))
  const caller = authenticated instanceof Promise ? await authenticated : authenticated
  requireScope(caller, 'read')
  const view = resourceOf(chooseView(service.views, service.newest, alias, headers.get('api-version')), name)
  if (resolve(view.resource.access.read, caller).kind === 'never') refuseUnreadable(caller, name)
  const consistency = parseConsistency(headers.get('consistency'), headers.get('consistency-token'), service.sealer)
  const query = url.indexOf('?')
  return { caller, view, consistency, search: query < 0 ? '' : url.slice(query), start }
}

function positionAt(service: Service, request: ReadRequest, seq: Seq): Position {
  const position = { epoch: service.epoch, seq }
  requirePosition(request.consistency, position)
  return position
}

function readHeaders(
  service: Service,
  request: ReadRequest,
  position: Position,
  tag: string,
  planned: number,
  read: number,
) {
  return {
    ETag: tag,
    'API-Version': request.view.version,
    'Consistency-Token': service.sealer.seal(position),
    'Cache-Control': request.caller.kind === 'anonymous' ? publicCaching : privateCaching,
    Vary: readVary,
    'Server-Timing': serverTiming([
      ['plan', planned - request.start],
      ['read', read - planned],
    ]),
  }
}
