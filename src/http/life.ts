import type { Context } from 'hono'
import { Problem } from '../problem.ts'
import type { Caller } from '../schema/access.ts'
import type { Version } from '../schema/versions.ts'
import type { View } from '../version/view.ts'
import { chooseView } from './negotiation.ts'
import type { Service } from './service.ts'

/** How a version that has an end tells of it. A version without one has no such thing. */
export interface Life {
  readonly view: View
  /** The next version that has no end: what to move to. Null where there is none. */
  readonly successor: View | null
  /** Milliseconds since 1970, from which on there is no answer but 410; null where no day is set. */
  readonly sunsetAt: number | null
  /** `Deprecation` (RFC 9745) and `Sunset` (RFC 8594), of every answer. */
  readonly headers: Readonly<Record<string, string>>
  /** Where both are explained, as the beginning of a Link header. */
  readonly links: string
  /** What an answer says after the sunset. */
  readonly farewell: string
}

export type LifeState = 'active' | 'deprecated' | 'sunset'

/** Where a version stands at a moment, in milliseconds since 1970. Its days begin at midnight UTC. */
export function stateOf({ deprecated, sunset }: Version, now: number): LifeState {
  if (sunset !== null && Date.parse(sunset) <= now) return 'sunset'
  return deprecated !== null && Date.parse(deprecated) <= now ? 'deprecated' : 'active'
}

/** The lives of the versions that have an end, by their dates. `views` are in the order of the versions. */
export function livesOf(views: Iterable<View>): ReadonlyMap<string, Life> {
  const inOrder = [...new Set(views)]
  const ending = inOrder.filter(({ version }) => version.deprecated !== null)
  return new Map(ending.map((view) => [view.version.date, lifeOf(view, inOrder.slice(inOrder.indexOf(view) + 1))]))
}

function lifeOf(view: View, later: readonly View[]): Life {
  const { alias, deprecated, sunset } = view.version
  const next = later.findIndex(({ version }) => version.deprecated === null)
  const page = `</changelog#${alias}>`
  return {
    ...{ view, successor: later[next] ?? null },
    sunsetAt: sunset === null ? null : Date.parse(sunset),
    headers: {
      ...(deprecated !== null && { Deprecation: `@${Date.parse(deprecated) / 1000}` }),
      ...(sunset !== null && { Sunset: new Date(sunset).toUTCString() }),
    },
    links: [
      `${page}; rel="deprecation"; type="text/html"`,
      ...(sunset === null ? [] : [`${page}; rel="sunset"; type="text/html"`]),
    ].join(', '),
    farewell: farewellOf(view.version, later.slice(0, next + 1)),
  }
}

function farewellOf({ date, alias, sunset }: Version, way: readonly View[]): string {
  const successor = way.at(-1)?.version
  const notes = way.map(({ version }) => `${version.date}: ${version.notes}`).join(' ')
  const move = successor ? ` Move to ${successor.date} (${successor.alias}). What changed with ${notes}` : ''
  return `The API version ${date} (${alias}) ended on ${sunset}.${move} See /changelog.`
}

/** The view that a request is answered at, told to what comes after, and counted; refused from its version's sunset on. */
export function viewServed(c: Context, service: Service, caller: Caller, alias: string | null): View {
  const view = chooseView(service, caller.version, alias, c.req.raw.headers.get('api-version'))
  c.set('view', view)
  service.metrics.countVersion(view.version.date, caller.key)
  requireServed(service, view)
  return view
}

/** Refuses a request at a version from its sunset on. */
export function requireServed({ lives, now }: Pick<Service, 'lives' | 'now'>, { version }: View) {
  const life = lives.get(version.date)
  if (life && hasEnded(life, now)) throw new Problem('version-sunset', { detail: life.farewell })
}

/** Whether a sunset has come; the clock is asked only where there is one. */
export function hasEnded({ sunsetAt }: Pick<Life, 'sunsetAt'>, now: () => number): boolean {
  return sunsetAt !== null && sunsetAt <= now()
}

/** Adds to the headers of an answer what its version says of its end, if it has one, and the links of the answer itself. */
export function tellLife(headers: Record<string, string>, life: Life | undefined, path: string, links: string | null) {
  if (!life) {
    if (links !== null) headers.Link = links
    return
  }
  Object.assign(headers, life.headers)
  const successor = successorPath(life, path)
  headers.Link = links === null ? life.links : `${links}, ${life.links}`
  if (successor !== null) headers.Link += `, <${successor}>; rel="successor-version"`
}

/** What every version has, beside its resources. */
const ofEveryVersion = ['batch', 'changes', 'openapi.json', 'webhooks']

/** Where the successor has what a path names (RFC 5829); null where it has no such thing. */
function successorPath({ view, successor }: Life, path: string): string | null {
  if (successor === null) return null
  const { alias } = view.version
  const own = path.startsWith(`/${alias}/`) ? path.slice(alias.length + 1) : path
  const [, name = '', rest = ''] = /^\/([\w.]+)((?:\/[\w-]+)*)$/.exec(own) ?? []
  const table = view.resources.get(name)?.resource.name
  const found = ofEveryVersion.includes(name)
    ? name
    : [...successor.resources.values()].find(({ resource }) => resource.name === table)?.name
  return found === undefined ? null : `/${successor.version.alias}/${found}${rest}`
}
