import { Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'

/**
 * Parses a request body as I-JSON (RFC 7493): UTF-8, no member twice in one object, no lone surrogate, no number that
 * is not finite; and within the limits of depth, members and digits. JSON.parse alone takes all of these silently.
 */
export function parseJson(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes)
  inspect(text)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalid('syntax', `The body is not JSON: ${(error as Error).message}.`)
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw invalid('utf-8', 'The body is not UTF-8 text.')
  }
}

function invalid(code: string, detail: string): Problem {
  return new Problem('invalid-json', { detail, errors: [{ pointer: '', code, message: detail }] })
}

/** Walks the text once. Where the text is not JSON the walk may end anywhere; JSON.parse has the last word. */
function inspect(text: string) {
  const open: (Set<string> | null)[] = []
  let members = 0
  let keyNext = false
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i)
    if (char === 0x22) {
      const end = endOfString(text, i)
      const raw = text.slice(i, end + 1)
      const value = raw.includes('\\') ? checkEscapes(raw) : raw.slice(1, -1)
      if (keyNext) checkKey(open.at(-1), value)
      keyNext = false
      i = end
    } else if (char === 0x7b || char === 0x5b) {
      open.push(char === 0x7b ? new Set() : null)
      keyNext = char === 0x7b
      if (!isEmptyAt(text, i)) countMember()
      if (open.length > limits.jsonDepthMax)
        throw invalid('depth', `The body is nested deeper than ${limits.jsonDepthMax} levels.`)
    } else if (char === 0x7d || char === 0x5d) {
      open.pop()
      keyNext = false
    } else if (char === 0x2c) {
      countMember()
      keyNext = open.at(-1) instanceof Set
    } else if ((char >= 0x30 && char <= 0x39) || char === 0x2d) {
      i = endOfNumber(text, i) - 1
    }
  }

  /** A comma stands before every member of an object or an array but the first. */
  function countMember() {
    if (++members > limits.jsonMembersMax)
      throw invalid('members', `The body has more than ${limits.jsonMembersMax} members.`)
  }
}

/** Whether the object or array that begins at `start` has no member. */
function isEmptyAt(text: string, start: number): boolean {
  let next = start + 1
  while (text.charCodeAt(next) <= 0x20) next++
  const char = text.charCodeAt(next)
  return char === 0x7d || char === 0x5d
}

function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes++
    if (backslashes % 2 === 0) return end
  }
  return text.length
}

function checkEscapes(raw: string): string {
  let value: unknown
  try {
    value = JSON.parse(raw)
  } catch {
    return raw // Not a JSON string: JSON.parse of the whole says so.
  }
  const text = String(value)
  if (!text.isWellFormed()) throw invalid('surrogate', 'A text holds half of a surrogate pair, which no UTF-8 can say.')
  if (text.includes('\0')) throw invalid('nul', 'A text holds the character NUL (\\u0000), which no field takes.')
  return text
}

function checkKey(keys: Set<string> | null | undefined, key: string) {
  if (!keys) return
  if (keys.has(key)) throw invalid('duplicate-key', `An object has the member "${key.slice(0, 100)}" twice.`)
  keys.add(key)
}

function endOfNumber(text: string, start: number): number {
  let end = start + 1
  while (end < text.length && '0123456789+-.eE'.includes(text[end] ?? '')) end++
  const number = text.slice(start, end)
  if (number.length > limits.jsonNumberCharsMax)
    throw invalid('number', `A number has more than ${limits.jsonNumberCharsMax} characters.`)
  if (Number.isFinite(Number(number)) || Number.isNaN(Number(number))) return end
  throw invalid('number', `The number ${number} is out of range.`)
}
