import { limits } from '../../schema/limits.ts'
import { type Draft, versionDates } from './draft.ts'
import { exampleKey, exampleToken, offered } from './example.ts'

/** What the whole head of a request may have; Bun answers 431 to more. */
const headCharsMax = 16_384
/** Quoted, a key may have a backslash before each of its characters. */
const keyHeaderCharsMax = 2 * limits.idempotencyKeyCharsMax + 2
const tags = '(W/)?"[!#-~]*"( ?, ?(W/)?"[!#-~]*")*'

export const tokenPattern = '^[a-z0-9]{1,16}\\.\\d{1,15}\\.[\\w-]{12}$'
export const tokenCharsMax = 45
export const requestIdPattern = '^[\\w.:-]+$'

export type RequestHeaders = ReturnType<typeof requestHeaders>

/** Registers the headers that requests take, and returns the references that stand for them in routes. */
export function requestHeaders(draft: Draft) {
  const register: Register = (name, schema, description, example, component = name) =>
    draft.registry.registerComponent('parameters', component, {
      ...{ name, in: 'header', description, schema },
      ...(name === 'API-Version' ? { example } : { examples: offered(example) }),
    }).ref
  const { date, alias } = draft.view.version
  return {
    version: register(
      'API-Version',
      { type: 'string', enum: versionDates(draft) },
      `The version of the API to be served; without it the one that the key is pinned to, else ${draft.model.defaultVersion.date}. This document describes ${date}.`,
      date,
    ),
    ...ofReads(register),
    ...ofWrites(register, `"1-${alias}"`),
  }
}

/** `component` is the header's name in the document, where it is not its own. */
type Register = (
  name: string,
  schema: object,
  description: string,
  example: string,
  component?: string,
) => { $ref: string }

const text = (pattern: string, maxLength: number) => ({ type: 'string', pattern, maxLength })

function ofReads(register: Register) {
  return {
    consistency: register(
      'Consistency',
      text('^(strong|session|eventual|bounded; ?max-staleness=\\d{1,6})$', 30),
      'How fresh the answer must be: `session` (the default) is at or after the Consistency-Token that is sent, `strong` is the primary itself, `bounded;max-staleness=SECONDS` at most that old, `eventual` whatever this node has.',
      'session',
    ),
    token: register(
      'Consistency-Token',
      text(tokenPattern, tokenCharsMax),
      'The Consistency-Token of an earlier answer: this answer is then no older than that one was.',
      exampleToken,
    ),
    ifNoneMatch: register(
      'If-None-Match',
      text(`^(\\*|${tags})$`, headCharsMax),
      'The ETag of the answer that the caller has; where it still holds, the answer is 304 without a body.',
      '"2"',
    ),
  }
}

function ofWrites(register: Register, tag: string) {
  return {
    ifMatch: register(
      'If-Match',
      text(`^(\\*|${tags})$`, headCharsMax),
      'The ETag of the record that the change is meant for, or `*` for any. Where the record has another version, the answer is 412 and nothing changes.',
      tag,
    ),
    ifNew: register(
      'If-None-Match',
      { type: 'string', const: '*' },
      'Makes the request a creation: where a record with this id exists, the answer is 412. Not beside If-Match.',
      '*',
      'If-New',
    ),
    key: register(
      'Idempotency-Key',
      text('^("([ !#-\\[\\]-~]|\\\\["\\\\])+"|[!#-~]+)$', keyHeaderCharsMax),
      `Makes the request safe to repeat: the same request with the same key is carried out once and always gets the same answer, for ${limits.idempotencyHoursKept} hours. 1 to ${limits.idempotencyKeyCharsMax} printable ASCII characters, bare or in double quotes.`,
      `"${exampleKey}"`,
    ),
    requestId: register(
      'X-Request-Id',
      text(requestIdPattern, limits.requestIdCharsMax),
      'Names the request in the history of what it changes; without it, or with a malformed one, Perigee makes a name.',
      'import-2026-11-01.17',
    ),
  }
}
