import type { Clock } from '../clock.ts'
import { isAtLeast, type Position } from '../log/position.ts'
import { type Copies, openCopies } from './copies.ts'
import type { Facts } from './following.ts'
import type { Report } from './replicator.ts'

export interface SupervisorOptions {
  /** The folder of the copies. */
  readonly folder: string
  readonly clock: Clock
  /** Keeps a replicator running: each one that it starts is of the copy in the file that is wanted then. */
  readonly replicate: (wanted: () => string, hear: (file: string, report: Report) => void) => Replicating
  /** Where the primary stands. Rejects where it cannot be asked. */
  readonly primaryPosition: () => Promise<Position>
  /** Told what is known, whenever it changes. */
  readonly onChange: (facts: Facts) => void
  /** Told, as a sentence, when following fails that did not before, and why a copy is given up. */
  readonly complain: (sentence: string) => void
  /** A replicator of which nothing is heard or seen for this long is killed. */
  readonly silentMsMax: number
}

/** A replicator that is started again whenever it ends. */
export interface Replicating {
  nudge(): void
  /** Ends the one that runs, at once: a copy takes no harm from it. */
  kill(): void
  restarts(): number
  stop(): Promise<void>
}

const watchMs = 250
/** How often the primary is asked where it stands, until it says so. */
const askMs = 500
/** How often a copy's folder is told where the copy stands. */
const markMs = 1_000

/** The copy that is followed. */
interface Current {
  readonly file: string
  /** It may be read. */
  complete: boolean
  /** Where it stood when last heard of. */
  position: Position | null
}

/**
 * Keeps a complete copy on the disk and a replicator that follows the primary with it. A replicator blocks while the
 * primary lets it wait, so it is watched from here: what says nothing and writes nothing is killed, what ends is started
 * again, and a copy that is broken is made anew beside it.
 */
export class ReplicaSupervisor {
  private readonly options: SupervisorOptions
  private readonly copies: Copies
  private readonly stopped = Promise.withResolvers<void>()
  /** The files that each process has open. */
  private readonly open = new Map<unknown, readonly string[]>()
  private facts: Facts
  private current: Current
  private replicator: Replicating | undefined
  private watch: ReturnType<typeof setInterval> | undefined
  private isStopping = false
  private isAsking = false
  /** What the copy must reach before the node is ready: where the primary stood when it was asked. */
  private target: Position | null = null
  private isCaughtUp = false
  private troubleAtSync: string | null = null
  private troubleAtPrimary: string | null = null
  /** What was complained of last; null once a sync has come about since. */
  private fault: 'passing' | 'refused' | null = null
  private seenAt = 0
  private markedAt = Number.NEGATIVE_INFINITY
  private stamp = ''

  constructor(options: SupervisorOptions) {
    this.options = options
    this.copies = openCopies(options.folder)
    const kept = this.copies.newestComplete()
    this.current = {
      file: kept?.file ?? this.copies.begin(),
      complete: kept !== null,
      position: kept?.position ?? null,
    }
    this.copies.removeAllBut(new Set([this.current.file]))
    this.facts = {
      file: kept?.file ?? null,
      position: kept?.position ?? null,
      heldAt: kept?.heldAt ?? null,
      unready: this.unready(),
      phase: 'starting',
      restarts: 0,
      bootstraps: kept ? 0 : 1,
    }
  }

  start() {
    this.tell({})
    const wanted = () => {
      this.seenAt = this.options.clock.elapsed()
      return this.current.file
    }
    this.replicator = this.options.replicate(wanted, (file, report) => file === this.current.file && this.hear(report))
    this.watch = setInterval(() => this.look(), watchMs)
    void this.askPrimary()
  }

  /** Something is new at the primary. */
  nudge() {
    this.replicator?.nudge()
  }

  /** A reader found that the copy in this file cannot be read, or that it is of another epoch than it was. */
  refuse(file: string) {
    if (file === this.current.file && this.current.complete) this.beginAnew('A reader cannot use it.')
  }

  /** The files that a process has open now. One that nobody has open and nobody is to open is removed. */
  holds(process: unknown, files: readonly string[]) {
    if (files.length > 0) this.open.set(process, files)
    else this.open.delete(process)
    this.copies.removeAllBut(new Set([this.current.file, ...[...this.open.values()].flat()]))
  }

  /** Ends the replicator; the copy stays. */
  async stop() {
    this.isStopping = true
    this.stopped.resolve()
    clearInterval(this.watch)
    await this.replicator?.stop()
  }

  private look() {
    const stamp = this.copies.stampOf(this.current.file)
    const elapsed = this.options.clock.elapsed()
    if (stamp !== this.stamp) this.seenAt = elapsed
    this.stamp = stamp
    if (elapsed - this.seenAt <= this.options.silentMsMax) return
    this.seenAt = elapsed
    this.fail('passing', `The replicator has done nothing for ${this.options.silentMsMax} ms.`)
    this.replicator?.kill()
  }

  private hear(report: Report) {
    this.seenAt = this.options.clock.elapsed()
    if (report.kind === 'synced') return this.hearSync(report.position, report.began)
    const { fault, message } = report
    if (fault === 'broken') {
      this.troubleAtSync = `The replicator cannot follow the primary: ${message}`
      this.beginAnew(message)
    } else if (fault === 'passing') this.fail(fault, `The replicator cannot follow the primary: ${message}`)
    else this.fail(fault, `The primary's database refuses the token of this node (LIBSQL_TOKEN): ${message}`)
  }

  /** Complains once, and again where a token is refused: at first that shows as a handshake that takes too long. */
  private fail(fault: 'passing' | 'refused', sentence: string) {
    this.troubleAtSync = sentence
    if (fault !== this.fault) this.options.complain(sentence)
    this.fault = fault
    this.tell({ phase: 'failing' })
  }

  private hearSync(position: Position | null, began: number) {
    const { current } = this
    this.troubleAtSync = null
    this.fault = null
    if (current.complete && (position === null || (current.position && !isAtLeast(position, current.position))))
      return this.beginAnew('It has gone back, or is of another epoch than it was.')
    current.position = position
    if (!this.isCaughtUp) this.compare(position)
    if (!current.complete) return this.tell({ phase: 'bootstrapping' })
    if (position && this.seenAt - this.markedAt >= markMs) {
      this.markedAt = this.seenAt
      this.copies.markComplete(current.file, { position, heldAt: began })
    }
    this.tell({ file: current.file, position, heldAt: began, phase: 'following' })
  }

  /** Whether the copy has what the primary had when it was asked. */
  private compare(position: Position | null) {
    if (position === null || this.target === null) return
    if (position.epoch !== this.target.epoch) {
      this.troubleAtPrimary = 'The primary is of another epoch than its database.'
      this.target = null
      void this.askPrimary()
    } else if (isAtLeast(position, this.target)) {
      this.isCaughtUp = true
      this.current.complete = true
      this.markedAt = Number.NEGATIVE_INFINITY
    }
  }

  private beginAnew(why: string) {
    this.options.complain(`The copy in ${this.current.file} is given up, and another is made: ${why}`)
    this.copies.unmark(this.current.file)
    this.current = { file: this.copies.begin(), complete: false, position: null }
    this.isCaughtUp = false
    this.target = null
    this.tell({
      file: null,
      position: null,
      heldAt: null,
      phase: 'bootstrapping',
      bootstraps: this.facts.bootstraps + 1,
    })
    this.replicator?.kill()
    void this.askPrimary()
  }

  private async askPrimary() {
    if (this.isAsking) return
    this.isAsking = true
    while (this.target === null && !this.isStopping) {
      try {
        this.target = await this.options.primaryPosition()
        this.troubleAtPrimary = null
        this.nudge()
      } catch (error) {
        this.troubleAtPrimary = `The primary does not say where it stands: ${(error as Error).message}`
        this.tell({})
      }
      await this.pause(askMs)
    }
    this.isAsking = false
  }

  private unready(): string | null {
    if (this.isCaughtUp) return null
    const doing = this.current.complete
      ? 'The copy is catching up with the primary.'
      : "A first copy of the primary's data is being made."
    return this.troubleAtSync ?? this.troubleAtPrimary ?? doing
  }

  private tell(change: Partial<Facts>) {
    const restarts = this.replicator?.restarts() ?? 0
    this.facts = { ...this.facts, ...change, restarts, unready: this.unready() }
    this.options.onChange(this.facts)
  }

  private pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    return Promise.race([promise, this.stopped.promise]).finally(() => clearTimeout(timer))
  }
}
