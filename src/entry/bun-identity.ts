import type { Row } from '../store/reader.ts'
import { type Hashing, type Identity, identityOf } from './identity.ts'

/** SHA-256 as URL-safe base64. */
export function digest(...parts: (string | Uint8Array)[]): string {
  const hasher = new Bun.CryptoHasher('sha256')
  for (const part of parts) hasher.update(part)
  return hasher.digest('base64url')
}

const hashing: Hashing = {
  digest,
  newId: () => Bun.randomUUIDv7(),
  hmac: (secret, text) => new Bun.CryptoHasher('sha256', secret).update(text).digest('base64url'),
}

/** An identity by Bun's own hashes, which are its fastest. */
export function bunIdentity(rows: readonly Row[]): Identity {
  return identityOf(rows, hashing)
}
