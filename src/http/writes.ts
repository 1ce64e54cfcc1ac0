import type { Context } from 'hono'
import { assert, Problem } from '../problem.ts'
import type { View } from '../version/view.ts'
import { type Command, type CommandKind, parseBatch, parseId, type WriteRequest } from '../write/command.ts'
import { commit, type Receipt } from '../write/commit.ts'
import { BodyFaults, parseInput } from '../write/input.ts'
import { parseJson } from '../write/json.ts'
import { planWrite } from '../write/plan.ts'
import { requireScope } from './auth.ts'
import { jsonType, mergePatchType, readBody } from './body.ts'
import { requireServed, tellLife } from './life.ts'
import { chooseView, parseCondition, parseIdempotencyKey, requestIdOf } from './negotiation.ts'
import { baseHeaders, jsonHeaders, serverTiming } from './present.ts'
import { readMethods, resourceOf, type Service } from './service.ts'

export function writeHandler(service: Service, name: string, alias: string | null, kind: CommandKind) {
  return handler(
    service,
    alias,
    kind === 'patch' ? mergePatchType : kind === 'delete' ? null : jsonType,
    (c, view, bytes) => {
      const resource = resourceOf(view, name)
      if (resource.resource.isReadOnly) throw new Problem('method-not-allowed', { headers: { Allow: readMethods } })
      const { headers } = c.req.raw
      const id = kind === 'create' ? service.newId() : parseId(c.req.param('id'))
      const condition = parseCondition(headers.get('if-match'), headers.get('if-none-match'), kind)
      const faults = new BodyFaults()
      const input = bytes === null ? [] : parseInput(resource, kind, parseJson(bytes), '', faults)
      faults.throwIfAny()
      return { commands: [{ kind, view: resource, id, input, condition, pointer: '' }], single: true }
    },
  )
}

export function batchHandler(service: Service, alias: string | null) {
  return handler(service, alias, jsonType, (c, view, bytes) => {
    const { headers } = c.req.raw
    // A batch has a condition per command, ifVersion; as a whole it is like a create.
    parseCondition(headers.get('if-match'), headers.get('if-none-match'), 'create')
    return { commands: parseBatch(view, parseJson(bytes ?? new Uint8Array()), service.newId), single: false }
  })
}

type Parse = (c: Context, view: View, bytes: Uint8Array | null) => { commands: readonly Command[]; single: boolean }

/** Every write: who, in which view, what, under which key; then plan, commit, receipt. */
function handler(
  service: Service,
  alias: string | null,
  type: typeof jsonType | typeof mergePatchType | null,
  parse: Parse,
) {
  return async (c: Context, start: number): Promise<Response> => {
    const { headers, method, url } = c.req.raw
    const caller = await service.authenticate(headers.get('authorization'))
    requireScope(caller, 'write')
    refuseQuery(url)
    const view = chooseView(service, caller.version, alias, headers.get('api-version'))
    c.set('view', view)
    service.metrics.countVersion(view.version.date, caller.key)
    requireServed(service, view)
    const key = parseIdempotencyKey(headers.get('idempotency-key'))
    const bytes = type === null ? null : await readBody(c.req.raw, type)
    const parsed = parse(c, view, bytes)
    const requestId = requestIdOf(headers.get('x-request-id')) ?? service.newId()
    const conditions = [headers.get('if-match') ?? '', headers.get('if-none-match') ?? '']
    // Another user's request is another request: nobody is handed an answer that was not given to them.
    const subject = caller.kind === 'user' ? caller.subject : ''
    const request: WriteRequest = {
      ...parsed,
      caller,
      key:
        key === null
          ? null
          : {
              key,
              fingerprint: service.digest(
                JSON.stringify([method, c.req.path, view.version.date, ...conditions, subject]),
                bytes ?? '',
              ),
            },
      requestId,
      now: new Date(service.now()).toISOString(),
    }
    const plan = planWrite(request)
    const planned = service.elapsed()
    assert(service.primary, 'a node without a primary sends its writes on')
    const receipt = await commit(plan, service.primary)
    const timing = serverTiming([
      ['plan', planned - start],
      ['commit', service.elapsed() - planned],
    ])
    return present(service, view, receipt, c.req.path, requestId, timing)
  }
}

/** The answer of a write. A replay differs from the first answer by one header only. */
function present(
  service: Service,
  view: View,
  receipt: Receipt,
  path: string,
  requestId: string,
  timing: string,
): Response {
  const { status, id, version, body, seq, replayed } = receipt
  const headers: Record<string, string> = {
    ...(body === null ? baseHeaders : jsonHeaders),
    'API-Version': view.version.date,
    'Consistency-Token': service.sealer.seal({ epoch: service.epoch, seq }),
    'Cache-Control': 'no-store',
    'X-Request-Id': requestId,
    'Server-Timing': timing,
  }
  if (version !== null) headers.ETag = `"${version}-${view.version.alias}"`
  if (status === 201 && id !== null) headers.Location = path.endsWith(id) ? path : `${path}/${id}`
  if (replayed) headers['Idempotency-Replayed'] = 'true'
  tellLife(headers, service.lives.get(view.version.date), path, null)
  return new Response(body, { status, headers })
}

function refuseQuery(url: string) {
  const at = url.indexOf('?')
  if (at >= 0 && at < url.length - 1) {
    throw new Problem('unknown-parameter', { detail: 'A write takes no query parameters.' })
  }
}
