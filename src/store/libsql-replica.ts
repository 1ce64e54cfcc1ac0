import { pathToFileURL } from 'node:url'
import { type Client, createClient } from '@libsql/client'
import { HttpServerError } from '@libsql/hrana-client'
import type { Epoch, Position, Seq } from '../log/position.ts'
import type { Copy, Sync } from './replica.ts'

export interface CopyOptions {
  /** The copy's file. No other process may write it. */
  readonly file: string
  /** The primary's database, and a token that may read it; null for none. */
  readonly url: string
  readonly token: string | null
}

/**
 * A copy as libSQL's embedded replica. Its native code blocks the process while it talks to the primary, prints to
 * stdout, and breaks on a file that another SQLite library has open in the same process: the process that opens a copy
 * does nothing else.
 */
export function openCopy({ file, url, token }: CopyOptions): Copy {
  const authToken = token === null ? {} : { authToken: token }
  let isAccepted = false
  let replica: Client | undefined

  async function sync(): Promise<Sync> {
    if (!isAccepted) await tryToken({ url, ...authToken })
    isAccepted = true
    replica ??= createClient({ url: pathToFileURL(file).href, syncUrl: url, ...authToken })
    const synced = await replica.sync()
    return { kind: 'synced', frames: synced?.frames_synced ?? 0, position: await positionOf(replica) }
  }

  return {
    sync: () =>
      sync().catch((error: Error) => {
        isAccepted = false
        return failed(error)
      }),
  }
}

/** How long the primary's database may take to say whether it takes the token, in milliseconds. */
const tokenMsMax = 3_000

/**
 * Reads with the token, and rejects where that fails. To the embedded replica a token that is refused, like a primary
 * that is away, is a handshake that timed out after three seconds of a blocked process.
 */
async function tryToken(config: { url: string; authToken?: string }) {
  const within = (request: Request) => fetch(request, { signal: AbortSignal.timeout(tokenMsMax) })
  const client = createClient({ ...config, fetch: within })
  try {
    await client.execute('select 1')
  } finally {
    client.close()
  }
}

const positionSql =
  "select (select value from meta where name = 'epoch') as epoch, (select coalesce(max(seq), 0) from changes) as seq"

/** Null before the tables have come. */
async function positionOf(replica: Client): Promise<Position | null> {
  try {
    const [row] = (await replica.execute(positionSql)).rows
    return row && row.epoch !== null ? { epoch: String(row.epoch) as Epoch, seq: Number(row.seq) as Seq } : null
  } catch (error) {
    if (/no such table/.test((error as Error).message)) return null
    throw error
  }
}

function failed(error: Error): Sync {
  const { cause, message } = error
  const refused = cause instanceof HttpServerError && (cause.status === 401 || cause.status === 403)
  const broken = /malformed|not a database|without a wal_index/.test(message)
  // The native code puts a trace of its own stack below the first line.
  const told = message.trim().split('\n')[0]?.slice(0, 200) ?? ''
  return { kind: 'failed', fault: refused ? 'refused' : broken ? 'broken' : 'passing', message: told }
}
