import { addressFamily } from '../address.ts'
import type { Buckets, Grant, Quota } from '../cache/buckets.ts'
import { sameText } from '../log/position.ts'
import { Problem } from '../problem.ts'
import { andThen, type Soon } from '../soon.ts'
import { labelled } from './metrics.ts'
import { problemResponse } from './present.ts'
import type { Service } from './service.ts'

/** Who has sent a request, by its socket. */
export interface Peers {
  requestIP(request: Request): { readonly address: string } | null
}

export interface RateLimitOptions {
  /** Requests a minute of one key, and of one address that sends none; null for no limit. A minute's may come at once. */
  readonly perKey: number | null
  readonly perAddress: number | null
  /** Addresses of proxies, whose word for whom they speak for is taken. */
  readonly trustedProxies: ReadonlySet<string>
  /** Buckets of this process. */
  readonly local: { take(name: string, quota: Quota, wanted: number): Grant }
  /** Buckets of all nodes; null where the local ones are the limit. */
  readonly shared: Buckets | null
  readonly elapsed: () => number
}

/** Tokens that were taken from a shared bucket and are not used yet; or how long it has none. */
interface Lease {
  tokens: number
  /** Of the shared bucket, when it was last asked. */
  left: number
  fullMs: number
  /** When unused tokens have come to lie in the bucket again, so to speak: they are forgotten then. */
  until: number
  refusedUntil: number
  asking: Promise<void> | null
}

/** What is taken at once from a shared bucket: a request that finds some of it left asks nobody. */
const leaseShare = 1 / 20
const leasesMax = 50_000
const windowMs = 60_000

/** Requests for these are answered whoever asks. */
const unlimited = /^https?:\/\/[^/]+\/(?:livez|readyz|metrics)(?:\?|$)/

/** On what an edge sends on: the edge has counted it. Sealed, since a caller may send anything. */
export const countedHeader = 'perigee-counted'

export function countedSeal({ sign }: Pick<Service, 'sign'>, requestId: string): string {
  return sign(`counted:${requestId}`).slice(0, 22)
}

/**
 * How many requests a key may send in a minute, and an address without a key. Each node counts by itself, so that no node
 * lets more through whatever happens to the shared buckets, and those decide for all nodes together while they answer.
 */
export class RateLimits {
  readonly counts = { allowed: 0, refused: 0, unshared: 0 }
  private readonly options: RateLimitOptions
  private readonly keyQuota: Quota | null
  private readonly addressQuota: Quota | null
  private leases = new Map<string, Lease>()

  constructor(options: RateLimitOptions) {
    this.options = options
    this.keyQuota = options.perKey === null ? null : { tokens: options.perKey, windowMs }
    this.addressQuota = options.perAddress === null ? null : { tokens: options.perAddress, windowMs }
  }

  /** Answers by `respond` where the caller has requests left; else 429. */
  answer(service: Service, request: Request, peers: Peers | undefined, respond: () => Soon<Response>): Soon<Response> {
    const { url, headers } = request
    if (unlimited.test(url) || isCounted(service, headers)) return respond()
    const authorization = headers.get('authorization')
    if (authorization === null) return this.count(this.addressOf(request, peers), this.addressQuota, respond)
    const named = nameOf(service, authorization)
    return andThen(named, (key) =>
      key === null
        ? this.count(this.addressOf(request, peers), this.addressQuota, respond)
        : this.count(key, this.keyQuota, respond),
    )
  }

  lines(): string[] {
    return labelled(
      'perigee_rate_limited_requests_total',
      'counter',
      'Requests under a limit: allowed, refused, and those for which the shared buckets could not be asked.',
      'result',
      this.counts,
    )
  }

  private count(name: string, quota: Quota | null, respond: () => Soon<Response>): Soon<Response> {
    if (quota === null) return respond()
    const local = this.options.local.take(name, quota, 1)
    if (local.taken === 0) return this.refuse(quota, local)
    if (this.options.shared === null) return this.allow(quota, local, respond)
    return andThen(this.takeShared(this.options.shared, name, quota), (shared) => {
      if (shared === null) return this.allow(quota, local, respond)
      return shared.taken === 0 ? this.refuse(quota, shared) : this.allow(quota, least(shared, local), respond)
    })
  }

  private allow(quota: Quota, grant: Grant, respond: () => Soon<Response>): Soon<Response> {
    this.counts.allowed++
    return andThen(respond(), (response) => {
      response.headers.set('RateLimit-Policy', policyOf(quota))
      response.headers.set('RateLimit', stateOf(grant))
      return response
    })
  }

  private refuse(quota: Quota, grant: Grant): Response {
    this.counts.refused++
    const seconds = Math.max(1, Math.ceil(grant.waitMs / 1_000))
    return problemResponse(
      new Problem('rate-limited', {
        detail: `There may be ${quota.tokens} requests in ${quota.windowMs / 1_000} seconds. Send the next in ${seconds} seconds.`,
        headers: { 'Retry-After': `${seconds}`, 'RateLimit-Policy': policyOf(quota), RateLimit: stateOf(grant) },
      }),
      '',
    )
  }

  /** A token of the shared bucket; null where that cannot be asked. */
  private takeShared(buckets: Buckets, name: string, quota: Quota): Soon<Grant | null> {
    const lease = this.leaseOf(name)
    const now = this.options.elapsed()
    if (now >= lease.until) lease.tokens = 0
    if (lease.tokens > 0) return taken(lease)
    if (now < lease.refusedUntil) return refused(lease, now)
    lease.asking ??= this.ask(buckets, name, quota, lease).finally(() => {
      lease.asking = null
    })
    return lease.asking.then(
      () => {
        if (lease.tokens > 0) return taken(lease)
        const left = lease.refusedUntil - this.options.elapsed()
        // Others, who asked together, have used what there was: each asks for itself.
        return left > 0 ? refused(lease, this.options.elapsed()) : this.takeShared(buckets, name, quota)
      },
      () => {
        this.counts.unshared++
        return null
      },
    )
  }

  private async ask(buckets: Buckets, name: string, quota: Quota, lease: Lease) {
    const wanted = Math.max(1, Math.floor(quota.tokens * leaseShare))
    const { taken, left, waitMs, fullMs } = await buckets.take(name, quota, wanted)
    const now = this.options.elapsed()
    lease.tokens = taken
    lease.left = left
    lease.fullMs = fullMs
    lease.until = now + fullMs
    if (taken === 0) lease.refusedUntil = now + Math.max(1, waitMs)
  }

  private leaseOf(name: string): Lease {
    const known = this.leases.get(name)
    if (known) return known
    if (this.leases.size >= leasesMax) this.leases = new Map()
    const lease = { tokens: 0, left: 0, fullMs: 0, until: 0, refusedUntil: 0, asking: null }
    this.leases.set(name, lease)
    return lease
  }

  private addressOf(request: Request, peers: Peers | undefined): string {
    const { trustedProxies } = this.options
    let address = plainAddress(peers?.requestIP(request)?.address ?? 'unknown')
    if (trustedProxies.has(address)) {
      const said = (request.headers.get('x-forwarded-for') ?? '').split(',').map((each) => plainAddress(each.trim()))
      address = said.findLast((each) => addressFamily(each) !== null && !trustedProxies.has(each)) ?? address
    }
    return `address ${networkOf(address)}`
  }
}

function taken(lease: Lease): Grant {
  lease.tokens--
  return { taken: 1, left: lease.left + lease.tokens, waitMs: 0, fullMs: lease.fullMs }
}

function refused({ refusedUntil, fullMs }: Lease, now: number): Grant {
  return { taken: 0, left: 0, waitMs: Math.ceil(refusedUntil - now), fullMs }
}

function least(a: Grant, b: Grant): Grant {
  return a.left <= b.left ? a : b
}

/** What draft-ietf-httpapi-ratelimit-headers-10 calls a policy and what is left of it. */
function policyOf({ tokens, windowMs }: Quota): string {
  return `"default";q=${tokens};w=${windowMs / 1_000}`
}

function stateOf({ left, fullMs }: Grant): string {
  return `"default";r=${left};t=${Math.ceil(fullMs / 1_000)}`
}

/** The bucket of a key; null where the key is none, so that a guesser has one bucket for all guesses. */
function nameOf(service: Service, authorization: string): Soon<string | null> {
  const name = ({ tenant, actor }: { tenant: string; actor: string }) => `${tenant} ${actor}`
  try {
    const caller = service.authenticate(authorization)
    return caller instanceof Promise ? caller.then(name, () => null) : name(caller)
  } catch {
    return null
  }
}

function isCounted(service: Service, headers: Headers): boolean {
  const seal = headers.get(countedHeader)
  return seal !== null && sameText(seal, countedSeal(service, headers.get('x-request-id') ?? ''))
}

/** An IPv4 address that came over an IPv6 socket is the same address. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/^\[(.*)\]$/, '$1')
}

/** Of IPv6 the first half: who has one address there has all that share it. */
function networkOf(address: string): string {
  if (addressFamily(address) !== 6) return address
  const [head = '', tail] = address.split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : new Array(Math.max(0, 8 - front.length - back.length)).fill('0')
  return [...front, ...zeros, ...back]
    .slice(0, 4)
    .map((each) => Number.parseInt(each, 16).toString(16))
    .join(':')
}
