import journal from '../../drizzle/meta/_journal.json'
import type { Entry } from '../cache/cache.ts'
import { KvKeeper } from '../cache/kv-keeper.ts'
import { MemoryBuckets } from '../cache/memory-buckets.ts'
import { type App, createApp } from '../http/app.ts'
import { dependency } from '../http/cache-groups.ts'
import { createEdge, type Edge } from '../http/edge.ts'
import { FetchWire } from '../http/fetch-wire.ts'
import { Link, type Wire } from '../http/forward.ts'
import { Metrics } from '../http/metrics.ts'
import { type Peers, RateLimits } from '../http/rate-limits.ts'
import type { AppOptions } from '../http/service.ts'
import type { Epoch } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { copySchemaOf } from '../replica/copy-schema.ts'
import { FollowLoop } from '../replica/follow-loop.ts'
import { createFollowing, type Following } from '../replica/following.ts'
import { LogCopy } from '../replica/log-copy.ts'
import { limits } from '../schema/limits.ts'
import type { Model } from '../schema/model.ts'
import { openLibsqlReader } from '../store/libsql-reader.ts'
import { type ObjectDatabase, openObject } from '../store/object-sqlite.ts'
import type { Reader, Row } from '../store/reader.ts'
import { identityOf, identitySql } from './identity.ts'
import { portableHashing } from './portable-hashing.ts'
import type { WorkerSettings } from './settings.ts'
import { elapsed, kvPrefix, now, replicaPrefix, settingsOf, type WorkerEnv, workerParts } from './worker-env.ts'
import { WorkerPrimary } from './worker-primary.ts'

/** A copy that is older than this looks for news when it is asked for anything, and sooner where it does not know a key. */
const freshMsMax = 5_000
const knowingMsMax = 500

/** What a Durable Object has room for: 128 MB are for all of it, and for others beside it (Cloudflare's limits). */
const room = { answerBytesMax: 8_388_608, recentBytesMax: 4_194_304, forwardBytesMax: 16_777_216 }

/** How long a region is known to have a copy after it last said so, in seconds. */
const knownSeconds = 7 * 86_400

const migrations = journal.entries.map(({ when }) => when)

/** One region's copy and the app that reads it. */
interface Served {
  readonly epoch: Epoch | null
  readonly app: App
  readonly keeper: KvKeeper | null
}

/** The edge node inside a Durable Object. */
export class ReplicaNode {
  private readonly ctx: DurableObjectState
  private readonly env: WorkerEnv
  private readonly database: ObjectDatabase
  private readonly copy: LogCopy
  private readonly loop: FollowLoop
  private readonly following: Following
  private readonly edge: Edge
  private readonly parts: Omit<AppOptions, 'reader' | 'epoch' | 'sealer' | 'sign' | 'digest' | 'newId'>
  private served: Served
  private toldAt = Number.NEGATIVE_INFINITY

  constructor(ctx: DurableObjectState, env: WorkerEnv, model: Model) {
    const settings = settingsOf(env)
    this.ctx = ctx
    this.env = env
    this.database = openObject(ctx.storage)
    const region = settings.region ?? placeOf(this.database, ctx.id.name)
    const source = openLibsqlReader(settings.libsql)
    const { database } = this
    const tables = copySchemaOf(model)
    this.copy = new LogCopy({ database, source, tables, migrations, digest: portableHashing.digest, now })
    this.loop = new FollowLoop({
      copy: this.copy,
      onStep: () => this.learn(),
      wakeIn: (ms) => void ctx.storage.setAlarm(now() + ms),
      quietMs: () => (this.copy.position === null || this.served.app.followers() > 0 ? 0 : quietMs(database)),
      onFault: complain,
    })
    this.following = createFollowing({ now, elapsed }, () => ctx.waitUntil(this.loop.nudge()))
    const link = new Link(this.wireOf(settings, model, source), elapsed, room.forwardBytesMax)
    this.edge = createEdge({
      ...{ link, region, replica: this.following, lagMsMax: settings.lagMsMax, answerMsMax: limits.forwardMsMax },
      ...{ withoutWebhooks: true, recentBytesMax: room.recentBytesMax },
    })
    this.parts = {
      ...workerParts(env, settings),
      ...{ model, region, primary: null, through: this.edge, answerBytesMax: room.answerBytesMax },
      metrics: new Metrics(elapsed, () => []),
      targets: noTargets,
      unready: () => this.following.state().unready,
      ...rateLimitsOf(settings),
    }
    this.served = this.serve(null)
    this.learn()
  }

  async fetch(request: Request): Promise<Response> {
    this.keepFresh(freshMsMax)
    const response = await this.served.app.fetch(request, peers)
    // The key may be newer than the copy. Whoever sends keys that are none has the copy look twice a second, no more.
    if (response.status === 401) this.keepFresh(knowingMsMax)
    return response
  }

  private keepFresh(msMax: number) {
    const { ageMs } = this.following.state()
    if (ageMs === null || ageMs > msMax) this.ctx.waitUntil(this.loop.nudge())
  }

  /** Looks for news, until there are none. */
  async follow(): Promise<void> {
    await this.loop.nudge()
  }

  async nudge(token: string): Promise<void> {
    const rows = this.identity()
    if (rows === null) return
    const told = identityOf(rows, portableHashing).sealer.open(token)
    const { position } = this.copy
    // Whoever has a token of what the copy has not yet knows of a change: nobody else can have it look.
    if (told && (told.epoch !== position?.epoch || told.seq > position.seq)) await this.loop.nudge()
  }

  identity(): Row[] | null {
    return this.copy.position === null ? null : [...this.database.rows(identitySql, [])]
  }

  async keep(key: string, entry: Entry<string>): Promise<void> {
    await this.served.keeper?.keep(key, entry)
  }

  private wireOf({ primaryOrigin: origin, libsql }: WorkerSettings, model: Model, reader: Reader): Wire {
    if (origin !== null) return new FetchWire({ origin, elapsed })
    return new WorkerPrimary({ libsql, model, reader, parts: () => this.parts }).wire
  }

  /** Takes in what the copy is by now. */
  private learn() {
    const { copy } = this
    const { position, primaryPosition } = copy
    if ((position?.epoch ?? null) !== this.served.epoch) {
      this.served.app.close()
      this.served = this.serve(position?.epoch ?? null)
    }
    if (primaryPosition) this.edge.learn(primaryPosition)
    this.following.learn({
      ...{ file: null, position, heldAt: position && copy.heldAt, unready: copy.unready },
      ...{ phase: copy.phase, restarts: 0, bootstraps: copy.bootstraps },
    })
    if (position !== null) this.ctx.waitUntil(this.tellKv(position.seq).catch(complain))
  }

  private serve(epoch: Epoch | null): Served {
    const { database, copy, parts } = this
    const identity = identityOf(epoch === null ? [] : database.rows(identitySql, []), portableHashing)
    const reader: Reader = {
      ...database,
      rows(sql, args) {
        if (epoch === null || copy.position?.epoch !== epoch)
          throw new Problem('not-ready', { detail: 'The copy of the data here is being made.', headers: retrySoon })
        return database.rows(sql, args)
      },
    }
    return { epoch, app: createApp({ ...parts, ...identity, reader }), keeper: this.keeperOf(epoch) }
  }

  private keeperOf(epoch: Epoch | null): KvKeeper | null {
    const { database, copy } = this
    const { CACHE: kv } = this.env
    if (!kv || epoch === null) return null
    const prefix = kvPrefix(this.parts.region, epoch)
    return new KvKeeper(
      {
        kv: {
          put: (key, value, options) => kv.put(prefix + key, value, options),
          delete: (key) => kv.delete(prefix + key),
        },
        ...{ database, history: epoch, now, entryMsMax: limits.sharedEntryMsMax },
        lastChange: (name) => (copy.position?.epoch === epoch ? lastChangeOf(database, name) : null),
        changedAfter: (seq, most) => changedAfter(database, seq, most),
      },
      copy.position?.seq ?? 0,
    )
  }

  /** Takes out of KV what has changed, and says once a day that this region has a copy. */
  private async tellKv(seq: number) {
    const { keeper } = this.served
    const { CACHE: kv } = this.env
    const { region } = this.parts
    if (!keeper || !kv) return
    if (now() - this.toldAt > 86_400_000) {
      this.toldAt = now()
      await kv.put(replicaPrefix + region, '', { expirationTtl: knownSeconds })
    }
    await keeper.forget(seq)
  }
}

function complain(error: unknown) {
  console.error(`perigee: the copy: ${error instanceof Error ? error.message : error}`)
}

const retrySoon = { 'Retry-After': '1' }

const peers: Peers = {
  // Cloudflare sets it, whatever a caller sends.
  requestIP: (request) => ({ address: request.headers.get('cf-connecting-ip') ?? 'unknown' }),
}

/** Webhooks are the primary's to save. */
const noTargets = {
  of: () => Promise.reject(new Problem('webhook-url-refused', { detail: 'Webhooks are sent by a primary node.' })),
}

function rateLimitsOf({ rateLimits: { perKey, perAddress } }: WorkerSettings): Pick<AppOptions, 'rateLimits'> {
  if (perKey === null && perAddress === null) return {}
  const local = new MemoryBuckets(elapsed)
  return { rateLimits: new RateLimits({ perKey, perAddress, trustedProxies: new Set(), local, shared: null, elapsed }) }
}

/** The last change of a resource's records, or of one record, by its name among what answers are made of. */
function lastChangeOf(database: ObjectDatabase, name: string): number {
  const [, tenant = '', resource = '', id] = /^(\S+) ([^/]+)(?:\/(.+))?$/.exec(name) ?? []
  const [row] =
    id === undefined
      ? database.rows('select seq from heads where tenant = ?1 and resource = ?2', [tenant, resource])
      : database.rows('select max(seq) from changes where tenant = ?1 and resource = ?2 and id = ?3', [
          tenant,
          resource,
          id,
        ])
  return Number(row?.[0] ?? 0)
}

/** The region's name, which an alarm is not told (Cloudflare's docs on alarms), so it is kept. */
function placeOf(database: ObjectDatabase, name: string | undefined): string {
  database.rows('create table if not exists place(one integer primary key, region text) strict', [])
  if (name !== undefined) database.rows('insert or ignore into place(one, region) values (1, ?1)', [name])
  return String(database.rows('select region from place', [])[0]?.[0] ?? 'local')
}

/** How long ago the last change was. */
function quietMs(database: ObjectDatabase): number {
  const [row] = database.rows('select time from changes order by seq desc limit 1', [])
  return row ? now() - Date.parse(String(row[0])) : Number.POSITIVE_INFINITY
}

function changedAfter(database: ObjectDatabase, seq: number, most: number) {
  const rows = database.rows('select tenant, resource, id, seq from changes where seq > ?1 order by seq limit ?2', [
    ...[seq, most],
  ])
  const names = rows.flatMap(([tenant, resource, id]) => [
    ...[dependency(String(tenant), String(resource)), dependency(String(tenant), `${resource}/${id}`)],
  ])
  return { names: [...new Set(names)], to: Number(rows.at(-1)?.[3] ?? seq) }
}
