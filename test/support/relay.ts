import { connect, createServer, type Socket } from 'node:net'

/** A wire between an edge and a primary, which can be made long and can be cut. */
export interface Relay {
  readonly origin: string
  readonly connections: number
  /** How long each byte takes, each way. */
  delayMs: number
  /** Whether bytes arrive. What is sent while they do not is lost, and so is what follows it on its connection. */
  towards: { primary: boolean; edge: boolean }
  /** Called with what the edge sends, before it goes on; and with what the primary answers. */
  onRequest: (bytes: Buffer) => void
  onAnswer: (bytes: Buffer) => void
  /** Resets the connections that are there. */
  cut(): void
  /** Refuses new connections, and takes them again. Those that are there stay. */
  refuse(): void
  accept(): Promise<void>
  /** Leads new connections elsewhere. */
  retarget(target: string): void
  stop(): void
}

export async function relay(target: string): Promise<Relay> {
  let { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let connections = 0

  const carry = (from: Socket, to: Socket, end: 'primary' | 'edge', tell: (bytes: Buffer) => void) => {
    const later = inTurn(() => wire.delayMs)
    let isTorn = false
    const arrives = () => {
      isTorn ||= !wire.towards[end]
      return !isTorn
    }
    sockets.add(from)
    from.on('data', (bytes: Buffer) => {
      if (!arrives()) return
      tell(bytes)
      later(() => arrives() && to.write(bytes))
    })
    from.on('error', () => undefined) // A reset is a close, which follows.
    from.on('close', () => {
      sockets.delete(from)
      later(() => to.destroy())
    })
  }
  const open = (edge: Socket) => {
    connections++
    const primary = connect({ host: hostname, port: Number(port), noDelay: true })
    carry(edge, primary, 'primary', (bytes) => wire.onRequest(bytes))
    carry(primary, edge, 'edge', (bytes) => wire.onAnswer(bytes))
  }
  const listen = async (at: number) => {
    const made = createServer(open)
    await new Promise<void>((listening) => made.listen(at, '127.0.0.1', listening))
    return made
  }
  let server = await listen(0)
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the relay listens on a port')
  const wire: Relay = {
    origin: `http://127.0.0.1:${address.port}`,
    get connections() {
      return connections
    },
    delayMs: 0,
    towards: { primary: true, edge: true },
    onRequest: () => undefined,
    onAnswer: () => undefined,
    retarget: (target) => {
      ;({ hostname, port } = new URL(target))
    },
    cut() {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    refuse: () => void server.close(),
    async accept() {
      server = await listen(address.port)
    },
    stop() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
  return wire
}

/** Does work after a delay, in the order in which it was given also where the delay changes. */
function inTurn(delayMs: () => number): (work: () => void) => void {
  let waiting = 0
  let last = Promise.resolve()
  return (work) => {
    if (waiting === 0 && delayMs() === 0) return work()
    const due = performance.now() + delayMs()
    waiting++
    last = last.then(async () => {
      await Bun.sleep(Math.max(0, due - performance.now()))
      waiting--
      work()
    })
  }
}
