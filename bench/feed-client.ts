/**
 * The subscribers of the feed benchmark: reads its job as JSON from its input, follows the changes over as many
 * connections, and prints when those that it watches were told of which change, as JSON. A process of its own.
 */
import type { Moment } from './edge-jobs.ts'
import type { Subscription } from './feed.ts'

const now = () => performance.timeOrigin + performance.now()
const decoder = new TextDecoder()
const seen: Moment[] = []

const job = (await Bun.stdin.json()) as Subscription
const { hostname, port, pathname, search } = new URL(job.url)
const request = [
  `GET ${pathname}${search} HTTP/1.1`,
  `Host: ${hostname}`,
  `Authorization: Bearer ${job.key}`,
  'Accept: text/event-stream',
].join('\r\n')

/** Only those that are watched look at what they are told; the others read it, which is what makes the node work. */
async function subscribe(isWatched: boolean): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let text = ''
  const data = (_: unknown, bytes: Uint8Array) => {
    resolve()
    if (!isWatched) return
    const at = now()
    text += decoder.decode(bytes)
    const end = text.lastIndexOf('\n\n')
    for (const [, seq] of text.slice(0, end).matchAll(/^id: \w+\.(\d+)\..*\nevent: change$/gm))
      seen.push([at, Number(seq)])
    text = text.slice(Math.max(0, end))
  }
  const close = () => reject(new Error('the node ended a stream'))
  const socket = await Bun.connect({ hostname, port: Number(port), socket: { data, close, error: reject } })
  socket.write(`${request}\r\n\r\n`)
  return promise
}

for (let from = 0; from < job.clients; from += 100)
  await Promise.all(
    Array.from({ length: Math.min(100, job.clients - from) }, (_, i) => subscribe((from + i) % job.watchedEach === 0)),
  )
await Bun.sleep(job.seconds * 1_000)
console.log(JSON.stringify(seen))
process.exit(0)
