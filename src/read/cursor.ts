import { sameText } from '../log/position.ts'
import { Problem } from '../problem.ts'
import type { Caller } from '../schema/access.ts'
import { limits } from '../schema/limits.ts'
import type { Value } from '../value.ts'

/**
 * Cursors name a place in one query of one tenant: the sort values of a record, signed together with the query and
 * the tenant, so that a cursor is good for nothing else. They hold for `cursorDaysMax` days.
 */
export interface CursorSigner {
  /** A keyed hash of a text, as URL-safe text of at least 22 characters. */
  readonly sign: (text: string) => string
  readonly now: () => number
}

interface CursorUse {
  readonly cursors: CursorSigner
  readonly identity: string
  readonly caller: Caller
}

const macChars = 22
const dayMs = 86_400_000

export function sealCursor(values: readonly Value[], { cursors, identity, caller }: CursorUse): string {
  const payload = toBase64Url(JSON.stringify([Math.floor(cursors.now() / 1000), ...values]))
  return payload + macOf(payload, { cursors, identity, caller })
}

/** The values of a cursor, or the Problem `invalid-cursor`, whatever is wrong with it. */
export function openCursor(text: string, use: CursorUse & { readonly keys: number }): readonly Value[] {
  const payload = text.slice(0, -macChars)
  if (text.length > 4_096 || !sameText(text.slice(-macChars), macOf(payload, use))) {
    throw new Problem('invalid-cursor', {
      detail: 'The cursor belongs to another query, or is damaged. Start again without it.',
    })
  }
  const [seconds, ...values] = JSON.parse(fromBase64Url(payload)) as [number, ...Value[]]
  if (use.cursors.now() - seconds * 1000 > limits.cursorDaysMax * dayMs || values.length !== use.keys) {
    throw new Problem('invalid-cursor', {
      detail: `The cursor is older than ${limits.cursorDaysMax} days. Start again without it.`,
    })
  }
  return values
}

function macOf(payload: string, { cursors, identity, caller }: CursorUse): string {
  return cursors.sign(`cursor:${JSON.stringify([caller.tenant, identity, payload])}`).slice(0, macChars)
}

function toBase64Url(text: string): string {
  return new TextEncoder().encode(text).toBase64({ alphabet: 'base64url', omitPadding: true })
}

function fromBase64Url(text: string): string {
  return new TextDecoder().decode(Uint8Array.fromBase64(text, { alphabet: 'base64url' }))
}
