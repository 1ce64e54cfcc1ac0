/**
 * An open-loop client: it sends reads, and writes beside them, when they are due, whether or not the earlier ones have
 * been answered, and prints the latencies of both as JSON. Run by latency.ts as a process of its own.
 */
import type { Socket } from 'bun'

export interface LatencyJob {
  readonly url: string
  readonly readPaths: readonly string[]
  readonly readsPerSecond: number
  readonly writesPerSecond: number
  readonly seconds: number
  readonly writePath: string
  readonly apiKey: string
  /** A name that no other run has, for handles and keys. */
  readonly name: string
}

export interface Latencies {
  readonly count: number
  readonly failed: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export interface LatencyResult {
  readonly reads: Latencies
  readonly writes: Latencies
}

/** How long the last answers may take to come. */
const answerMsMax = 10_000

interface Request {
  readonly text: string
  readonly since: number
}

/** Connections that each carry one request at a time; a request that finds none free waits, and its time counts. */
class Lane {
  readonly times: number[] = []
  failed = 0
  sent = 0
  private readonly idle: Socket<Connection>[] = []
  private readonly queue: Request[] = []

  async open(url: URL, connections: number) {
    for (let i = 0; i < connections; i++) {
      await Bun.connect<Connection>({
        hostname: url.hostname,
        port: Number(url.port),
        socket: {
          open: (socket) => {
            socket.data = { since: 0, received: '' }
            this.idle.push(socket)
          },
          data: (socket, chunk) => this.receive(socket, chunk),
        },
      })
    }
  }

  send(request: Request) {
    this.sent++
    const socket = this.idle.pop()
    if (socket) this.start(socket, request)
    else this.queue.push(request)
  }

  private start(socket: Socket<Connection>, request: Request) {
    socket.data = { since: request.since, received: '' }
    socket.write(request.text)
  }

  private receive(socket: Socket<Connection>, chunk: Uint8Array) {
    const connection = socket.data
    connection.received += Buffer.from(chunk).toString('latin1')
    const head = connection.received.indexOf('\r\n\r\n')
    if (head < 0) return
    const length = Number(/content-length: (\d+)/i.exec(connection.received)?.[1] ?? 0)
    if (connection.received.length < head + 4 + length) return
    this.times.push(performance.now() - connection.since)
    if (!/^HTTP\/1\.1 20[01] /.test(connection.received)) this.failed++
    const next = this.queue.shift()
    if (next) this.start(socket, next)
    else this.idle.push(socket)
  }

  get isWaiting(): boolean {
    return this.times.length < this.sent
  }

  result(): Latencies {
    const sorted = Float64Array.from(this.times).sort()
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    const unanswered = this.sent - this.times.length
    return { count: sorted.length, failed: this.failed + unanswered, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
  }
}

interface Connection {
  since: number
  received: string
}

async function run(job: LatencyJob): Promise<LatencyResult> {
  const url = new URL(job.url)
  const [reads, writes] = [new Lane(), new Lane()]
  await reads.open(url, 64)
  await writes.open(url, 64)
  const start = performance.now()
  for (let now = start; now - start < job.seconds * 1000; now = performance.now()) {
    while (reads.sent < ((now - start) / 1000) * job.readsPerSecond) {
      const path = job.readPaths[reads.sent % job.readPaths.length]
      reads.send({ text: `GET ${path} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`, since: performance.now() })
    }
    while (writes.sent < ((now - start) / 1000) * job.writesPerSecond)
      writes.send({ text: createText(job, url, writes.sent), since: performance.now() })
    await Bun.sleep(1)
  }
  const patience = performance.now() + answerMsMax
  while ((reads.isWaiting || writes.isWaiting) && performance.now() < patience) await Bun.sleep(1)
  return { reads: reads.result(), writes: writes.result() }
}

function createText(job: LatencyJob, url: URL, number: number): string {
  const unique = `${job.name}-${number}`
  const body = JSON.stringify({ handle: unique, name: 'Somebody New' })
  return [
    `POST ${job.writePath} HTTP/1.1`,
    `Host: ${url.host}`,
    `Authorization: Bearer ${job.apiKey}`,
    `Idempotency-Key: ${unique}-0123456789abcdef`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}

if (import.meta.main) {
  console.log(JSON.stringify(await run((await Bun.stdin.json()) as LatencyJob)))
  process.exit(0)
}
