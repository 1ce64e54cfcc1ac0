import type { Epoch, Position, TokenSealer } from '../log/position.ts'
import { Problem } from '../problem.ts'
import type { TenantId } from '../schema/access.ts'
import type { Model } from '../schema/model.ts'
import type { Soon } from '../soon.ts'
import type { Primary } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'
import type { ResourceView, View } from '../version/view.ts'
import type { UrlCheck } from '../webhook/webhook.ts'
import type { Authenticate } from './auth.ts'
import type { KeptAnswers } from './kept-answers.ts'
import type { Life } from './life.ts'
import type { Metrics } from './metrics.ts'
import type { RateLimits } from './rate-limits.ts'
import type { SharedAnswers } from './shared-answers.ts'

/** What an app is made of. The entry builds it; nothing here knows which drivers they are. */
export interface AppOptions {
  readonly model: Model
  readonly reader: Reader
  /** Null where `through` sends every write on, so that none comes to be committed here. */
  readonly primary: Primary | null
  readonly epoch: Epoch
  readonly sealer: TokenSealer
  /** HMAC-SHA-256 of a text with the secret of this database, and SHA-256 without, as URL-safe base64. */
  readonly sign: (text: string) => string
  readonly digest: (...parts: (string | Uint8Array)[]) => string
  /** Milliseconds since 1970, and a monotonic clock of milliseconds for durations. */
  readonly now: () => number
  readonly elapsed: () => number
  readonly newId: () => string
  readonly publicTenant: TenantId | null
  readonly allowedOrigins: ReadonlySet<string>
  readonly region: string
  /** Which URLs webhooks may have. */
  readonly targets: UrlCheck
  /** Why the node is not ready, or null. */
  readonly unready: () => string | null
  /** The OpenAPI document of a version, as JSON text: drawn, or from where it was kept when it was. */
  readonly openApi: (model: Model, view: View) => Promise<string>
  /** The script of the documentation page, from the package that ships it. */
  readonly docsScript: () => Promise<Response>
  /** Told of every fault of ours, with the id that the caller was given. */
  readonly onFault: (error: unknown, requestId: string) => void
  /** Made by the entry, so that the numbers outlive an app. */
  readonly metrics: Metrics
  /** Absent where the node answers everything itself. */
  readonly through?: Through
  /** The bytes that it may hold of its own answers, where `limits.answerCacheBytesMax` are too many. */
  readonly answerBytesMax?: number
  /** Stands before the node's own reads, where those are dear; absent where they are not, and where nothing is shared. */
  readonly shared?: SharedAnswers
  /** Absent where callers may send as much as they like. */
  readonly rateLimits?: RateLimits
  /** Told of each write that this node has committed, before its caller is. */
  readonly onWritten?: (position: Position) => void
}

/** What a node itself answers to a request; never throws. */
export type Local = (request: Request) => Soon<Response>

/** What a node puts around its own answers, and what it then says of itself. */
export interface Through {
  /** Answers a request that has passed the guards, by `local` or otherwise. A Problem that it throws is the answer. */
  answer(request: Request, local: Local, service: Service): Soon<Response>
  /** More members of what `/readyz` answers of a node at `position`. */
  health(position: Position): Readonly<Record<string, unknown>>
  /** More lines of what `/metrics` answers; `position` is null where the node has none. */
  metrics(position: Position | null): readonly string[]
}

/** What handlers share. */
export interface Service extends AppOptions {
  readonly views: ReadonlyMap<string, View>
  /** What requests get that name no version. */
  readonly defaultView: View
  /** The lives of the versions that have an end, by their dates. */
  readonly lives: ReadonlyMap<string, Life>
  readonly authenticate: Authenticate
  readonly answers: KeptAnswers
  /** What Cache-Status says of an answer that was kept, and of one that was not (RFC 9211). */
  readonly cacheHit: string
  readonly cacheMiss: string
}

/** What a read answers, kept for whoever asks the same for as long as it is true. */
export interface ReadAnswer {
  readonly route: string
  /** The date of its API version, and when that ends; null where it does not. */
  readonly version: string
  readonly sunsetAt: number | null
  readonly body: string
  readonly tag: string
  readonly position: Position
  readonly headers: Readonly<Record<string, string>>
  /**
   * Its headers where it was kept, and where it only says that nothing has changed: made when they are first sent with
   * this token. They are fields of the answer itself, and there from the start: each object more that is looked at is
   * one more that the processor waits for.
   */
  keptToken: string
  keptWhole: Headers | null
  keptUnchanged: Headers | null
}

/** What a path that is only read takes. */
export const readMethods = 'GET, HEAD, OPTIONS'

/** A resource of the view, by its public name. */
export function resourceOf(view: View, name: string): ResourceView {
  const found = view.resources.get(name)
  if (!found) throw new Problem('not-found', { detail: `The version ${view.version.date} has no ${name}.` })
  return found
}
