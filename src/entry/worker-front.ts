import type { Entry } from '../cache/cache.ts'
import { workersKvCache } from '../cache/workers-kv.ts'
import { createService } from '../http/app.ts'
import { allowOrigin } from '../http/cors.ts'
import { hasSoundHost } from '../http/guard.ts'
import { Metrics } from '../http/metrics.ts'
import { baseHeaders, problemResponse } from '../http/present.ts'
import type { Service } from '../http/service.ts'
import { SharedAnswers } from '../http/shared-answers.ts'
import { tokenForm } from '../log/position.ts'
import { model } from '../model/index.ts'
import { Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import { identityOf } from './identity.ts'
import { portableHashing } from './portable-hashing.ts'
import { placeOf } from './regions.ts'
import { SettingsError, type WorkerSettings } from './settings.ts'
import { elapsed, kvPrefix, now, replicaPrefix, settingsOf, type WorkerEnv, workerParts } from './worker-env.ts'

/** How long it is taken for granted who the database is, and which regions have copies. */
const knownMsMax = 30_000

/** What a Worker does itself: which copy is asked, and what KV spares it. Nothing of one request waits for another's. */
class Front {
  private readonly env: WorkerEnv
  private readonly settings: WorkerSettings
  private service: { readonly service: Service; readonly until: number } | null = null
  private regions: { readonly names: readonly string[]; readonly until: number } | null = null

  constructor(env: WorkerEnv) {
    this.env = env
    this.settings = settingsOf(env)
  }

  async fetch(request: Request, context: ExecutionContext): Promise<Response> {
    const { region, hint } = placeOf(this.settings.region, request.cf as IncomingRequestCfProperties | undefined)
    const { REPLICA, CACHE } = this.env
    const copy = REPLICA.get(REPLICA.idFromName(region), hint ? { locationHint: hint } : {})
    const ask = (asked: Request) => answerOf(copy, asked)
    if (request.method === 'POST' && new URL(request.url).pathname === '/nudge') return this.nudge(request, context)
    const isKept = CACHE && request.method === 'GET' && !request.headers.has('authorization')
    if (!isKept || !hasSoundHost(request) || request.url.length > limits.urlCharsMax) return ask(request)
    const service = await this.serviceBy(region, () => copy.identity())
    if (service === null) return ask(request)
    const { epoch } = service
    const keep = (key: string, entry: Entry<string>) => copy.keep(key, entry) as Promise<void>
    const shared = new SharedAnswers({
      caches: () => workersKvCache({ kv: CACHE, prefix: kvPrefix(region, epoch), keep, now }),
      ...{ region: `${region}-kv`, ageMsMax: this.settings.lagMsMax, elapsed },
    })
    // What a copy answers has headers that nothing can be added to.
    const askOwn = async (asked: Request) => {
      const answer = await ask(asked)
      return new Response(answer.body, answer)
    }
    const response = await shared.answer({ request, service, epoch }, askOwn)
    context.waitUntil(shared.settled())
    return allowOrigin(response, request.headers.get('origin'), service.allowedOrigins)
  }

  /** Tells every region's copy that there is news, by a token of it, which each of them checks. */
  private async nudge(request: Request, context: ExecutionContext): Promise<Response> {
    const token = request.headers.get('consistency-token') ?? ''
    if (!tokenForm.test(token))
      return problemResponse(
        new Problem('invalid-consistency-token', { detail: 'A nudge has a Consistency-Token.' }),
        '/nudge',
      )
    const { REPLICA } = this.env
    const names = await this.regionsWithCopies()
    const told = names.map((name) => REPLICA.get(REPLICA.idFromName(name)).nudge(token))
    context.waitUntil(Promise.allSettled(told))
    return new Response(null, { status: 202, headers: baseHeaders })
  }

  private async regionsWithCopies(): Promise<readonly string[]> {
    const { region } = this.settings
    if (region !== null) return [region]
    if (this.regions && this.regions.until > now()) return this.regions.names
    const { keys } = (await this.env.CACHE?.list({ prefix: replicaPrefix })) ?? { keys: [] }
    const names = keys.map(({ name }) => name.slice(replicaPrefix.length))
    this.regions = { names, until: now() + knownMsMax }
    return names
  }

  /** What reads the headers of a request; null while there is no copy to say who the database is. */
  private async serviceBy(region: string, ask: () => Promise<unknown>): Promise<Service | null> {
    if (this.service && this.service.until > now()) return this.service.service
    const rows = (await ask()) as Parameters<typeof identityOf>[0] | null
    if (rows === null) return null
    const identity = identityOf(rows, portableHashing)
    const known = this.service?.service
    const service =
      known?.epoch === identity.epoch
        ? known
        : createService({
            ...workerParts(this.env, this.settings),
            ...identity,
            ...{ model, region, primary: null, reader: noReader, unready: () => null },
            metrics: new Metrics(elapsed, () => []),
            targets: { of: () => Promise.reject(new Problem('webhook-url-refused')) },
          })
    this.service = { service, until: now() + knownMsMax }
    return service
  }
}

/** What a copy answers. Where it is away, a read was not done, and of a write nobody here knows. */
async function answerOf(copy: Pick<Fetcher, 'fetch'>, request: Request): Promise<Response> {
  try {
    return await copy.fetch(request)
  } catch (error) {
    console.error(`perigee: the copy does not answer: ${error instanceof Error ? error.message : error}`)
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    const isTurnedAway = error instanceof Error && 'overloaded' in error && error.overloaded === true
    const headers = { 'Retry-After': '1' }
    if (isTurnedAway) return problemResponse(new Problem('overloaded', { headers }), '')
    const detail = 'The copy of the data here does not answer.'
    return problemResponse(isRead ? new Problem('not-ready', { detail, headers }) : new Problem('outcome-unknown'), '')
  }
}

const noReader = {
  rows: () => {
    throw new Problem('not-ready')
  },
  generation: () => 0,
  expire() {},
  newsPauseMs: 1_000,
  close() {},
}

let opened: Front | undefined

/** The front of this isolate. Where a setting is wrong, it answers everything with that it is not ready, and logs why. */
export function front(env: WorkerEnv): Pick<Front, 'fetch'> {
  try {
    opened ??= new Front(env)
    return opened
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    console.error(`perigee: ${error.message}`)
    const problem = new Problem('not-ready', {
      detail: 'A setting of this Worker is missing or wrong; its log says which.',
    })
    return { fetch: async () => problemResponse(problem, '') }
  }
}
