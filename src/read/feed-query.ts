import { uuidv7 } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { ResourceView, View } from '../version/view.ts'
import { Faults, parseFields, refuseUnknown } from './names.ts'
import { parsePairs } from './query.ts'

/** What a request for changes asks for, its values checked but for the position, whose seal the caller of this opens. */
export interface FeedQuery {
  /** Where to start: after a position, with all that the log has, or with what happens from now on. */
  readonly after: { readonly kind: 'token'; readonly token: string } | { readonly kind: 'start' | 'now' }
  readonly resource: ResourceView | null
  readonly id: string | null
  readonly fields: readonly ShapeField[] | null
  readonly limit: number
  readonly waitMs: number
  readonly format: 'plain' | 'cloudevents'
}

const parameters = ['after', 'resource', 'id', 'fields', 'limit', 'wait', 'format']

export function parseFeedQuery(view: View, search: string): FeedQuery {
  const faults = new Faults()
  const given = new Map<string, string>()
  for (const [name, text] of parsePairs(search)) {
    if (!parameters.includes(name)) refuseUnknown(name, parameters, 'unknown-parameter', faults)
    else if (given.has(name))
      faults.add('invalid-parameter', name, 'repeated', `The parameter "${name}" is given twice.`)
    else given.set(name, text)
  }
  const resource = parseResource(view, given.get('resource'), faults)
  const query: FeedQuery = {
    after: parseAfter(given.get('after')),
    resource,
    id: parseRecordId(given.get('id'), resource, faults),
    fields: parseEventFields(given.get('fields'), resource, faults),
    limit: parseWhole('limit', given.get('limit'), limits.feedRowsDefault, [1, limits.feedRowsMax], faults),
    waitMs: 1_000 * parseWhole('wait', given.get('wait'), 0, [0, limits.feedWaitSecondsMax], faults),
    format: parseFormat(given.get('format'), faults),
  }
  faults.throwIfAny()
  return query
}

function parseAfter(text: string | undefined): FeedQuery['after'] {
  if (text === undefined) return { kind: 'now' }
  return text === 'start' ? { kind: 'start' } : { kind: 'token', token: text }
}

function parseResource(view: View, name: string | undefined, faults: Faults): ResourceView | null {
  if (name === undefined) return null
  const found = view.resources.get(name)
  if (!found) refuseUnknown(name, view.resources.keys(), 'invalid-parameter', faults, 'resource')
  return found ?? null
}

function parseRecordId(id: string | undefined, resource: ResourceView | null, faults: Faults): string | null {
  if (id === undefined) return null
  if (!uuidv7.test(id)) faults.add('invalid-value', 'id', 'invalid-value', 'The id is a UUID of version 7.')
  else if (!resource) faults.add('invalid-parameter', 'id', 'conflict', 'An id is of a resource: name it as well.')
  return id
}

function parseEventFields(text: string | undefined, resource: ResourceView | null, faults: Faults) {
  if (text === undefined) return null
  if (resource) return parseFields(resource, text, ',', 'fields', faults)
  faults.add('invalid-parameter', 'fields', 'conflict', 'Fields are of a resource: name it as well.')
  return null
}

function parseWhole(
  name: string,
  text: string | undefined,
  fallback: number,
  [least, most]: readonly [number, number],
  faults: Faults,
): number {
  if (text === undefined) return fallback
  const number = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
  if (number >= least && number <= most) return number
  faults.add('invalid-parameter', name, 'invalid-value', `"${name}" is a whole number from ${least} to ${most}.`)
  return fallback
}

function parseFormat(text: string | undefined, faults: Faults): FeedQuery['format'] {
  if (text === undefined || text === 'plain' || text === 'cloudevents') return text ?? 'plain'
  faults.add('invalid-parameter', 'format', 'invalid-value', 'The format is "plain" or "cloudevents".')
  return 'plain'
}
