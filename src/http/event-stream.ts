import { limits } from '../schema/limits.ts'

/** Before a client that was cut off connects again. */
const retryMs = 1_000

/** More than this waits for a client that is slower than its events; before it, none is held up. */
const readyBytesMax = 65_536

const encoder = new TextEncoder()

/**
 * One client's stream of server-sent events (WHATWG HTML, section 9.2). What the client does not read waits here; where
 * more than `limits.followerBytesMax` does, the next event cuts it off: it comes back with the position that it has
 * reached. So one event may be of any size.
 */
export class EventStream {
  readonly readable: ReadableStream<Uint8Array>
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined
  private leave: () => void = () => {}
  private waiting: (() => void)[] = []
  private isOver = false

  constructor() {
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller
          controller.enqueue(encoder.encode(`retry: ${retryMs}\n\n`))
        },
        pull: () => this.wake(),
        cancel: () => this.close(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: readyBytesMax }),
    )
  }

  /** Sends blocks of the stream, which others may be sent as well. */
  send(blocks: Uint8Array) {
    if (this.isOver) return
    if (this.room() < -limits.followerBytesMax) this.cut()
    else this.controller?.enqueue(blocks)
  }

  /** Resolves when what was sent is on its way to the client. */
  ready(): Promise<void> {
    if (this.isOver || this.room() > 0) return Promise.resolve()
    return new Promise((resolve) => this.waiting.push(resolve))
  }

  /** Has `leave` called when the stream ends, whoever ends it; at once where it has. */
  onEnd(leave: () => void) {
    this.leave = leave
    if (this.isOver) leave()
  }

  /** Ends the stream. With a text, the client is told to begin anew. */
  end(reset: string | null) {
    if (this.isOver) return
    if (reset !== null) this.controller?.enqueue(encoder.encode(`event: reset\ndata: ${reset}\n\n`))
    this.close()
    this.controller?.close()
  }

  private room(): number {
    return this.controller?.desiredSize ?? 0
  }

  /** Drops what waits for a client that does not read it. */
  private cut() {
    this.close()
    this.controller?.error(new Error('the client does not read'))
  }

  private close() {
    this.isOver = true
    this.leave()
    this.wake()
  }

  private wake() {
    for (const resolve of this.waiting.splice(0)) resolve()
  }
}
