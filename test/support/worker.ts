import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { Miniflare } from 'miniflare'
import { projectRoot } from './project.ts'
import { type Answer, type CallOptions, call } from './server.ts'

/** The Worker in a workerd of its own, as wrangler bundles it. */
export interface TestWorker {
  readonly url: string
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  /** The process of workerd. */
  readonly pid: number
  /** What it has written that is no answer: complaints of its program and of workerd itself. */
  complaints(): string
  /** What is kept in KV, by its names. */
  kvEntries(): Promise<[name: string, value: string][]>
  kvNames(): Promise<string[]>
  /** Ends workerd with SIGKILL. Another may go on in its folder. */
  kill(): Promise<void>
  stop(): Promise<void>
}

export interface WorkerOptions {
  /** Variables and secrets, as wrangler.toml and `wrangler secret` give them. */
  readonly env: Readonly<Record<string, string>>
  /** Where Durable Objects and KV are kept, so that another Worker may go on with them. */
  readonly folder: string
  /** Without KV where false. */
  readonly hasKv?: boolean
  /** Where it listens; a free port by default. */
  readonly port?: number
}

/** What wrangler makes of the project for `wrangler deploy`. */
export interface Bundle {
  readonly file: string
  readonly assets: string
  /** What `wrangler deploy` says of the size of the program, in KiB after gzip. */
  readonly gzipKiB: number
}

let bundled: Promise<Bundle> | undefined

/** Bundles once for all tests of a run. */
export function bundle(): Promise<Bundle> {
  bundled ??= runWrangler()
  return bundled
}

async function runWrangler(): Promise<Bundle> {
  const folder = mkdtempSync(join(tmpdir(), 'perigee-test-'))
  // By Bun itself, so that a machine without Node can.
  const command = [process.execPath, '--bun', 'node_modules/.bin/wrangler', 'deploy', '--dry-run', '--outdir', folder]
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const wrangler = Bun.spawn(command, {
    cwd: projectRoot,
    env: { ...Bun.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_HIDE_BANNER: 'true', CI: 'true' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, err, code] = await Promise.all([
    new Response(wrangler.stdout).text(),
    new Response(wrangler.stderr).text(),
    wrangler.exited,
  ])
  const size = /gzip: ([\d.]+) KiB/.exec(out)?.[1]
  if (code !== 0 || size === undefined) throw new Error(`wrangler does not bundle: ${out}${err}`)
  return { file: join(folder, 'worker.js'), assets: join(projectRoot, '.wrangler', 'assets'), gzipKiB: Number(size) }
}

export async function startWorker({ env, folder, hasKv = true, port }: WorkerOptions): Promise<TestWorker> {
  const { file, assets } = await bundle()
  const before = workerdPids()
  let complaints = ''
  const hear = (stream: Readable) =>
    stream.on('data', (text: Buffer) => {
      complaints += text
    })
  const miniflare = new Miniflare({
    ...(port !== undefined && { port }),
    modules: [{ type: 'ESModule', path: file }],
    modulesRoot: dirname(file),
    compatibilityDate: '2026-04-26',
    durableObjects: { REPLICA: { className: 'ReplicaObject', useSQLite: true } },
    handleRuntimeStdio: (...streams: Readable[]) => streams.map(hear),
    durableObjectsPersist: join(folder, 'objects'),
    kvPersist: join(folder, 'kv'),
    ...(hasKv && { kvNamespaces: ['CACHE'] }),
    bindings: env,
    serviceBindings: {
      async ASSETS(request: Request) {
        const asset = join(assets, new URL(request.url).pathname)
        return existsSync(asset) ? new Response(await readFile(asset)) : new Response(null, { status: 404 })
      },
    },
  })
  const url = (await miniflare.ready).origin
  const [pid] = workerdPids().filter((each) => !before.includes(each))
  if (pid === undefined) throw new Error('workerd does not run')
  const kvNames = async () => {
    const kv = await miniflare.getKVNamespace('CACHE')
    return (await kv.list()).keys.map(({ name }) => name)
  }
  return {
    ...{ url, pid },
    complaints: () => complaints,
    call: (method, path, options) => call(url, method, path, options),
    async kvEntries() {
      const kv = await miniflare.getKVNamespace('CACHE')
      const names = await kvNames()
      return Promise.all(
        names.map(async (name): Promise<[string, string]> => [name, (await kv.get(name, 'text')) ?? '']),
      )
    },
    kvNames,
    async kill() {
      process.kill(pid, 'SIGKILL')
      await miniflare.dispose()
    },
    stop: () => miniflare.dispose(),
  }
}

/** The workerd processes that this process has started. */
function workerdPids(): number[] {
  const found = Bun.spawnSync(['pgrep', '-P', String(process.pid), 'workerd']).stdout.toString()
  return found.split('\n').filter(Boolean).map(Number)
}
