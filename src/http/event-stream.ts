import { limits } from '../schema/limits.ts'

/** Pause between the signs of life of a stream that has nothing to tell. */
const heartbeatMs = 20_000

/** Before a client that was cut off connects again. */
const retryMs = 1_000

const encoder = new TextEncoder()

/**
 * One client's stream of server-sent events (WHATWG HTML, section 9.2). What the client does not read waits here, up to
 * `limits.followerBytesMax`; at more it is cut off: it comes back with the position that it has reached.
 */
export class EventStream {
  readonly readable: ReadableStream<Uint8Array>
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined
  private timer: Timer | undefined
  private leave: () => void = () => {}
  private waiting: (() => void)[] = []
  private lastToken = ''
  private isOver = false

  constructor() {
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller
          this.write(`retry: ${retryMs}\n\n`)
        },
        pull: () => this.wake(),
        cancel: () => this.close(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: 65_536 }),
    )
  }

  /** An event, or only how far the log was read: a client that comes back does not start before it. */
  send(event: string | null, token: string) {
    this.lastToken = token
    this.write(event === null ? `id: ${token}\n\n` : `id: ${token}\nevent: change\ndata: ${event}\n\n`)
  }

  /** Resolves when what was sent is on its way to the client. */
  ready(): Promise<void> {
    if (this.isOver || (this.controller?.desiredSize ?? 0) > 0) return Promise.resolve()
    return new Promise((resolve) => this.waiting.push(resolve))
  }

  /**
   * Gives signs of life until the client is gone, which calls `leave`. `check` rejects where the client may no longer
   * listen: it is told why when it connects again.
   */
  whileOpen(leave: () => void, check: () => Promise<void>) {
    this.leave = leave
    if (this.isOver) return leave()
    this.timer = setInterval(() => {
      this.write(this.lastToken === '' ? ': live\n\n' : `id: ${this.lastToken}\n: live\n\n`)
      check().catch(() => this.end(null))
    }, heartbeatMs)
  }

  /** Ends the stream. With a text, the client is told to begin anew. */
  end(reset: string | null) {
    if (this.isOver) return
    if (reset !== null) this.write(`event: reset\ndata: ${reset}\n\n`)
    this.close()
    this.controller?.close()
  }

  private write(text: string) {
    if (this.isOver) return
    this.controller?.enqueue(encoder.encode(text))
    if ((this.controller?.desiredSize ?? 0) < -limits.followerBytesMax) this.cut()
  }

  /** Drops what waits for a client that does not read it. */
  private cut() {
    this.close()
    this.controller?.error(new Error('the client does not read'))
  }

  private close() {
    this.isOver = true
    clearInterval(this.timer)
    this.leave()
    this.wake()
  }

  private wake() {
    for (const resolve of this.waiting.splice(0)) resolve()
  }
}
