import { createHash, createHmac } from 'node:crypto'
import { v7 } from 'uuid'
import type { Row } from '../store/reader.ts'
import { type Hashing, type Identity, identityOf } from './identity.ts'

/** SHA-256 as URL-safe base64. */
export function digest(...parts: (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('base64url')
}

const hashing: Hashing = {
  digest,
  newId: () => v7(),
  hmac: (secret, text) => createHmac('sha256', secret).update(text).digest('base64url'),
}

/** An identity by the hashes of Node's API, which answer at once and are native. */
export function nodeIdentity(rows: readonly Row[]): Identity {
  return identityOf(rows, hashing)
}
