/**
 * Signatures of Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks): HMAC-SHA-256 over
 * `id.timestamp.payload`, as `v1,` and base64. A secret is `whsec_` and the base64 of its bytes.
 */
const prefix = 'whsec_'
const secretBytes = 32

export function newSecret(): string {
  return prefix + crypto.getRandomValues(new Uint8Array(secretBytes)).toBase64()
}

/** The value of `webhook-signature`: one signature for each secret. `timestamp` is in seconds since 1970. */
export function signatureOf(id: string, timestamp: number, payload: string, secrets: readonly string[]): string {
  return secrets.map((secret) => `v1,${sign(secret, `${id}.${timestamp}.${payload}`)}`).join(' ')
}

function sign(secret: string, text: string): string {
  const key = Uint8Array.fromBase64(secret.slice(prefix.length))
  return new Bun.CryptoHasher('sha256', key).update(text).digest('base64')
}
