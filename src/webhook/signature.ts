import { createHmac } from 'node:crypto'
import { secretPrefix } from './secret.ts'
import type { Webhook } from './webhook.ts'

/**
 * Signatures of Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks): HMAC-SHA-256 over
 * `id.timestamp.payload`, as `v1,` and base64. A secret is `whsec_` and the base64 of its bytes.
 */

/** The value of `webhook-signature`: one signature for each secret. `timestamp` is in seconds since 1970. */
export function signatureOf(id: string, timestamp: number, payload: string, secrets: readonly string[]): string {
  return secrets.map((secret) => `v1,${sign(secret, `${id}.${timestamp}.${payload}`)}`).join(' ')
}

/** The headers of a try at `now`, milliseconds since 1970, signed with the secrets that hold then. */
export function messageHeaders(id: string, payload: string, webhook: Webhook, now: number) {
  const { secret, previousSecret, previousUntil } = webhook
  const isRotating = previousSecret !== null && previousUntil !== null && Date.parse(previousUntil) > now
  const seconds = Math.floor(now / 1000)
  const secrets = isRotating ? [secret, previousSecret] : [secret]
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signatureOf(id, seconds, payload, secrets),
  }
}

function sign(secret: string, text: string): string {
  const key = Uint8Array.fromBase64(secret.slice(secretPrefix.length))
  return createHmac('sha256', key).update(text).digest('base64')
}
