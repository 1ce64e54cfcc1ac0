import type { AppOptions } from '../http/service.ts'
import { createTokenSealer, type Epoch } from '../log/position.ts'
import type { Row } from '../store/reader.ts'

/** Who a database is: its epoch, and what its secret seals and signs. */
export type Identity = Pick<AppOptions, 'epoch' | 'sealer' | 'sign' | 'digest' | 'newId'>

/** Asks for what `identityOf` takes. */
export const identitySql = 'select name, value from meta'

/** What a runtime has for hashes and ids. */
export interface Hashing extends Pick<AppOptions, 'digest' | 'newId'> {
  /** HMAC-SHA-256 as URL-safe base64. */
  hmac(secret: string, text: string): string
}

export function identityOf(rows: readonly Row[], { hmac, digest, newId }: Hashing): Identity {
  const meta = Object.fromEntries(rows)
  const sign = (text: string) => hmac(String(meta.secret), text)
  return { epoch: String(meta.epoch) as Epoch, sealer: createTokenSealer(sign), sign, digest, newId }
}
