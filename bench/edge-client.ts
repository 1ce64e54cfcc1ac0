/**
 * A client of the edge benchmark: does one job that it reads as JSON from its input, in the network that it was started
 * in, and prints what it found as JSON. Run by edge-jobs.ts as a process of its own.
 */
import type { JobOf, Kind, Moment, ResultOf } from './edge-jobs.ts'

const now = () => performance.timeOrigin + performance.now()

interface Request {
  readonly url: string
  readonly key: string
}

async function get({ url, key }: Request, path: string, token?: string): Promise<Response> {
  const headers = { Authorization: `Bearer ${key}`, ...(token && { 'Consistency-Token': token }) }
  return answered(await fetch(url + path, { headers }))
}

async function create({ url, key }: Request, name: string): Promise<Response> {
  const response = await fetch(`${url}/users`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', 'Idempotency-Key': name },
    body: JSON.stringify({ handle: name, name: 'Somebody New' }),
  })
  return answered(response)
}

/** The answer, read to its end so that its connection is free for the next request. */
async function answered(response: Response): Promise<Response> {
  const text = await response.text()
  if (!response.ok) throw new Error(`${response.status} ${response.url}: ${text}`)
  return response
}

async function timed<T>(times: number[], work: Promise<T>): Promise<T> {
  const start = performance.now()
  const result = await work
  times.push(performance.now() - start)
  return result
}

const work: { readonly [K in Kind]: (job: JobOf<K>) => Promise<ResultOf<K>> } = {
  async reads(job) {
    const times: number[] = []
    for (let i = -job.warm; i < job.count; i++) {
      const path = job.paths[(i + job.warm) % job.paths.length] ?? '/'
      if (i < 0) await get(job, path)
      else await timed(times, get(job, path))
    }
    return times
  },

  async writes(job) {
    const result = { writes: [] as number[], reads: [] as number[] }
    await create(job, `${job.name}-warm`)
    for (let i = 0; i < job.count; i++) {
      const written = await timed(result.writes, create(job, `${job.name}-${i}`))
      if (job.readAt === null) continue
      const token = written.headers.get('consistency-token') ?? ''
      const there = { url: job.readAt, key: job.key }
      await timed(result.reads, get(there, written.headers.get('location') ?? '', token))
    }
    return result
  },

  /** Creates are sent when they are due, whether or not those before have been answered. */
  async paced(job) {
    const commits: Moment[] = []
    const sent: Promise<void>[] = []
    const send = async (number: number) => {
      const response = await create(job, `${job.name}-${number}`)
      // A token begins with the epoch and the position: `<epoch>.<seq>.<seal>`.
      commits.push([now(), Number(response.headers.get('consistency-token')?.split('.')[1])])
    }
    const start = performance.now()
    for (let elapsed = 0; elapsed < job.seconds; elapsed = (performance.now() - start) / 1000) {
      while (sent.length < elapsed * job.perSecond) sent.push(send(sent.length))
      await Bun.sleep(1)
    }
    await Promise.all(sent)
    return commits
  },

  /** Looks every two milliseconds, which is in the figures. */
  async watch(job) {
    const seen: Moment[] = []
    const until = now() + job.seconds * 1000
    while (now() < until) {
      const start = performance.now()
      const { position } = (await (await fetch(`${job.url}/readyz`)).json()) as { position: number }
      if (seen.at(-1)?.[1] !== position) seen.push([now(), position])
      await Bun.sleep(Math.max(0, 2 - (performance.now() - start)))
    }
    return seen
  },

  async load(job) {
    let count = 0
    const start = performance.now()
    const client = async (number: number) => {
      for (let i = 0; performance.now() - start < job.seconds * 1000; i++) {
        await create(job, `${job.name}-${number}-${i}`)
        count++
      }
    }
    await Promise.all(Array.from({ length: job.clients }, (_, number) => client(number)))
    return (count * 1000) / (performance.now() - start)
  },
}

async function run<K extends Kind>(job: JobOf<K>): Promise<ResultOf<K>> {
  return work[job.kind as K](job)
}

console.log(JSON.stringify(await run(await Bun.stdin.json())))
process.exit(0)
