/**
 * Where a node stands: the epoch of its primary and the number of the last change it has. One number orders everything:
 * it is the consistency token, the fence of caches, the cursor of feeds and the ETag of lists.
 */
export type Seq = number & { readonly brand: 'Seq' }
export type Epoch = string & { readonly brand: 'Epoch' }

export interface Position {
  /** Changes when a primary is restored from a backup, so that no token outlives the history it belongs to. */
  readonly epoch: Epoch
  readonly seq: Seq
}

/** Whether a node that stands at `have` has everything that `want` has seen, of the same epoch. */
export function isAtLeast(have: Position, want: Position): boolean {
  return have.epoch === want.epoch && have.seq >= want.seq
}

/** What a `Consistency-Token` says, whoever has sealed it; null where it is none. */
export function positionIn(token: string): Position | null {
  return tokenForm.test(token) ? parse(token) : null
}

/** Positions as `Consistency-Token` values: `<epoch>.<seq>.<seal>`, sealed so that a caller cannot make one up. */
export interface TokenSealer {
  seal(position: Position): string
  /** The position in a token, or null where the token is not one of ours. */
  open(token: string): Position | null
}

/** Whether a text may be a token: its body, and its seal. */
export const tokenForm = /^([a-z0-9]{1,16}\.\d{1,15})\.([\w-]{12})$/

interface Sealed {
  readonly token: string
  readonly position: Position
}

/** `sign` is a keyed hash (HMAC-SHA-256) of a text, as URL-safe text; 12 characters, 72 bits, of it are kept. */
export function createTokenSealer(sign: (text: string) => string): TokenSealer {
  const sealOf = (body: string) => sign(`position:${body}`).slice(0, 12)
  let last: Sealed | undefined
  // What was opened last is often opened again at once: by an edge, and by what it asks.
  let lastOpened: Sealed | undefined
  return {
    seal(position) {
      const { epoch, seq } = position
      if (last?.position.seq === seq && last.position.epoch === epoch) return last.token
      const body = `${epoch}.${seq}`
      last = { token: `${body}.${sealOf(body)}`, position }
      return last.token
    },
    open(token) {
      if (token === last?.token) return last.position
      if (token === lastOpened?.token) return lastOpened.position
      const match = tokenForm.exec(token)
      if (!match?.[1] || !match[2] || !sameText(sealOf(match[1]), match[2])) return null
      lastOpened = { token, position: parse(match[1]) }
      return lastOpened.position
    },
  }
}

function parse(body: string): Position {
  const [epoch = '', seq = ''] = body.split('.')
  return { epoch: epoch as Epoch, seq: Number(seq) as Seq }
}

/** Compares two texts of equal length in a time that does not depend on where they differ. */
export function sameText(a: string, b: string): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i)
  return difference === 0
}
