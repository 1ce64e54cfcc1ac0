import type { Context } from 'hono'
import { assert, Problem } from '../problem.ts'
import type { Caller } from '../schema/access.ts'
import type { Soon } from '../soon.ts'
import type { View } from '../version/view.ts'
import { type CommandKind, parseBatch, parseId, type WriteSource } from '../write/command.ts'
import { commit, type Receipt, type WritePlan } from '../write/commit.ts'
import { BodyFaults, parseInput } from '../write/input.ts'
import { parseJson } from '../write/json.ts'
import { planWrite } from '../write/plan.ts'
import { requireScope } from './auth.ts'
import { jsonType, mergePatchType, readBody } from './body.ts'
import { changedGroups, groupsHeader } from './cache-groups.ts'
import { tellLife, viewServed } from './life.ts'
import { parseCondition, parseIdempotencyKey, requestIdOf } from './negotiation.ts'
import { baseHeaders, jsonHeaders, serverTiming } from './present.ts'
import { readMethods, resourceOf, type Service } from './service.ts'

export function writeHandler(service: Service, name: string, alias: string | null, kind: CommandKind) {
  return writing(
    service,
    alias,
    kind === 'patch' ? mergePatchType : kind === 'delete' ? null : jsonType,
    (c, view, bytes, source) => {
      const resource = resourceOf(view, name)
      if (resource.resource.isReadOnly) throw new Problem('method-not-allowed', { headers: { Allow: readMethods } })
      const { headers } = c.req.raw
      const id = kind === 'create' ? service.newId() : parseId(c.req.param('id'))
      const condition = parseCondition(headers.get('if-match'), headers.get('if-none-match'), kind)
      const faults = new BodyFaults()
      const input = bytes === null ? [] : parseInput(resource, kind, parseJson(bytes), '', faults)
      faults.throwIfAny()
      const command = { kind, view: resource, id, input, condition, pointer: '' }
      return planWrite({ ...source, commands: [command], single: true })
    },
  )
}

export function batchHandler(service: Service, alias: string | null) {
  return writing(service, alias, jsonType, (c, view, bytes, source) => {
    const { headers } = c.req.raw
    // A batch has a condition per command, ifVersion; as a whole it is like a create.
    parseCondition(headers.get('if-match'), headers.get('if-none-match'), 'create')
    const commands = parseBatch(view, parseJson(bytes ?? new Uint8Array()), service.newId)
    return planWrite({ ...source, commands, single: false })
  })
}

/** The plan of one request, its body read. */
type Plan = (c: Context, view: View, bytes: Uint8Array | null, source: WriteSource) => Soon<WritePlan>

/** Every write: who, in which view, what, under which key; then plan, commit, receipt. */
export function writing(
  service: Service,
  alias: string | null,
  type: typeof jsonType | typeof mergePatchType | null,
  plan: Plan,
) {
  return async (c: Context, start: number): Promise<Response> => {
    const { headers, url } = c.req.raw
    const caller = await service.authenticate(headers.get('authorization'))
    requireScope(caller, 'write')
    refuseQuery(url)
    const view = viewServed(c, service, caller, alias)
    const key = parseIdempotencyKey(headers.get('idempotency-key'))
    const bytes = type === null ? null : await readBody(c.req.raw, type)
    const requestId = requestIdOf(headers.get('x-request-id')) ?? service.newId()
    const source: WriteSource = {
      caller,
      key: key === null ? null : { key, fingerprint: fingerprintOf(service, c, view, caller, bytes) },
      requestId,
      now: new Date(service.now()).toISOString(),
    }
    const planned = await plan(c, view, bytes, source)
    const begun = service.elapsed()
    assert(service.primary, 'a node without a primary sends its writes on')
    const receipt = await commit(planned, service.primary)
    service.onWritten?.({ epoch: service.epoch, seq: receipt.seq })
    const timing = serverTiming([
      ['plan', begun - start],
      ['commit', service.elapsed() - begun],
    ])
    const response = { receipt, requestId, timing, path: c.req.path }
    const changed = caller.tenant === service.publicTenant ? changedGroups(service.model, planned.commands) : []
    return present(service, view, response, changed)
  }
}

/** What a request is known by under its key. Another user's is another one: nobody gets what was not answered to them. */
function fingerprintOf(service: Service, c: Context, view: View, caller: Caller, bytes: Uint8Array | null): string {
  const { headers, method } = c.req.raw
  const conditions = [headers.get('if-match') ?? '', headers.get('if-none-match') ?? '']
  const subject = caller.kind === 'user' ? caller.subject : ''
  return service.digest(JSON.stringify([method, c.req.path, view.version.date, ...conditions, subject]), bytes ?? '')
}

interface Written {
  readonly receipt: Receipt
  readonly requestId: string
  readonly timing: string
  readonly path: string
}

/**
 * The answer of a write. A replay differs from the first answer by one header only. `changed` are the groups of public
 * answers that are not true any more.
 */
function present(
  service: Service,
  view: View,
  { receipt, requestId, timing, path }: Written,
  changed: readonly string[],
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
  if (changed.length > 0) headers['Cache-Group-Invalidation'] = groupsHeader(changed)
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
