import type { Peers } from '../http/rate-limits.ts'
import type { Soon } from '../soon.ts'
import { type Settings, SettingsError } from './settings.ts'

export type Fetch = (request: Request, peers: Peers) => Soon<Response>

export interface Listening {
  readonly url: string
  readonly port: number
  /** Takes no more requests, and waits for those in flight, ten seconds at most. */
  stop(): Promise<void>
}

/** How long requests in flight may take to finish when the server stops. */
export const drainMsMax = 10_000

/**
 * Answers HTTP at HOST and PORT with `fetch`; throws a SettingsError where they cannot be listened on. With `shared`,
 * several processes listen on the port, and the system deals connections out among them.
 */
export function listen({ host, port }: Pick<Settings, 'host' | 'port'>, fetch: Fetch, shared = false): Listening {
  const server = serve(host, port, fetch, shared)
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${server.port}`,
    port: server.port ?? port,
    async stop() {
      server.stop(false)
      const deadline = performance.now() + drainMsMax
      while (server.pendingRequests > 0 && performance.now() < deadline) await Bun.sleep(5)
      await server.stop(true)
    },
  }
}

function serve(hostname: string, port: number, fetch: Fetch, reusePort: boolean) {
  try {
    return Bun.serve({
      port,
      hostname,
      reusePort,
      idleTimeout: 30,
      development: false,
      // Bun would answer a large body itself, with an empty 413; the app refuses it before it is read.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch,
    })
  } catch (error) {
    const { code, message } = error as Error & { code?: string }
    if (code === 'EADDRINUSE')
      throw new SettingsError(`PORT=${port} of HOST=${hostname} is in use: choose another PORT.`)
    throw new SettingsError(
      `HOST=${hostname} with PORT=${port} cannot be listened on: ${message}. Choose an address of this machine and a port that is free to you.`,
    )
  }
}

/** Throws a SettingsError where HOST and PORT cannot be listened on, before anything is done for it. */
export async function checkAddress(settings: Settings) {
  await listen(settings, () => new Response(null, { status: 503 })).stop()
}
