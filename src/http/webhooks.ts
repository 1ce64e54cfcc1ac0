import type { Context } from 'hono'
import type { Seq } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { parsePaging } from '../read/query.ts'
import type { Caller } from '../schema/access.ts'
import { parseNewWebhook, parseRedelivery, parseWebhookChange } from '../webhook/input.ts'
import { seqOfMessage } from '../webhook/message.ts'
import * as plans from '../webhook/plan.ts'
import { readDeliveries, readWebhooks, viewOfWebhook } from '../webhook/reads.ts'
import { parseId, type WriteSource } from '../write/command.ts'
import type { WritePlan } from '../write/commit.ts'
import { parseJson } from '../write/json.ts'
import { requireScope } from './auth.ts'
import { jsonType, mergePatchType } from './body.ts'
import { tellLife, viewServed } from './life.ts'
import { parseConsistency, refuseConditions, requirePosition } from './negotiation.ts'
import { jsonHeaders, privateCaching, readVary } from './present.ts'
import type { Service } from './service.ts'
import { writing } from './writes.ts'

type Handler = (c: Context, start: number) => Promise<Response>

/** `/webhooks`: its routes with their methods. The resource is the engine's own; it is no part of the model or the log. */
export function webhookRoutes(
  service: Service,
  alias: string | null,
): readonly (readonly [method: string, route: string, handler: Handler])[] {
  const [all, one] = ['/webhooks', '/webhooks/:id']
  const write = (type: typeof jsonType | typeof mergePatchType | null, plan: PlanOne) =>
    writing(service, alias, type, (c, view, bytes, source) => {
      requireScope(source.caller, 'webhooks')
      refuseConditions(c.req.raw.headers)
      return plan(source, bytes === null ? null : parseJson(bytes), c.req.param('id'), view.version.date)
    })
  return [
    ['GET', all, readHandler(service, alias, readAll)],
    ['POST', all, write(jsonType, (source, body, _, version) => planNew(service, source, body, version))],
    ['GET', one, readHandler(service, alias, readOne)],
    ['PATCH', one, write(mergePatchType, (source, body, id) => planChange(service, source, body, parseId(id)))],
    ['DELETE', one, write(null, (source, _, id) => plans.planWebhookEnd(source, parseId(id)))],
    ['POST', `${one}/rotate`, write(null, (source, _, id) => plans.planRotation(source, parseId(id)))],
    ['GET', `${one}/deliveries`, readHandler(service, alias, readPage)],
    [
      'POST',
      `${one}/redeliver`,
      write(jsonType, (source, body, id) => planRedelivery(service, source, body, parseId(id))),
    ],
  ]
}

/** The plan of one write; `version` is the one that its caller is served. */
type PlanOne = (
  source: WriteSource,
  body: unknown,
  id: string | undefined,
  version: string,
) => WritePlan | Promise<WritePlan>

async function planNew({ views, targets, newId }: Service, source: WriteSource, body: unknown, version: string) {
  const wanted = parseNewWebhook(body, views, version)
  const { url } = await targets.of(wanted.url)
  return plans.planNewWebhook(source, newId(), { ...wanted, url: url.href })
}

async function planChange({ reader, views, targets }: Service, source: WriteSource, body: unknown, id: string) {
  const view = await viewOfWebhook(source.caller, id, reader, views)
  if (view === null) throw plans.noWebhook()
  const change = parseWebhookChange(body, view)
  if (change.url === undefined) return plans.planWebhookChange(source, id, change)
  const { url } = await targets.of(change.url)
  return plans.planWebhookChange(source, id, { ...change, url: url.href })
}

function planRedelivery({ epoch }: Service, source: WriteSource, body: unknown, id: string): WritePlan {
  const wanted = parseRedelivery(body)
  if (wanted.kind === 'failed') return plans.planRedelivery(source, id, null)
  // A message of another epoch is none of this database: no change has the number 0.
  return plans.planRedelivery(source, id, seqOfMessage(epoch, wanted.message) ?? (0 as Seq))
}

/** What a read found, or null where its caller has no such webhook. */
interface Read {
  readonly body: string
  readonly seq: Seq
  readonly link: string | null
}

interface Asked {
  readonly caller: Caller
  readonly path: string
  /** The query string with its question mark, or empty. */
  readonly search: string
  readonly id: string | undefined
}

type Produce = (asked: Asked, service: Service) => Promise<Read>

async function readAll({ caller, search }: Asked, service: Service): Promise<Read> {
  refuseSearch(search)
  const { found, seq } = await readWebhooks(caller, null, instantOf(service), service.reader)
  return { body: `{"data":[${found.join(',')}],"next":null}`, seq, link: null }
}

async function readOne({ caller, id, search }: Asked, service: Service): Promise<Read> {
  refuseSearch(search)
  const { found, seq } = await readWebhooks(caller, parseId(id), instantOf(service), service.reader)
  const [body] = found
  if (body === undefined) throw plans.noWebhook()
  return { body, seq, link: null }
}

async function readPage({ caller, path, search, id }: Asked, service: Service): Promise<Read> {
  const paging = parsePaging(search)
  const page = await readDeliveries(caller, parseId(id), paging, { ...service, cursors: service })
  if (page === null) throw plans.noWebhook()
  const { records, next, seq } = page
  const link = next === null ? null : `<${path}?limit=${paging.limit}&after=${next}>; rel="next"`
  return { body: `{"data":[${records}],"next":${next === null ? 'null' : `"${next}"`}}`, seq, link }
}

function instantOf({ now }: Service): string {
  return new Date(now()).toISOString()
}

function refuseSearch(search: string) {
  if (search.length > 1) throw new Problem('unknown-parameter', { detail: 'This takes no query parameters.' })
}

function readHandler(service: Service, alias: string | null, produce: Produce): Handler {
  return async (c) => {
    const { headers, url } = c.req.raw
    const caller = await service.authenticate(headers.get('authorization'))
    requireScope(caller, 'read')
    const view = viewServed(c, service, caller, alias)
    requireScope(caller, 'webhooks')
    const consistency = parseConsistency(headers.get('consistency'), headers.get('consistency-token'), service.sealer)
    const query = url.indexOf('?')
    const asked = { caller, path: c.req.path, search: query < 0 ? '' : url.slice(query), id: c.req.param('id') }
    const { body, seq, link } = await produce(asked, service)
    const position = { epoch: service.epoch, seq }
    requirePosition(consistency, position)
    const told = {
      ...jsonHeaders,
      'API-Version': view.version.date,
      'Consistency-Token': service.sealer.seal(position),
      'Cache-Control': privateCaching,
      Vary: readVary,
    }
    tellLife(told, service.lives.get(view.version.date), c.req.path, link)
    return new Response(body, { headers: told })
  }
}
