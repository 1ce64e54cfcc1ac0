/** One request that a receiver of webhooks got. */
export interface Received {
  readonly path: string
  readonly headers: Headers
  readonly text: string
  /** The `webhook-id`, and the payload parsed. */
  readonly id: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into payloads of many shapes.
  readonly payload: any
}

/** What a receiver answers; by default it takes everything. */
export type Behave = (received: Received, count: number) => Response | Promise<Response>

export interface Receiver {
  readonly url: string
  readonly origin: string
  readonly port: number
  readonly all: readonly Received[]
  behave: Behave
  /** Resolves when it has got this many requests in all. */
  got(count: number): Promise<readonly Received[]>
  stop(): Promise<void>
}

/** A real receiver of webhooks on a free port of the loopback. */
export function receiver(behave: Behave = () => new Response('thanks')): Receiver {
  const all: Received[] = []
  const waiting: { readonly count: number; readonly resolve: () => void }[] = []
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    async fetch(request) {
      const text = await request.text()
      const { headers, url } = request
      const payload = text === '' ? null : JSON.parse(text)
      const received = { path: new URL(url).pathname, headers, text, id: headers.get('webhook-id') ?? '', payload }
      all.push(received)
      for (const each of waiting) if (all.length >= each.count) each.resolve()
      return self.behave(received, all.length)
    },
  })
  const origin = `http://127.0.0.1:${server.port}`
  const self: Receiver = {
    ...{ url: `${origin}/hooks`, origin, port: server.port ?? 0, all, behave },
    async got(count) {
      const { promise, resolve } = Promise.withResolvers<void>()
      if (all.length >= count) return all
      waiting.push({ count, resolve })
      await promise
      return all
    },
    async stop() {
      await server.stop(true)
    },
  }
  return self
}
