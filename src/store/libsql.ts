import { openHttp } from '@libsql/hrana-client'
import { Groups, isFailed, type Queue, type Settled } from './groups.ts'
import { commitGroup } from './libsql-group.ts'
import { fetchWithin, type LibsqlAddress, NoAnswer, NotTaken } from './libsql-link.ts'
import { Connection } from './libsql-script.ts'
import type { Batch, Primary } from './primary.ts'

export interface LibsqlOptions extends LibsqlAddress {
  readonly queue: Queue
  /**
   * Makes durable what a group came to, and answers what is then told; null where the server itself promises that. See
   * `sqld-log.ts`.
   */
  readonly durable: ((settled: Settled[]) => Promise<Settled[]>) | null
  /** A group has been committed; called before anyone is told the outcome. */
  readonly onCommit?: () => void
}

/** How long a group may take: then it is given up, its outcome unknown. */
const groupMsMax = 10_000

/** How long a connection is kept for the next group. sqld forgets one after ten seconds. */
const keptMsMax = 5_000

/**
 * A primary on sqld or Turso, over HTTP. A group is one request, and one is in flight at a time: sqld hangs for ever
 * where many transactions write at once. The connection is kept from one group to the next, because a new one reads
 * the whole schema first: 3 ms, ten times the rest of a small write (measured).
 */
export function openLibsql(options: LibsqlOptions): Primary {
  const client = openHttp(options.url, options.token ?? undefined, fetchWithin(groupMsMax))
  client.intMode = 'number'
  const kept = new Kept()
  const groups = new Groups({
    ...options.queue,
    send(group) {
      void commit(group).then((settled) => {
        options.onCommit?.()
        groups.settle(settled)
      })
    },
  })

  async function commit(group: readonly Batch[]): Promise<Settled[]> {
    try {
      const settled = await commitOnKept(group)
      return options.durable ? await options.durable(settled) : settled
    } catch (error) {
      if (error instanceof NotTaken) return group.map(() => ({ kind: 'failed', reason: 'unreachable' }))
      return group.map(() => (error instanceof Error && !(error instanceof NoAnswer) ? error : { kind: 'unknown' }))
    }
  }

  async function commitOnKept(group: readonly Batch[]): Promise<Settled[]> {
    const known = kept.take()
    const connection = known ?? new Connection(client)
    try {
      const settled = await commitGroup(connection, group)
      if (settled.some(isFailed)) connection.close()
      else kept.keep(connection)
      return settled
    } catch (error) {
      // A server that was started again knows no connection of before, and has done nothing.
      if (known && error instanceof NotTaken) return commitOnKept(group)
      throw error
    }
  }

  return {
    commit: (batch) => groups.commit(batch),
    stats: () => groups.stats(),
    async close() {
      await groups.finished()
      kept.take()?.close()
      client.close()
    },
  }
}

/** The connection that waits for the next group, for a while. */
class Kept {
  private connection: Connection | null = null
  private idle: ReturnType<typeof setTimeout> | undefined

  take(): Connection | null {
    clearTimeout(this.idle)
    const { connection } = this
    this.connection = null
    return connection
  }

  keep(connection: Connection) {
    this.connection = connection
    this.idle = setTimeout(() => this.take()?.close(), keptMsMax)
    this.idle.unref?.()
  }
}
