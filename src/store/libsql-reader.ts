import { createClient } from '@libsql/client/http'
import { Problem } from '../problem.ts'
import { bindable, fetchWithin, type LibsqlAddress, NoAnswer, NotTaken, rowOf } from './libsql-link.ts'
import type { Reader } from './reader.ts'

/** How long one statement may take over HTTP, in milliseconds. */
const readMsMax = 10_000

/** Statements in flight at once: sqld takes four connections, and one is the writer's. */
const readsAtOnce = 3

/** Statements in flight and waiting; one more would wait longer than its caller does. */
const readsMax = 1_000

/**
 * Reads sqld or Turso over HTTP, one request for a statement. Whether there was a commit is not known here, so every
 * generation is a new one, and nothing that is kept by it is used again.
 */
export function openLibsqlReader({ url, token }: LibsqlAddress): Reader {
  const client = createClient({
    url,
    intMode: 'number',
    concurrency: readsAtOnce,
    fetch: fetchWithin(readMsMax),
    ...(token !== null && { authToken: token }),
  })
  let generation = 0
  let underWay = 0
  return {
    async rows(sql, args) {
      if (underWay >= readsMax) throw new Problem('overloaded', { headers: { 'Retry-After': '1' } })
      underWay++
      try {
        const { rows } = await client.execute({ sql, args: bindable(args) })
        return rows.map(rowOf)
      } catch (error) {
        throw error instanceof NotTaken || error instanceof NoAnswer ? unreachable() : error
      } finally {
        underWay--
      }
    },
    generation: () => ++generation,
    expire() {},
    newsPauseMs: 250,
    close: () => client.close(),
  }
}

function unreachable(): Problem {
  const detail = "The primary's database cannot be reached."
  return new Problem('primary-unreachable', { detail, headers: { 'Retry-After': '1' } })
}
