import type { Answer, CallOptions } from './server.ts'

/** What a poisoner sends for an answer that others get as well: what is put behind the URL, and headers. */
export const attacks: [name: string, suffix: string, headers: Record<string, string>][] = [
  [
    'a forwarded host',
    '',
    { 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Proto': 'gopher', Forwarded: 'host=evil.example' },
  ],
  ['another URL', '', { 'X-Original-URL': '/users', 'X-Rewrite-URL': '/users' }],
  ['an odd Accept', '', { Accept: 'text/html;q=1, image/*', 'Accept-Language': 'x', 'Accept-Encoding': 'br' }],
  ['another method', '', { 'X-HTTP-Method-Override': 'DELETE', 'X-Method-Override': 'POST' }],
  ['a cookie and a range', '', { Cookie: 'admin=1', Range: 'bytes=0-1', 'Cache-Control': 'no-store' }],
  ['a long header', '', { 'X-Long': 'x'.repeat(8_000) }],
  ['a wrong token', '', { 'Consistency-Token': 'ab.1.aaaaaaaaaaaa' }],
  ['a wrong version', '', { 'API-Version': '1999-01-01' }],
  ['a cloaked parameter', ';fields=id', {}],
  ['a repeated parameter', '&fields=id', {}],
  ['an unknown parameter', '&utm_source=x', {}],
  ['an encoded slash', '%2F..%2Fusers', {}],
]

/** How many pairs of callers meet: a few in a run of all tests, 10,000 by PAIRS. */
const pairs = Number(process.env.PAIRS ?? 500)

interface Asked {
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
}

export interface Crossings {
  readonly nodes: { readonly warm: readonly Asked[]; readonly read: readonly Asked[]; readonly truth: Asked }
  readonly paths: readonly string[]
  /** Of the callers; null is who has none. */
  readonly keys: readonly (string | null)[]
}

/**
 * One caller warms what another reads, at nodes that share: answers in what an answer differed from what its reader is
 * shown by the primary, and what of an answer to a key said that it is shared or may be. Nothing may be written meanwhile.
 */
export async function crossings({ nodes, paths, keys }: Crossings): Promise<string[]> {
  let seed = 7
  const pick = <T>(all: readonly T[]): T => {
    seed = (seed * 48_271) % 2_147_483_647
    return all[seed % all.length] as T
  }
  // A cursor has the time in it when it was made.
  const seen = ({ status, text }: Answer) => `${status} ${text.replace(/"next":"[^"]*"/, '')}`
  const truth = new Map<string, string>()
  for (const path of paths)
    for (const key of keys) {
      const answer = await nodes.truth.call('GET', path, { key, headers: { Consistency: 'strong' } })
      truth.set(`${path} ${key}`, seen(answer))
    }
  const wrong: string[] = []
  const one = async (node: Asked, path: string, key: string | null) => {
    const answer = await node.call('GET', path, { key, headers: { Consistency: 'eventual' } })
    const reader = key === null ? 'without a key' : `with key ${keys.indexOf(key)}`
    if (seen(answer) !== truth.get(`${path} ${key}`)) wrong.push(`${path} ${reader}: ${seen(answer)}`)
    if (key === null || answer.status !== 200) return
    const control = answer.headers.get('cache-control')
    if (control !== 'private, no-cache') wrong.push(`${path} ${reader}: Cache-Control is ${control}`)
    const status = answer.headers.get('cache-status') ?? ''
    if (/ttl=|stored|collapsed/.test(status)) wrong.push(`${path} ${reader}: Cache-Status is ${status}`)
  }
  for (let made = 0; made < pairs; made += 20)
    await Promise.all(
      Array.from({ length: Math.min(20, pairs - made) }, async () => {
        const path = pick(paths)
        const [warms, reads] = [pick(nodes.warm), pick(nodes.read)]
        const [warmer, reader] = [pick(keys), pick(keys)]
        await one(warms, path, warmer)
        await one(reads, path, reader)
      }),
    )
  return wrong
}
