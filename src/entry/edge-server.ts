import { type App, createApp } from '../http/app.ts'
import { createEdge } from '../http/edge.ts'
import { Link, watchPrimary } from '../http/forward.ts'
import { NodeWire } from '../http/node-wire.ts'
import type { AppOptions } from '../http/service.ts'
import type { Epoch } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { createFollowing, type Facts, type Following } from '../replica/following.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import { bunSqlite } from '../store/bun-sqlite.ts'
import { type FileReader, openCopyReader } from '../store/file-reader.ts'
import { migrationsOf } from '../store/migrations.ts'
import { type Identity, identitySql } from './identity.ts'
import type { Fetch } from './listening.ts'
import { migrationsFolder } from './node.ts'
import { nodeIdentity } from './node-identity.ts'
import { processParts } from './server.ts'
import type { EdgeSettings } from './settings.ts'
import { openSharedAnswers, type Shared } from './shared.ts'

/** What a server of an edge tells whoever keeps its copy. */
export type ServerNews =
  | { readonly kind: 'nudge' }
  /** This copy cannot be read, or is of another epoch than it was. */
  | { readonly kind: 'unfit'; readonly file: string }
  /** The copies that the server has open by now. */
  | { readonly kind: 'holds'; readonly files: readonly string[] }

/** One copy, and the app that reads it. */
interface Copy {
  /** Null for none: the app then has nothing but what an edge puts around it. */
  readonly file: string | null
  readonly epoch: Epoch | null
  readonly reader: FileReader
  readonly app: App
  /** Migrations and backfills that this program needs and the copy has not had. While there are any, nothing is read. */
  lacking: number
  /** Requests on it that have not ended. */
  requests: number
}

/**
 * One server of an edge: it answers from the copy that it is told of. Where another takes its place, the requests that
 * have begun end on the one that they began on, which is then closed.
 */
export class EdgeServer {
  private readonly tell: (news: ServerNews) => void
  private readonly following: Following
  private readonly link: Link
  private readonly watch: { stop(): void }
  private readonly appOf: (parts: Identity & Pick<AppOptions, 'reader'>) => App
  private readonly open = new Set<Copy>()
  private readonly noCopy: Copy
  private copy: Copy
  private isStopping = false

  constructor(settings: EdgeSettings, model: Model, sharing: Shared, tell: (news: ServerNews) => void) {
    const parts = processParts(settings, sharing)
    const { region, elapsed } = parts
    this.tell = tell
    this.following = createFollowing(parts, () => tell({ kind: 'nudge' }))
    const { primaryOrigin: origin, lagMsMax } = settings
    const shared = openSharedAnswers(sharing, region, lagMsMax)
    this.link = new Link(new NodeWire({ origin, elapsed }), elapsed)
    const edge = createEdge({
      ...{ link: this.link, region, replica: this.following, lagMsMax, answerMsMax: limits.forwardMsMax },
      ...(shared && { shared }),
    })
    this.watch = watchPrimary(this.link, edge.learn)
    const unready = () => this.unready()
    this.appOf = (copy) => createApp({ ...parts, ...copy, model, primary: null, through: edge, unready })
    const app = this.appOf({ ...nodeIdentity([]), reader: emptyReader })
    this.noCopy = { file: null, epoch: null, reader: emptyReader, app, lacking: 0, requests: 0 }
    this.copy = this.noCopy
  }

  readonly fetch: Fetch = (request, peers) => {
    const { copy } = this
    const { app } = copy.lacking > 0 ? this.noCopy : copy
    const response = app.fetch(request, peers)
    if (!(response instanceof Promise)) return response
    copy.requests++
    return response.finally(() => {
      copy.requests--
      if (copy !== this.copy) this.closeUnused()
    })
  }

  /** Takes in what is known of the replica by now. */
  learn(facts: Facts) {
    const before = this.copy
    this.copy = this.copyFor(facts)
    if (this.copy !== before) {
      before.app.close()
      this.closeUnused()
    }
    this.copy.reader.expire()
    if (this.copy.lacking > 0) this.copy.lacking = this.lackingIn(this.copy.reader)
    this.following.learn(facts)
  }

  /** From now on `/readyz` says that the server stops. */
  beginStop() {
    this.isStopping = true
    this.copy.app.close()
  }

  close() {
    this.watch.stop()
    this.link.close()
    this.copy = this.noCopy
    this.closeUnused()
  }

  private unready(): string | null {
    if (this.isStopping) return 'The server is stopping.'
    const { lacking } = this.copy
    if (lacking > 0)
      return `The copy lacks ${lacking} migration(s) or what they fill: the primary's database has not had them yet.`
    return this.following.state().unready
  }

  private copyFor({ file, position }: Facts): Copy {
    if (file === null || position === null) return this.noCopy
    const isOpen = file === this.copy.file && position.epoch === this.copy.epoch
    return isOpen ? this.copy : this.openCopy(file, position.epoch)
  }

  private openCopy(file: string, epoch: Epoch): Copy {
    const unfit = () => this.tell({ kind: 'unfit', file })
    let reader: FileReader | undefined
    try {
      reader = openCopyReader(file, bunSqlite, epoch, unfit)
      const app = this.appOf({ ...nodeIdentity(reader.rows(identitySql, [])), reader })
      const copy = { file, epoch, reader, app, lacking: this.lackingIn(reader), requests: 0 }
      this.open.add(copy)
      return copy
    } catch (error) {
      reader?.close()
      console.error(`perigee: the copy in ${file} cannot be opened: ${(error as Error).message}`)
      unfit()
      return this.noCopy
    }
  }

  private lackingIn(reader: FileReader): number {
    const had = new Set(reader.rows('select created_at from __drizzle_migrations', []).map(([when]) => Number(when)))
    const lacking = migrations.filter(({ when }) => !had.has(when)).length
    // What takes the place of other columns is not read before it is filled.
    return lacking === 0 ? reader.rows('select 1 from retiring where tenant is not null', []).length : lacking
  }

  private closeUnused() {
    for (const copy of this.open) {
      if (copy === this.copy || copy.requests > 0) continue
      copy.reader.close()
      this.open.delete(copy)
    }
    this.tell({ kind: 'holds', files: [...this.open].flatMap(({ file }) => file ?? []) })
  }
}

const migrations = migrationsOf(migrationsFolder)

/** Reads nothing, and says so. */
const emptyReader: FileReader = {
  rows() {
    throw new Problem('not-ready', { detail: 'There is no copy of the data on this node yet.' })
  },
  generation: () => 0,
  expire() {},
  newsPauseMs: 1_000,
  close() {},
}
