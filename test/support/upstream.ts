import { createServer, type Socket } from 'node:net'

/** A request as it came over the wire. Header names are in lower case. */
export interface WireRequest {
  readonly line: string
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
  /** Which connection it came over, and which request of that it was; both from 1. */
  readonly connection: number
  readonly nth: number
}

/** What it is answered with: bytes as they are, nothing for ever, or the end of the connection. */
export type WireReply = string | Buffer | 'silence' | 'cut'

/** A server that speaks no more HTTP than its test does. What asks for /readyz is answered by itself. */
export interface Upstream {
  readonly origin: string
  /** Every request but those for /readyz. */
  readonly requests: readonly WireRequest[]
  readonly connections: number
  stop(): Promise<void>
}

const ready = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'

export async function upstream(reply: (request: WireRequest) => WireReply): Promise<Upstream> {
  const requests: WireRequest[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer((socket) => {
    const connection = ++connections
    let nth = 0
    let received = ''
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined) // A reset is a close, which follows.
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1')
      for (let taken = takeRequest(received); taken; taken = takeRequest(received)) {
        received = received.slice(taken.length)
        if (taken.line.includes(' /readyz ')) {
          socket.write(ready)
          continue
        }
        const request = { ...taken, connection, nth: ++nth }
        requests.push(request)
        const answer = reply(request)
        if (answer === 'cut') socket.destroy()
        else if (answer !== 'silence') socket.write(answer)
      }
    })
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server listens on a port')
  return {
    origin: `http://127.0.0.1:${address.port}`,
    requests,
    get connections() {
      return connections
    },
    async stop() {
      const closed = new Promise((done) => server.close(done))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

function takeRequest(text: string): (Pick<WireRequest, 'line' | 'headers' | 'body'> & { length: number }) | null {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return null
  const [line = '', ...rest] = text.slice(0, end).split('\r\n')
  const headers = new Map(
    rest.map((each) => {
      const at = each.indexOf(':')
      return [each.slice(0, at).toLowerCase(), each.slice(at + 1).trim()]
    }),
  )
  const length = end + 4 + Number(headers.get('content-length') ?? 0)
  return text.length < length ? null : { line, headers, body: text.slice(end + 4, length), length }
}
