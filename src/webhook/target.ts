import { BlockList, isIP } from 'node:net'
import { Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import type { UrlCheck } from './webhook.ts'

/** An address that a host has; `family` is 4 or 6. */
export interface Address {
  readonly address: string
  readonly family: number
}

/** The addresses of a host, by DNS or whatever the entry asks. Rejects where there are none. */
export type ResolveHost = (host: string) => Promise<readonly Address[]>

/** Where to send to: connections go to these addresses and nowhere else, so that what was checked is what is reached. */
export interface Target {
  readonly url: URL
  readonly addresses: readonly Address[]
}

/**
 * Which URLs may be sent to. A receiver is on the public internet, over HTTPS on its own port; else a caller could have
 * this server reach what only this server can. The origins of `exempt` may be anywhere, for development and tests.
 */
export class Targets implements UrlCheck {
  private readonly resolve: ResolveHost
  private readonly exempt: ReadonlySet<string>

  constructor(resolve: ResolveHost, exempt: ReadonlySet<string>) {
    this.resolve = resolve
    this.exempt = exempt
  }

  /** Throws `webhook-url-refused` with the reason. Asked when a URL is saved, and again each time that it is sent to. */
  async of(text: string): Promise<Target> {
    const url = parseTarget(text)
    const isExempt = this.exempt.has(url.origin)
    if (!isExempt && (url.protocol !== 'https:' || url.port !== ''))
      throw refused('It is no https URL on port 443, which webhooks are sent to.')
    const addresses = await this.addressesOf(url.hostname)
    // What this server's resolver knows of a network that is not public is nobody's to learn: no address is told.
    const isAllowed = isExempt || addresses.every(({ address }) => isPublic(address))
    if (addresses.length === 0 || !isAllowed) throw refused(`${url.hostname} is not a host of the public internet.`)
    return { url, addresses }
  }

  private async addressesOf(hostname: string): Promise<readonly Address[]> {
    const literal = hostname.replace(/^\[|\]$/g, '')
    const family = isIP(literal)
    if (family !== 0) return [{ address: literal, family }]
    return this.resolve(hostname).catch(() => [])
  }
}

function parseTarget(text: string): URL {
  if (text.length > limits.webhookUrlCharsMax)
    throw refused(`It is longer than ${limits.webhookUrlCharsMax} characters.`)
  const url = URL.parse(text)
  if (!url || !/^https?:$/.test(url.protocol)) throw refused('It is no URL such as https://example.com/hooks.')
  if (url.username !== '' || url.password !== '') throw refused('It has a user or a password in it.')
  if (url.href.includes('#')) throw refused('It has a fragment, which is never sent.')
  return url
}

function refused(message: string): Problem {
  return new Problem('webhook-url-refused', {
    detail: `The URL is refused. ${message}`,
    errors: [{ pointer: '/url', code: 'webhook-url-refused', message }],
  })
}

/** What of IPv4 is not the public internet: the special-purpose registry of IANA (RFC 6890), and multicast. */
const hidden4 = blockList('ipv4', [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
  ...['224.0.0.0/4', '240.0.0.0/4'],
])

/** What of IPv6 is global unicast, and what of that is for special purposes or carries an IPv4 address of any kind. */
const global6 = blockList('ipv6', ['2000::/3'])
const hidden6 = blockList('ipv6', ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'])

function blockList(family: 'ipv4' | 'ipv6', blocks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const block of blocks) {
    const [network = '', bits] = block.split('/')
    list.addSubnet(network, Number(bits), family)
  }
  return list
}

/** Whether an address is one of the public internet. What is none, or has a zone, is not. */
export function isPublic(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !hidden4.check(address, 'ipv4')
  return family === 6 && !address.includes('%') && global6.check(address, 'ipv6') && !hidden6.check(address, 'ipv6')
}
