import { answersBit, guardedBit, type WireBatch, type WriterAnswer, type WriterMessage } from './embedded-wire.ts'
import { Groups, type Queue } from './groups.ts'
import type { Batch, Primary } from './primary.ts'

/** Texts that the writer keeps prepared before it starts anew. */
const textsMax = 2_000

export interface EmbeddedOptions {
  /** The database file, already migrated. */
  readonly file: string
  /** The program of its thread, of an `Engine`. */
  readonly writer: URL
  readonly queue: Queue
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
  const worker = new Worker(options.writer.href, { type: 'module' })
  const textIds = new Map<string, number>()
  let newTexts: string[] = []
  let onControl: ((answer: WriterAnswer['kind']) => void) | undefined
  let dead = false
  const groups = new Groups({ ...options.queue, send })

  worker.onmessage = (event: MessageEvent<string>) => {
    const answer = JSON.parse(event.data) as WriterAnswer
    if (answer.kind !== 'outcomes') return onControl?.(answer.kind)
    options.onCommit?.()
    groups.settle(answer.outcomes)
  }
  worker.onerror = (event) => {
    dead = true
    groups.abandon()
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

  function send(group: readonly Batch[]) {
    const forget = textIds.size > textsMax
    if (forget) textIds.clear()
    const batches = group.map(toWire)
    const texts = newTexts
    newTexts = []
    post({ kind: 'group', forget, texts, batches })
  }

  async function control(message: WriterMessage, until: WriterAnswer['kind']) {
    const { promise, resolve } = Promise.withResolvers<void>()
    onControl = (kind) => kind === until && resolve()
    post(message)
    await promise
  }

  await control({ kind: 'open', file: options.file }, 'opened')
  return {
    commit: (batch) => groups.commit(batch),
    stats: () => groups.stats(),
    async close() {
      await groups.finished()
      if (!dead) await control({ kind: 'close' }, 'closed')
      worker.terminate()
    },
  }
}
