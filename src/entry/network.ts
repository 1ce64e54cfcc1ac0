/** Where a node of a cluster runs. */
export interface Place {
  /** Put before a command, it runs there; nothing where that is here. */
  readonly within: readonly string[]
  /** What the node listens on. */
  readonly host: string
  readonly port: number
  /** The node as this process reaches it. */
  readonly url: string
}

export interface PrimaryPlace extends Place {
  /** Where its sqld listens, as LIBSQL_LISTEN takes it. */
  readonly databaseAddress: string
}

export interface EdgePlace extends Place {
  readonly region: string
  /** The primary and its database, as this edge reaches them. */
  readonly primaryOrigin: string
  readonly databaseUrl: string
}

/** What joins the nodes of a cluster. */
export interface Network {
  readonly primary: PrimaryPlace
  readonly edges: readonly EdgePlace[]
  close(): Promise<void>
}

/** Everything on this host's loopback, on ports that are free now. */
export function flatNetwork(regions: readonly string[]): Network {
  const [port, databasePort, ...ports] = freePorts(2 + regions.length)
  const here = (port: number): Place => ({
    within: [],
    host: '127.0.0.1',
    port,
    url: `http://127.0.0.1:${port}`,
  })
  const database = `127.0.0.1:${databasePort}`
  const primary = { ...here(port ?? 0), databaseAddress: database }
  const links = { primaryOrigin: primary.url, databaseUrl: `http://${database}` }
  return {
    primary,
    edges: regions.map((region, i) => ({ ...here(ports[i] ?? 0), region, ...links })),
    close: () => Promise.resolve(),
  }
}

/** Held all at once, so that they differ, and let go. */
function freePorts(count: number): number[] {
  const held = Array.from({ length: count }, () =>
    Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } }),
  )
  const ports = held.map(({ port }) => port)
  for (const listener of held) listener.stop(true)
  return ports
}
