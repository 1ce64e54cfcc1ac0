import { RedisClient, type Subprocess } from 'bun'
import { endingWithTests } from './process.ts'
import { temporaryFolder } from './server.ts'
import { freePort } from './sqld.ts'

/** Whether Redis is on this machine; tests that need it say so and are skipped where it is not. */
export const hasRedis = Bun.which('redis-server') !== null
if (!hasRedis) console.warn('SKIPPED: redis-server is not installed, so what is kept in Redis is not tested here')

/** What the front does with a request: passes it on, answers nothing for this long before, or answers this text instead. */
export type Mood = 'sound' | { readonly slowMs: number } | { readonly status: number; readonly text: string }

/** A real Redis on a free port, and before it a server that speaks as much of Upstash's REST API as its client asks for. */
export interface TestRedis {
  readonly url: string
  readonly token: string
  mood: Mood
  /** Called with each pipeline of commands before it is passed on. */
  before: (commands: readonly (readonly unknown[])[]) => unknown
  /** Requests that came to the front. */
  readonly requests: number
  /** One command to Redis itself. */
  send(name: string, ...args: string[]): Promise<unknown>
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void
  kill(): Promise<void>
  restart(): Promise<void>
  remove(): Promise<void>
}

export async function startRedis(): Promise<TestRedis> {
  const folder = temporaryFolder()
  const port = freePort()
  const token = 'a-token-that-is-never-told'
  let child: Subprocess
  let redis: RedisClient
  let requests = 0
  const start = async () => {
    const settings = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', folder.path]
    child = Bun.spawn([...endingWithTests, 'redis-server', ...settings], { stdout: 'ignore', stderr: 'ignore' })
    redis = new RedisClient(`redis://127.0.0.1:${port}`, { maxRetries: 200, autoReconnect: true })
    await redis.send('PING', [])
  }
  const kill = async () => {
    redis.close()
    child.kill('SIGKILL')
    await child.exited
  }
  await start()
  const run = (command: readonly unknown[]) => {
    const [name = '', ...args] = command.map(String)
    return redis.send(name, args).then(
      (answer) => ({ result: encoded(answer) }),
      (error: Error) => ({ error: error.message }),
    )
  }
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      requests++
      if (request.headers.get('authorization') !== `Bearer ${token}`)
        return Response.json({ error: 'WRONGPASS' }, { status: 401 })
      const body = (await request.json()) as unknown[]
      const isPipeline = new URL(request.url).pathname === '/pipeline'
      const commands = (isPipeline ? body : [body]) as unknown[][]
      const { mood } = front
      if (mood !== 'sound' && 'text' in mood) return new Response(mood.text, { status: mood.status })
      if (mood !== 'sound') await Bun.sleep(mood.slowMs)
      await front.before(commands)
      const answers = await Promise.all(commands.map(run))
      if (isPipeline) return Response.json(answers)
      const [answer] = answers
      return Response.json(answer, { status: answer && 'error' in answer ? 400 : 200 })
    },
  })
  const front: TestRedis = {
    url: `http://127.0.0.1:${server.port}`,
    token,
    mood: 'sound',
    before: () => undefined,
    get requests() {
      return requests
    },
    send: (name, ...args) => redis.send(name, args),
    signal: (signal) => child.kill(signal),
    kill,
    restart: start,
    async remove() {
      await server.stop(true)
      await kill()
      folder.remove()
    },
  }
  return front
}

/** Texts in base64, as the client asks for them, and numbers as they are. */
function encoded(answer: unknown): unknown {
  if (Array.isArray(answer)) return answer.map(encoded)
  return typeof answer === 'string' && answer !== 'OK' ? Buffer.from(answer).toString('base64') : answer
}
