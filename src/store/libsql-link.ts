import type { Value } from '../value.ts'
import type { Row } from './reader.ts'

/** A database of sqld or Turso, by its HTTP address; the token is null where it asks for none. */
export interface LibsqlAddress {
  readonly url: string
  readonly token: string | null
}

/** The database did not take the request: nothing of it was done. */
export class NotTaken extends Error {}

/** The request went out and no answer came back: it may have been carried out. */
export class NoAnswer extends Error {}

/** What Bun's fetch says where no connection came about. */
const notConnected =
  /^(ECONNREFUSED|ENOTFOUND|EAI_\w+|EHOSTUNREACH|ENETUNREACH|ConnectionRefused|FailedToOpenSocket|\w*CERT\w*)$/

/** Sends a request once and takes the whole answer, within `ms` milliseconds. Rejects with `NotTaken` or `NoAnswer`. */
export function fetchWithin(ms: number): (request: Request) => Promise<Response> {
  return async (request) => {
    const { status, headers, body } = await exchange(request, ms).catch((error: Error & { code?: unknown }) => {
      const Kind = notConnected.test(String(error.code)) ? NotTaken : NoAnswer
      throw new Kind(causeOf(error), { cause: error })
    })
    if (status >= 500) throw new NoAnswer(`HTTP ${status}`)
    if (status >= 300) throw new NotTaken(`HTTP ${status}: ${new TextDecoder().decode(body).slice(0, 200)}`)
    return new Response(body, { status, headers })
  }
}

/** What Bun's fetch says, without the question that it puts after it. */
function causeOf({ message }: Error): string {
  return message.replace(/(\. Is the computer able to access the url)?[.?]$/, '')
}

async function exchange(request: Request, ms: number) {
  // sqld would compress every answer otherwise, and most of them are small and go no further than this host.
  request.headers.set('Accept-Encoding', 'identity')
  const response = await fetch(request, { signal: AbortSignal.timeout(ms), redirect: 'manual' })
  return { status: response.status, headers: response.headers, body: await response.arrayBuffer() }
}

/** Values as the protocol binds them: it would take a plain number for a floating-point one. */
export function bindable(args: readonly Value[]): (string | number | bigint | null)[] {
  return args.map((value) => (typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value))
}

/** A row of the protocol's, with integers as numbers. Perigee's tables have no blobs. */
export function rowOf(row: ArrayLike<unknown>): Row {
  return Array.from(row, (value) => {
    if (typeof value === 'string' || typeof value === 'number' || value === null) return value
    throw new Error(`broken invariant: a column holds ${typeof value}`)
  })
}
