/** A region of Cloudflare's network, as it takes hints where to make a Durable Object (its docs, "data location"). */
type Hint = 'wnam' | 'enam' | 'sam' | 'weur' | 'eeur' | 'apac' | 'oc' | 'afr' | 'me'

/** Where a request came in. */
interface Place {
  readonly continent?: unknown
  readonly country?: unknown
  readonly longitude?: unknown
}

const byContinent: Readonly<Record<string, Hint>> = {
  AF: 'afr',
  AN: 'oc',
  AS: 'apac',
  EU: 'weur',
  NA: 'enam',
  OC: 'oc',
  SA: 'sam',
}
const middleEast = new Set('AE BH CY EG IL IQ IR JO KW LB OM PS QA SA SY TR YE'.split(' '))

/** Degrees east from which Europe is its east, and west of which North America is its west. */
const eastOfEurope = 18
const westOfAmerica = -100

/**
 * The region whose copy answers a request. A name that is set is the only one. Where nothing is known of the place, as on
 * one's own machine, the region is called local.
 */
export function placeOf(
  only: string | null,
  place: Place | undefined,
): { readonly region: string; readonly hint: Hint | null } {
  const hint = hintOf(place)
  return only === null
    ? { region: hint ?? 'local', hint }
    : { region: only, hint: hints.has(only) ? (only as Hint) : null }
}

const hints: ReadonlySet<string> = new Set(['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me'])

function hintOf(place: Place | undefined): Hint | null {
  if (typeof place?.country === 'string' && middleEast.has(place.country)) return 'me'
  const region = byContinent[String(place?.continent)] ?? null
  const longitude = Number(place?.longitude)
  if (region === 'weur' && longitude >= eastOfEurope) return 'eeur'
  return region === 'enam' && longitude < westOfAmerica ? 'wnam' : region
}
