import { drainMsMax, type Fetch, type Listening, unusable, urlAt } from './listening.ts'
import type { Settings } from './settings.ts'

/**
 * Answers HTTP at HOST and PORT with `fetch`; throws a SettingsError where they cannot be listened on. With `shared`,
 * several processes listen on the port, and the system deals connections out among them.
 */
export function listen(at: Pick<Settings, 'host' | 'port'>, fetch: Fetch, shared = false): Listening {
  const server = serve(at, fetch, shared)
  return {
    url: urlAt(at.host, server.port ?? at.port),
    port: server.port ?? at.port,
    async stop() {
      server.stop(false)
      const deadline = performance.now() + drainMsMax
      while (server.pendingRequests > 0 && performance.now() < deadline) await Bun.sleep(5)
      await server.stop(true)
    },
  }
}

function serve(at: Pick<Settings, 'host' | 'port'>, fetch: Fetch, reusePort: boolean) {
  try {
    return Bun.serve({
      port: at.port,
      hostname: at.host,
      reusePort,
      idleTimeout: 30,
      development: false,
      // Bun would answer a large body itself, with an empty 413; the app refuses it before it is read.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch,
    })
  } catch (error) {
    throw unusable(at, error as Error)
  }
}

/** Throws a SettingsError where HOST and PORT cannot be listened on, before anything is done for it. */
export async function checkAddress(settings: Settings) {
  await listen(settings, () => new Response(null, { status: 503 })).stop()
}
