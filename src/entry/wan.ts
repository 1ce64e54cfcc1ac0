import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Network, Place } from './network.ts'
import { CommandError } from './node.ts'

/** An edge, and how long a round trip between it and the primary takes. */
export interface Distance {
  readonly region: string
  readonly roundTripMs: number
}

const port = 8_787
const databasePort = 8_788

/** What this machine lacks for a wide network, as the rest of "There is no"; null where it lacks nothing. */
export function lackingForWan(): string | null {
  if (process.platform !== 'linux') return 'Linux'
  if (process.getuid?.() !== 0) return 'root to make networks'
  if (!existsSync('/dev/net/tun')) return '/dev/net/tun'
  const tool = ['nsenter', 'cc'].find((name) => !Bun.which(name))
  return tool === undefined ? null : `command "${tool}"`
}

/**
 * The primary and each edge in a network of its own, joined by a router (`wan.c`) that lets packets wait. This process
 * reaches all of them without a delay. Everything is gone when the router ends, at the latest with this process.
 */
export async function openWan(edges: readonly Distance[]): Promise<Network> {
  // Of the addresses that no real network has (RFC 2544), a range that no other cluster is likely to use.
  const addressOf = (host: number) => `198.18.${process.pid % 256}.${host}`
  const [here, middle] = [addressOf(1), addressOf(2)]
  const far = edges.map((edge, i) => ({ ...edge, address: addressOf(i + 3) }))
  const router = startRouter([
    `here=${here}/0`,
    `primary=${middle}/0`,
    ...far.map(({ region, address, roundTripMs }) => `${region}=${address}/${roundTripMs}`),
  ])
  const namespaces = await namespacesOf(router)
  const placeOf = (name: string, address: string): Place => ({
    within: ['nsenter', `--net=/proc/${router.pid}/fd/${namespaces.get(name)}`],
    host: address,
    port,
    url: `http://${address}:${port}`,
  })
  const databaseAddress = `${middle}:${databasePort}`
  const primary = { ...placeOf('primary', middle), databaseAddress }
  const links = { primaryOrigin: primary.url, databaseUrl: `http://${databaseAddress}` }
  return {
    primary,
    edges: far.map(({ region, address }) => ({ ...placeOf(region, address), region, ...links })),
    async close() {
      router.kill()
      await router.exited
    },
  }
}

type Router = Bun.Subprocess<'pipe', 'pipe', 'pipe'>

function startRouter(places: readonly string[]): Router {
  const folder = mkdtempSync(join(tmpdir(), 'perigee-wan-'))
  try {
    const program = join(folder, 'wan')
    const made = Bun.spawnSync(['cc', '-O2', '-o', program, join(import.meta.dir, 'wan.c')])
    if (!made.success) throw new CommandError(`The router of the wide network cannot be made: ${made.stderr}`)
    // In a process group of its own, so that Ctrl-C does not reach it: the nodes end first.
    return Bun.spawn([program, ...places], { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The descriptor of each place's namespace, by its name, which the router prints when all of them are there. */
async function namespacesOf(router: Router): Promise<ReadonlyMap<string, string>> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of router.stdout) {
    text += decoder.decode(chunk, { stream: true })
    if (text.endsWith('ready\n'))
      return new Map([...text.matchAll(/^(\S+) (\d+)$/gm)].map(([, name = '', fd = '']) => [name, fd]))
  }
  const complaint = await new Response(router.stderr).text()
  throw new CommandError(`The wide network cannot be made: ${complaint.trim()}.`)
}
