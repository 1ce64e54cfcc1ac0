import http from 'node:http'
import https from 'node:https'
import type { LookupFunction } from 'node:net'
import { limits } from '../schema/limits.ts'
import type { Target } from './target.ts'

/** How a receiver answered, or why it did not. */
export type Answer =
  | { readonly status: number; readonly error: null }
  | { readonly status: null; readonly error: string }

/**
 * Posts a payload and answers the status, when the answer has come or was cut off at `sentAnswerBytesMax`: of its body
 * nothing is kept. It goes to the addresses of the target, whatever its name means by now; TLS checks the name. Nothing
 * is followed. Never rejects.
 */
export function send(
  { url, addresses }: Target,
  payload: string,
  headers: Readonly<Record<string, string>>,
  { msMax, signal }: { readonly msMax: number; readonly signal: AbortSignal },
): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>()
  const { request } = url.protocol === 'https:' ? https : http
  const body = Buffer.from(payload)
  const sending = request(url, {
    method: 'POST',
    agent: false,
    lookup: pinned(addresses),
    headers: {
      ...headers,
      'Content-Type': 'application/json',
      'Content-Length': String(body.length),
      'User-Agent': 'Perigee-Webhooks/1.0',
      'Accept-Encoding': 'identity',
    },
  })
  const end = (answer: Answer) => {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    resolve(answer)
    sending.destroy()
  }
  const failed = (error: string) => end({ status: null, error })
  const stop = () => failed('This server stopped meanwhile.')
  const timer = setTimeout(() => failed(`There was no whole answer within ${msMax / 1000} seconds.`), msMax)
  signal.addEventListener('abort', stop)
  sending.on('error', (error) => failed(reasonOf(error)))
  sending.on('response', (response) => {
    const status = response.statusCode ?? 0
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > limits.sentAnswerBytesMax) end({ status, error: null })
    })
    response.on('end', () => end({ status, error: null }))
    response.on('error', (error) => failed(reasonOf(error)))
    response.on('aborted', () => failed('The answer broke off.'))
  })
  sending.end(body)
  return promise
}

/** Answers what was checked, and asks nobody. */
function pinned(addresses: Target['addresses']): LookupFunction {
  return (_, { all }, answer) => {
    const [first] = addresses
    if (all) answer(null, [...addresses])
    else if (first) answer(null, first.address, first.family)
  }
}

/** What went wrong, in a few words that every receiver may know of itself. */
function reasonOf(error: Error): string {
  const code = 'code' in error ? String(error.code) : ''
  return `The connection failed${code === '' ? '' : `: ${code}`}.`
}
