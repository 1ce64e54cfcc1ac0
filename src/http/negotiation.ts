import { isAtLeast, type Position, type TokenSealer } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import type { View } from '../version/view.ts'
import type { CommandKind, Condition } from '../write/command.ts'

/** The views of an app: by date and by alias, and the one for requests that name none. */
export interface Views {
  readonly views: ReadonlyMap<string, View>
  readonly defaultView: View
}

/** The view of a request: by URL alias, else by header, else what its key is pinned to (`pin`), else the model's default. */
export function chooseView(
  { views, defaultView }: Views,
  pin: string | undefined,
  alias: string | null,
  header: string | null,
): View {
  if (alias === null && header === null) return pin === undefined ? defaultView : pinned(views, pin)
  const byAlias = alias === null ? undefined : views.get(alias)
  const byHeader = header === null ? undefined : views.get(header)
  if (alias !== null && header !== null && byAlias !== byHeader) {
    throw new Problem('unknown-version', {
      detail: `The URL names ${alias} and the header API-Version names another version.`,
    })
  }
  const view = byAlias ?? byHeader
  if (view) return view
  const detail = `There is no such API version; there are ${datesOf(views)}.`
  throw new Problem('unknown-version', {
    detail,
    errors: [{ header: 'API-Version', code: 'unknown-version', message: detail }],
  })
}

/** The view that a request names by its URL or header, before anything of it has been checked; else the default. */
export function viewNamed({ views, defaultView }: Views, { headers }: Request, path: string): View {
  return views.get(path.split('/')[1] ?? '') ?? views.get(headers.get('api-version') ?? '') ?? defaultView
}

function pinned(views: ReadonlyMap<string, View>, date: string): View {
  const view = views.get(date)
  if (view) return view
  throw new Problem('unknown-version', {
    detail: `The key is pinned to the API version ${date}, which is no more; there are ${datesOf(views)}. Name one in API-Version, or have the key pinned anew.`,
  })
}

function datesOf(views: ReadonlyMap<string, View>): string {
  return [...new Set([...views.values()].map((each) => each.version.date))].join(', ')
}

/** What a reader expects of the position that it is answered from. */
export type Consistency =
  | { readonly kind: 'strong' | 'eventual' }
  | { readonly kind: 'session'; readonly token: Position | null }
  | { readonly kind: 'bounded'; readonly stalenessSecondsMax: number }

const sessionWithoutToken: Consistency = { kind: 'session', token: null }

export function parseConsistency(header: string | null, token: string | null, sealer: TokenSealer): Consistency {
  if (header === null && token === null) return sessionWithoutToken
  const position = token === null ? null : sealer.open(token)
  if (token !== null && position === null)
    throw new Problem('invalid-consistency-token', { detail: 'Send back a Consistency-Token as an answer gave it.' })
  if (header === null || header === 'session') return { kind: 'session', token: position }
  if (header === 'strong' || header === 'eventual') return { kind: header }
  const bounded = /^bounded; ?max-staleness=(\d{1,6})$/.exec(header)
  if (bounded) return { kind: 'bounded', stalenessSecondsMax: Number(bounded[1]) }
  throw invalidHeader('Consistency', 'is strong, session, eventual or bounded;max-staleness=SECONDS.')
}

/** Whether an answer at `position` keeps what was asked; this node is the primary, so only a token can ask for more. */
export function requirePosition(consistency: Consistency, position: Position) {
  if (consistency.kind !== 'session' || consistency.token === null) return
  const { token } = consistency
  if (token.epoch !== position.epoch) {
    throw new Problem('token-from-another-epoch', {
      detail: 'The primary was restored from a backup since. Forget the token and what was read with it.',
    })
  }
  if (!isAtLeast(position, token)) {
    throw new Problem('position-not-reached', {
      detail: 'This node is behind the Consistency-Token.',
      headers: { 'Retry-After': '1' },
    })
  }
}

/** An Idempotency-Key, as a structured-field string or bare (draft-ietf-httpapi-idempotency-key-header-07). */
export function parseIdempotencyKey(header: string | null): string | null {
  if (header === null) return null
  const quotedKey = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/.exec(header)
  const key = quotedKey?.[1]?.replaceAll(/\\(["\\])/g, '$1') ?? (/^[!#-~]+$/.test(header) ? header : '')
  if (key.length > 0 && key.length <= limits.idempotencyKeyCharsMax) return key
  const detail = `An Idempotency-Key is 1 to ${limits.idempotencyKeyCharsMax} printable ASCII characters, bare or in double quotes.`
  throw new Problem('invalid-idempotency-key', {
    detail,
    errors: [{ header: 'Idempotency-Key', code: 'invalid', message: detail }],
  })
}

/**
 * The version of a record in its ETag: `7-v3`, or `7.1842-v3` where it was read with others. A tag names the API version
 * that it was given in, so that no cache takes one representation for another; what it says of the record is the same in
 * every version.
 */
const recordTag = /^(\d{1,15})(?:\.\d{1,15})?(?:-[a-zA-Z0-9]{1,63})?$/

const entityTag = /^(W\/)?"([!#-~]*)"$/

/** The condition of a write (RFC 9110 section 13.1). A tag that is not of ours matches no version. */
export function parseCondition(ifMatch: string | null, ifNoneMatch: string | null, kind: CommandKind): Condition {
  if (kind === 'create' && ifMatch !== null)
    throw invalidHeader('If-Match', 'means nothing on a POST; the commands of a batch take ifVersion.')
  if (ifMatch !== null && ifNoneMatch !== null) throw invalidHeader('If-None-Match', 'cannot stand beside If-Match.')
  if (ifNoneMatch !== null) {
    if (ifNoneMatch !== '*' || kind !== 'replace')
      throw invalidHeader('If-None-Match', 'is * on a PUT, and nothing on other writes.')
    return { kind: 'absent' }
  }
  if (ifMatch === null) return { kind: 'none' }
  if (ifMatch.trim() === '*') return { kind: 'present' }
  const versions = ifMatch.split(',').map((text) => {
    const tag = entityTag.exec(text.trim())
    if (!tag) throw invalidHeader('If-Match', 'is * or the ETag of a record, in double quotes.')
    const version = tag[1] ? null : recordTag.exec(tag[2] ?? '')
    return version ? Number(version[1]) : -1
  })
  return { kind: 'versions', versions }
}

/** For writes of what has no versions: a condition that would not be kept is refused. */
export function refuseConditions(headers: Headers) {
  for (const header of ['If-Match', 'If-None-Match'])
    if (headers.has(header)) throw invalidHeader(header, 'means nothing here: a webhook has no versions.')
}

/** Whether If-None-Match names the tag, by weak comparison: a read then answers 304. */
export function matchesTag(ifNoneMatch: string | null, tag: string): boolean {
  if (ifNoneMatch === null) return false
  if (ifNoneMatch === tag || ifNoneMatch === '*') return true
  return ifNoneMatch.includes(tag) && ifNoneMatch.split(',').some((each) => each.trim().replace(/^W\//, '') === tag)
}

/** An X-Request-Id, or null where it is missing or malformed. */
export function requestIdOf(header: string | null): string | null {
  return header !== null && /^[\w.:-]{1,128}$/.test(header) ? header : null
}

function invalidHeader(header: string, expected: string): Problem {
  const detail = `${header} ${expected}`
  return new Problem('invalid-header', { detail, errors: [{ header, code: 'invalid-header', message: detail }] })
}
