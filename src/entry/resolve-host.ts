import { lookup } from 'node:dns/promises'
import type { Address } from '../webhook/target.ts'

const resolveMsMax = 5_000

/** The addresses that this machine's resolver has for a host, its `hosts` file included. Rejects without an answer in time. */
export async function resolveHost(host: string): Promise<readonly Address[]> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${host} was not resolved in time`)), resolveMsMax)
  return Promise.race([lookup(host, { all: true }), late]).finally(() => clearTimeout(timer))
}
