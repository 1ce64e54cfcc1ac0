import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { utf8ToBytes } from '@noble/hashes/utils.js'
import { v7 } from 'uuid'
import type { Hashing } from './identity.ts'

/** Hashes and ids in plain JavaScript, for runtimes that have none which answer at once: those of the Web are promises. */
export const portableHashing: Hashing = {
  digest(...parts) {
    const hash = sha256.create()
    for (const part of parts) hash.update(typeof part === 'string' ? utf8ToBytes(part) : part)
    return urlSafe(hash.digest())
  },
  newId: () => v7(),
  hmac: (secret, text) => urlSafe(hmac(sha256, utf8ToBytes(secret), utf8ToBytes(text))),
}

function urlSafe(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}
