/**
 * Whether a request's URL and Host can be trusted to mean what the router will take them for. Bun's `req.url` has only
 * the path where the Host is missing or malformed, and a path inside a Host would be routed (measured); so nothing is
 * routed unless the Host is one name or address with an optional port, and the URL carries it.
 */
export function hasSoundHost(request: Request): boolean {
  const host = request.headers.get('host')
  if (host !== lastSound) {
    if (host === null || !soundHost.test(host)) return false
    lastSound = host
  }
  const { url } = request
  const start = url.startsWith('http://') ? 7 : url.startsWith('https://') ? 8 : -1
  return start > 0 && url.charCodeAt(start) !== 0x2f
}

const soundHost = /^(?:[a-z0-9](?:[a-z0-9._-]{0,252}[a-z0-9.])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i

/** Most requests to a server name the same host. */
let lastSound: string | undefined
