/** Secrets of webhooks, as Standard Webhooks 1.0.0 writes them. */
export const secretPrefix = 'whsec_'
const secretBytes = 32

export function newSecret(): string {
  return secretPrefix + crypto.getRandomValues(new Uint8Array(secretBytes)).toBase64()
}
