import * as z from 'zod'

const ipv4 = z.ipv4()
const ipv6 = z.ipv6()

/** Whether a text is an address of IPv4 or of IPv6; null where it is none, or has a zone. */
export function addressFamily(text: string): 4 | 6 | null {
  if (ipv4.safeParse(text).success) return 4
  return ipv6.safeParse(text).success ? 6 : null
}
