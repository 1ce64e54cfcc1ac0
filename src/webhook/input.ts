import { nearest, Problem } from '../problem.ts'
import type { View } from '../version/view.ts'
import { BodyFaults, escapePointer } from '../write/input.ts'

/** What a caller wants of a new webhook. `resources` are names of its version; null for all. */
export interface NewWebhook {
  readonly url: string
  readonly resources: readonly string[] | null
  /** By its date. */
  readonly version: string
}

/** What is to be changed of a webhook. */
export type WebhookChange = Partial<Pick<NewWebhook, 'url' | 'resources'> & { readonly state: 'active' | 'disabled' }>

/** Which deliveries are to be made once more. */
export type Redelivery = { readonly kind: 'one'; readonly message: string } | { readonly kind: 'failed' }

type Body = Readonly<Record<string, unknown>>

/** `version` is the one that the caller is served, for a webhook that names none. Whether the URL may be is not asked here. */
export function parseNewWebhook(body: unknown, views: ReadonlyMap<string, View>, version: string): NewWebhook {
  const faults = new BodyFaults()
  const given = membersOf(body, ['url', 'resources', 'version'], faults)
  const url = parseUrl(given.url, faults)
  const view = parseVersion(given.version ?? version, views, faults)
  const resources = view === null ? null : parseResources(given.resources, view, faults)
  faults.throwIfAny()
  return { url, resources, version: view?.version.date ?? version }
}

/** `view` is that of the webhook's version. */
export function parseWebhookChange(body: unknown, view: View): WebhookChange {
  const faults = new BodyFaults()
  const given = membersOf(body, ['url', 'resources', 'state'], faults)
  const { state } = given
  const isState = state === 'active' || state === 'disabled'
  if (state !== undefined && !isState)
    faults.add('invalid-value', '/state', 'invalid-value', '"state" is "active" or "disabled".')
  const change: WebhookChange = {
    ...(given.url !== undefined && { url: parseUrl(given.url, faults) }),
    ...(given.resources !== undefined && { resources: parseResources(given.resources, view, faults) }),
    ...(isState && { state }),
  }
  faults.throwIfAny()
  return change
}

export function parseRedelivery(body: unknown): Redelivery {
  const faults = new BodyFaults()
  const given = membersOf(body, ['message', 'failed'], faults)
  const { message, failed } = given
  const isOne = typeof message === 'string' && message.length <= 64 && failed === undefined
  if (!isOne && !(failed === true && message === undefined))
    faults.add('invalid-value', '', 'invalid-value', 'The body is { "message": "msg_..." } or { "failed": true }.')
  faults.throwIfAny()
  return isOne ? { kind: 'one', message } : { kind: 'failed' }
}

function membersOf(body: unknown, names: readonly string[], faults: BodyFaults): Body {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    const detail = `The body is an object with ${names.join(', ')}.`
    throw new Problem('invalid-value', { detail, errors: [{ pointer: '', code: 'invalid-type', message: detail }] })
  }
  for (const name of Object.keys(body)) {
    if (names.includes(name)) continue
    const near = nearest(name, names)
    const hint = near ? `did you mean "${near}"?` : `there are ${names.join(', ')}.`
    const pointer = `/${escapePointer(name.slice(0, 100))}`
    faults.add('unknown-field', pointer, 'unknown-field', `There is no "${name.slice(0, 100)}"; ${hint}`)
  }
  return body as Body
}

function parseUrl(value: unknown, faults: BodyFaults): string {
  if (typeof value === 'string') return value
  faults.add('invalid-value', '/url', 'invalid-type', '"url" is a text such as "https://example.com/hooks".')
  return ''
}

function parseVersion(value: unknown, views: ReadonlyMap<string, View>, faults: BodyFaults): View | null {
  const dates = [...new Set([...views.values()].map(({ version }) => version.date))]
  const view = typeof value === 'string' && dates.includes(value) ? views.get(value) : undefined
  if (!view) faults.add('invalid-value', '/version', 'invalid-value', `"version" is one of ${dates.join(', ')}.`)
  return view ?? null
}

function parseResources(value: unknown, view: View, faults: BodyFaults): readonly string[] | null {
  if (value === undefined || value === null) return null
  const names = [...view.resources.keys()]
  const isList = Array.isArray(value) && value.length > 0 && value.length <= names.length
  if (!isList || new Set(value).size < value.length) {
    const message = `"resources" is null for all, or a list of some of ${names.join(', ')}, each once.`
    faults.add('invalid-value', '/resources', 'invalid-value', message)
    return null
  }
  for (const [i, name] of value.entries()) {
    if (names.includes(name)) continue
    const message = `There is no such resource in ${view.version.date}; there are ${names.join(', ')}.`
    faults.add('invalid-value', `/resources/${i}`, 'invalid-value', message)
  }
  return value
}
