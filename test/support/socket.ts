import { connect, type Socket } from 'node:net'

/** One answer as it came over the wire. Header names are in lower case; the body is latin1. */
export interface WireAnswer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** A raw connection to a server, for what no HTTP client would send. */
export interface Wire {
  send(bytes: string | Uint8Array): void
  /** Sends, and waits until more may be sent or the connection is closed. */
  flushed(bytes: Uint8Array): Promise<void>
  /** The next whole answer, or null where the server closed the connection without one. */
  answer(to?: { readonly method: string }): Promise<WireAnswer | null>
  /** Every byte that has come and has not been taken by `answer`. */
  readonly rest: string
  /** Stops reading, so that the server's answers pile up; and goes on. */
  pause(): void
  resume(): void
  /** The connection has been closed, by either side. */
  readonly closed: Promise<void>
  /** Cuts the connection without a word. */
  destroy(): void
}

/** How long a server may keep silent before a test calls it hung. */
const silenceMsMax = 10_000

export async function openWire(url: string): Promise<Wire> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  return wireOver(socket)
}

function wireOver(socket: Socket): Wire {
  let received = ''
  let isClosed = false
  let wake: (() => void) | undefined
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  socket.on('data', (bytes) => {
    received += bytes.toString('latin1')
    wake?.()
  })
  socket.on('error', () => undefined) // A reset is a close, which follows.
  socket.on('close', () => {
    isClosed = true
    wake?.()
    resolve()
  })

  async function more(): Promise<void> {
    const { promise, resolve: go, reject } = Promise.withResolvers<void>()
    wake = go
    const timer = setTimeout(
      () => reject(new Error(`no answer in ${silenceMsMax} ms; so far: ${received}`)),
      silenceMsMax,
    )
    await promise.finally(() => clearTimeout(timer))
  }

  return {
    send: (bytes) => void socket.write(bytes),
    flushed: (bytes) => {
      const next = socket.write(bytes) ? setImmediate : (go: () => void) => socket.once('drain', go)
      return Promise.race([closed, new Promise<void>((done) => void next(done))])
    },
    async answer({ method } = { method: 'GET' }) {
      for (;;) {
        const taken = takeAnswer(received, method)
        if (taken) {
          received = received.slice(taken.length)
          return taken.answer
        }
        if (isClosed) return null
        await more()
      }
    },
    get rest() {
      return received
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    closed,
    destroy: () => void socket.destroy(),
  }
}

function takeAnswer(text: string, method: string): { answer: WireAnswer; length: number } | null {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return null
  const [first = '', ...lines] = text.slice(0, end).split('\r\n')
  const status = Number(first.split(' ')[1])
  const headers = new Map(
    lines.map((line) => {
      const at = line.indexOf(':')
      return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()]
    }),
  )
  const bodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304
  const size = bodiless ? 0 : Number(headers.get('content-length') ?? 0)
  const start = end + 4
  if (text.length < start + size) return null
  return { answer: { status, headers, body: text.slice(start, start + size) }, length: start + size }
}

/** Sends bytes over a connection of their own and answers what came back first, and whether the server then closed. */
export async function exchange(
  url: string,
  bytes: string | Uint8Array,
  to?: { readonly method: string },
): Promise<WireAnswer | null> {
  const wire = await openWire(url)
  try {
    wire.send(bytes)
    return await wire.answer(to)
  } finally {
    wire.destroy()
  }
}

/** The head of a request, its lines ended as HTTP wants them, with a Host. */
export function head(line: string, ...headers: readonly string[]): string {
  return `${[`${line} HTTP/1.1`, 'Host: localhost', ...headers].join('\r\n')}\r\n\r\n`
}
