import type { Answer } from './server.ts'

/** One event of a stream, its data parsed. */
export interface StreamEvent {
  readonly id: string
  readonly event: string
  readonly data: Answer['body']
}

export interface Stream {
  /** Resolves when the server has told where it starts. */
  readonly opened: Promise<void>
  readonly ended: Promise<void>
  /** The last position that the server has told. */
  readonly position: string
  /** The next event that has data. */
  next(): Promise<StreamEvent>
  close(): void
}

/** Reads server-sent events as they come. */
export async function follow(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Stream> {
  const cutter = new AbortController()
  const response = await fetch(url, { headers: { Accept: 'text/event-stream', ...headers }, signal: cutter.signal })
  if (response.status !== 200 || !response.body)
    throw new Error(`no stream: ${response.status} ${await response.text()}`)
  const events: StreamEvent[] = []
  const waiting: ((event: StreamEvent) => void)[] = []
  const opened = Promise.withResolvers<void>()
  let position = ''
  const take = (block: string) => {
    const fields = Object.fromEntries(
      block.split('\n').flatMap((line) => {
        const at = line.indexOf(': ')
        return at > 0 ? [[line.slice(0, at), line.slice(at + 2)]] : []
      }),
    )
    if (fields.id) {
      position = fields.id
      opened.resolve()
    }
    if (fields.data === undefined) return
    const event = { id: fields.id ?? '', event: fields.event ?? 'message', data: JSON.parse(fields.data) }
    const next = waiting.shift()
    if (next) next(event)
    else events.push(event)
  }
  const read = async () => {
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + chunk).split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) take(block)
    }
  }
  const ended = read().catch((error: Error) => {
    if (!cutter.signal.aborted) throw error
  })
  return {
    opened: opened.promise,
    ended,
    get position() {
      return position
    },
    next: () => {
      const event = events.shift()
      return event ? Promise.resolve(event) : new Promise((resolve) => waiting.push(resolve))
    },
    close: () => cutter.abort(),
  }
}
