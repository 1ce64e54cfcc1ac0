import { Problem } from '../problem.ts'
import { limits } from '../schema/limits.ts'

export const jsonType = 'application/json'
export const mergePatchType = 'application/merge-patch+json'

/** Reads a body of one media type, at most `bodyBytesMax`, and stops reading where it is longer. */
export async function readBody(request: Request, type: typeof jsonType | typeof mergePatchType): Promise<Uint8Array> {
  const { headers } = request
  refuseEncoding(headers.get('content-encoding'))
  const given = headers.get('content-type')
  if (given !== type && given?.split(';', 1)[0]?.trim().toLowerCase() !== type) {
    const accept = type === mergePatchType ? 'Accept-Patch' : 'Accept-Post'
    throw new Problem('unsupported-media-type', {
      detail: `Send the body with "Content-Type: ${type}".`,
      headers: { [accept]: type },
    })
  }
  return readBytes(request)
}

/** Reads a body of any type, at most `bodyBytesMax`, and stops reading where it is longer. */
export async function readBytes(request: Request): Promise<Uint8Array> {
  const length = request.headers.get('content-length')
  // Two equal lengths arrive as one text, "9, 9", which is no number and must not pass for a small one.
  if (length !== null && !(Number(length) <= limits.bodyBytesMax)) throw tooLarge()
  try {
    return length === null ? await readStream(request) : new Uint8Array(await request.arrayBuffer())
  } catch (error) {
    // The sender has gone, or what it sent is no body: not our fault, and nobody is left to read the answer.
    throw (error as Error).name === 'AbortError'
      ? new Problem('invalid-json', { detail: 'The body broke off.' })
      : error
  }
}

/** Whether a refused request may go on sending a body that nobody reads: its connection is closed after the answer. */
export function hasLongBody({ headers }: Request): boolean {
  return headers.has('transfer-encoding') || Number(headers.get('content-length')) > limits.bodyBytesMax
}

function refuseEncoding(encoding: string | null) {
  if (encoding === null || encoding === '' || encoding.toLowerCase() === 'identity') return
  throw new Problem('unsupported-content-encoding', {
    detail: `A body is sent as it is, without Content-Encoding.`,
    headers: { 'Accept-Encoding': 'identity' },
  })
}

async function readStream(request: Request): Promise<Uint8Array> {
  const chunks: Uint8Array<ArrayBuffer>[] = []
  let size = 0
  if (request.body === null) return new Uint8Array()
  for await (const chunk of request.body) {
    size += chunk.byteLength
    if (size > limits.bodyBytesMax) throw tooLarge()
    chunks.push(chunk)
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer())
}

function tooLarge(): Problem {
  return new Problem('content-too-large', {
    detail: `A body is at most ${limits.bodyBytesMax} bytes.`,
    headers: { Connection: 'close' }, // What is left of the body is not read.
  })
}
