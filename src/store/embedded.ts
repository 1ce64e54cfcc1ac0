import { answersBit, guardedBit, type WireBatch, type WriterAnswer, type WriterMessage } from './embedded-wire.ts'
import type { Batch, Outcome, Primary } from './primary.ts'

/** Texts that the writer keeps prepared before it starts anew. */
const textsMax = 2_000

interface Waiting {
  readonly batch: Batch
  readonly settle: (outcome: Outcome) => void
}

export interface EmbeddedOptions {
  /** The database file, already migrated. */
  readonly file: string
  /** Batches that may wait; one more fails as overloaded. */
  readonly waitingMax: number
  /** Batches in one group at most, so that the first of them does not wait for too many. */
  readonly groupBatchesMax?: number
  /** A group has been committed; called before anyone is told the outcome. */
  readonly onCommit?: () => void
  /** The writer thread died of a fault of ours. What was in flight has been settled as unknown. */
  readonly onDeath: (error: Error) => void
}

/**
 * A primary inside this process: one SQLite file in WAL mode with `synchronous=FULL`, written by a thread of its own.
 * While a group commits, the batches that arrive wait and become the next group.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Primary> {
  const worker = new Worker(new URL('./embedded-writer.ts', import.meta.url).href)
  const textIds = new Map<string, number>()
  let newTexts: string[] = []
  let waiting: Waiting[] = []
  let inFlight: Waiting[] = []
  let isSending = false
  let batches = 0
  let groups = 0
  let whenIdle: (() => void) | undefined
  let onControl: ((answer: WriterAnswer['kind']) => void) | undefined
  let dead = false

  worker.onmessage = (event: MessageEvent<string>) => {
    const answer = JSON.parse(event.data) as WriterAnswer
    if (answer.kind !== 'outcomes') return onControl?.(answer.kind)
    options.onCommit?.()
    const settled = inFlight
    inFlight = []
    if (waiting.length > 0) send()
    for (const [i, each] of settled.entries()) each.settle(answer.outcomes[i] ?? { kind: 'unknown' })
    if (inFlight.length === 0) whenIdle?.()
  }
  worker.onerror = (event) => {
    dead = true
    for (const each of [...inFlight, ...waiting]) each.settle({ kind: 'unknown' })
    inFlight = []
    waiting = []
    whenIdle?.()
    options.onDeath(new Error(`the writer thread died: ${event.message}`))
  }

  function textId(text: string): number {
    const known = textIds.get(text)
    if (known !== undefined) return known
    const id = textIds.size
    textIds.set(text, id)
    newTexts.push(text)
    return id
  }

  function toWire({ context, claimed, steps }: Batch): WireBatch {
    return {
      context: context ? [context.actor, context.request, context.time] : null,
      claimed: claimed ? [textId(claimed.sql), claimed.args] : null,
      steps: steps.map(({ sql, args, guarded, answers, explain }) => [
        textId(sql),
        args,
        (guarded ? guardedBit : 0) | (answers ? answersBit : 0),
        explain ? [textId(explain.sql), explain.args] : null,
      ]),
    }
  }

  function post(message: WriterMessage) {
    worker.postMessage(JSON.stringify(message))
  }

  function send() {
    isSending = false
    if (inFlight.length > 0 || waiting.length === 0) return
    const most = options.groupBatchesMax ?? 256
    inFlight = waiting.length <= most ? waiting : waiting.slice(0, most)
    waiting = waiting.length <= most ? [] : waiting.slice(most)
    const forget = textIds.size > textsMax
    if (forget) textIds.clear()
    const wire = inFlight.map((each) => toWire(each.batch))
    const texts = newTexts
    newTexts = []
    groups++
    batches += inFlight.length
    post({ kind: 'group', forget, texts, batches: wire })
  }

  async function control(message: WriterMessage, until: WriterAnswer['kind']) {
    const { promise, resolve } = Promise.withResolvers<void>()
    onControl = (kind) => kind === until && resolve()
    post(message)
    await promise
  }

  await control({ kind: 'open', file: options.file }, 'opened')
  return {
    commit(batch) {
      if (dead) return Promise.resolve({ kind: 'failed', reason: 'io' })
      if (waiting.length >= options.waitingMax) return Promise.resolve({ kind: 'failed', reason: 'overloaded' })
      const { promise, resolve } = Promise.withResolvers<Outcome>()
      waiting.push({ batch, settle: resolve })
      if (inFlight.length === 0 && !isSending) {
        // What else arrives in this turn of the event loop shares the group.
        isSending = true
        setImmediate(send)
      }
      return promise
    },
    stats: () => ({ waiting: waiting.length + inFlight.length, groups, batches }),
    async close() {
      if (!dead && inFlight.length + waiting.length > 0) {
        await new Promise<void>((resolve) => {
          whenIdle = resolve
        })
      }
      if (!dead) await control({ kind: 'close' }, 'closed')
      worker.terminate()
    },
  }
}
