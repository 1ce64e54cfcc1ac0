import { parsePairs } from '../read/query.ts'
import { resolve } from '../schema/access.ts'
import { contractOf } from '../version/contract.ts'
import type { View } from '../version/view.ts'
import { requireServed } from './life.ts'
import { chooseView } from './negotiation.ts'
import type { Service } from './service.ts'

/** A read whose answer is the same for everyone without a key. */
export interface PublicRead {
  /** Of the tenant whose records it reads. */
  readonly tenant: string
  /** As metrics name it. */
  readonly route: string
  /** Everything that decides the answer, as a hash: what is asked for, in which version, and what that version promises. */
  readonly key: string
}

/** Paths as routes have them, with a version or without; whatever is written in another way is not shared. */
const pathForm = /^https?:\/\/[^/?#]+((?:\/[A-Za-z0-9_-]+){1,4})(\?[^#]*)?$/

/** What a request without a key reads; null where that is nothing that may be shared, or where something is wrong with it. */
export function publicRead(service: Service, { method, url, headers }: Request): PublicRead | null {
  if (method !== 'GET' || headers.has('authorization')) return null
  const [, path = '', search = ''] = pathForm.exec(url) ?? []
  const segments = path.split('/').slice(1)
  const alias = segments[0] !== undefined && service.views.has(segments[0]) ? segments[0] : null
  const [name = '', id, history, more] = alias === null ? segments : segments.slice(1)
  if (more !== undefined || (history !== undefined && history !== 'history')) return null
  try {
    const pairs = parsePairs(search)
    // The answer to what was has the position of that moment, not of those before and after.
    if (pairs.some(([name]) => name === 'as-of')) return null
    const caller = service.authenticate(null)
    if (caller instanceof Promise) return null
    const view = chooseView(service, caller.version, alias, headers.get('api-version'))
    requireServed(service, view)
    const rule = view.resources.get(name)?.resource.access.read
    if (!rule || resolve(rule, caller).kind === 'never') return null
    const parts = ['public', caller.tenant, view.version.date, fingerprintOf(service, view), path, normalised(pairs)]
    const route = `/${[name, id && ':id', history].filter(Boolean).join('/')}`
    return { tenant: caller.tenant, route, key: service.digest(parts.join('\n')) }
  } catch {
    return null // What is wrong is found again, and told, by whoever answers.
  }
}

/** A query as it is parsed, whatever the order of its parameters and the way in which they are encoded. */
function normalised(pairs: readonly (readonly [string, string])[]): string {
  const byName = pairs.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return JSON.stringify(byName)
}

const fingerprints = new WeakMap<View, string>()

/** Nodes that promise other things under one version, while one program takes the place of another, share nothing. */
function fingerprintOf({ digest }: Service, view: View): string {
  const known = fingerprints.get(view)
  if (known !== undefined) return known
  const fingerprint = digest(JSON.stringify(contractOf(view, {})))
  fingerprints.set(view, fingerprint)
  return fingerprint
}
