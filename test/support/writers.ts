import { account, type nothingWrong } from './accounting.ts'
import { type Answer, call } from './server.ts'

/** One write that a client wants done, under its own key, and what became of it so far. */
export interface Wish {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly body: unknown
  /** The first answer that settled it. */
  answer?: Answer
}

/**
 * Clients that want writes done. A wish is sent under its own idempotency key, again and again, until it is settled:
 * by success, or by an answer that says it was refused. A cut connection, 503, 504 and 507 settle nothing.
 */
export class Wishes {
  readonly all: Wish[] = []
  /** Answers to a wish that was settled before and that differ from the first. */
  readonly contradictions: string[] = []
  /** Answers that settled nothing, such as `504 outcome-unknown`, and connections that were `cut`, by how often. */
  readonly unsettled = new Map<string, number>()
  /** Wishes whose first answer was a replay: they had been done, and nobody had been told. */
  foundDone = 0
  private readonly key: string

  constructor(key: string) {
    this.key = key
  }

  want(method: string, path: string, body: unknown, name: string): Wish {
    const wish = { name, method, path, body }
    this.all.push(wish)
    return wish
  }

  /** Sends a wish once. Answers whether the server was there. */
  async send(url: string, wish: Wish): Promise<boolean> {
    let answer: Answer
    try {
      const { method, path, body } = wish
      answer = await call(url, method, path, { key: this.key, body, headers: { 'Idempotency-Key': wish.name } })
    } catch {
      this.leave('cut')
      return false
    }
    if (answer.status >= 500) this.leave(`${answer.status} ${String(answer.body?.type).replace('/problems/', '')}`)
    else this.settle(wish, answer)
    return true
  }

  private leave(what: string) {
    this.unsettled.set(what, (this.unsettled.get(what) ?? 0) + 1)
  }

  /** Sends every wish that is not settled, and with `again` the settled ones too. */
  async sendAll(url: string, { again = false, atOnce = 16 } = {}): Promise<void> {
    const open = this.all.filter((wish) => again || !wish.answer)
    const sendRest = async () => {
      for (let wish = open.shift(); wish; wish = open.shift()) if (!(await this.send(url, wish))) return
    }
    await Promise.all(Array.from({ length: atOnce }, sendRest))
  }

  private settle(wish: Wish, answer: Answer) {
    const first = wish.answer
    wish.answer ??= answer
    const isReplay = answer.headers.get('idempotency-replayed') === 'true'
    if (!first && isReplay) this.foundDone++
    if (!first) return
    const same = first.status === answer.status && (answer.status >= 400 || first.text === answer.text)
    if (!same || !(isReplay || answer.status >= 400))
      this.contradictions.push(
        `${wish.name}: first ${first.status} ${first.text}, then ${answer.status} ${answer.text}`,
      )
  }

  /** The wishes against the names that are stored. */
  account(stored: Iterable<string>): Record<keyof typeof nothingWrong, string[]> {
    const names = (fits: (wish: Wish) => boolean) => this.all.filter(fits).map((wish) => wish.name)
    return account(
      {
        acknowledged: names(({ answer }) => answer !== undefined && answer.status < 300),
        refused: names(({ answer }) => answer !== undefined && answer.status >= 400),
        unanswered: names(({ answer }) => answer === undefined),
      },
      stored,
    )
  }
}
