/** workerd by itself, on a configuration of its own: nothing else is between a request and its program. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { freePort } from '../test/support/sqld.ts'
import { cpuSeconds, pinned } from './machine.ts'
import type { BenchServer, ServerName } from './server.ts'

export interface Program {
  readonly name: ServerName
  /** Its one module. */
  readonly file: string
  /** The class of its Durable Object, bound as REPLICA; null where it has none. */
  readonly object: string | null
  readonly env: Readonly<Record<string, string>>
}

/** The program that wrangler's workerd is. */
const workerd = (() => {
  const require = createRequire(createRequire(import.meta.url).resolve('miniflare'))
  const { default: path } = require('workerd') as { default: string }
  return path
})()

/** The date of the project's own settings. */
const [, compatibilityDate = ''] =
  /compatibility_date = "([^"]+)"/.exec(readFileSync(join(import.meta.dir, '..', 'wrangler.toml'), 'utf8')) ?? []

/** Starts it in a folder of its own and waits until it answers. Durable Objects are kept there, in SQLite on the disk. */
export async function startWorkerd(
  { name, file, object, env }: Program,
  folder: string,
  core: number | null,
): Promise<BenchServer> {
  const objects = join(folder, 'objects')
  mkdirSync(objects, { recursive: true })
  const port = freePort()
  const text = (value: string) => JSON.stringify(value)
  const bindings = Object.entries(env).map(([key, value]) => `(name = ${text(key)}, text = ${text(value)})`)
  if (object !== null) bindings.push(`(name = "REPLICA", durableObjectNamespace = ${text(object)})`)
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "program", worker = .program),
    (name = "objects", disk = (path = ${text(objects)}, writable = true)),
    (name = "internet", network = (allow = ["local", "private", "public"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "program")],
);
const program :Workerd.Worker = (
  modules = [(name = ${text(basename(file))}, esModule = embed ${text(basename(file))})],
  compatibilityDate = ${text(compatibilityDate)},
  bindings = [${bindings.join(', ')}],
  ${
    object === null
      ? ''
      : `durableObjectNamespaces = [(className = ${text(object)}, uniqueKey = "replica", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),`
  }
);
`
  const configFile = join(dirname(file), `${name}.capnp`)
  writeFileSync(configFile, config)
  const child = Bun.spawn(pinned(core, [workerd, 'serve', configFile]), { stdio: ['ignore', 'ignore', 'inherit'] })
  const url = `http://127.0.0.1:${port}`
  const deadline = performance.now() + 30_000
  while (!(await fetch(url).catch(() => null))) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`workerd does not serve ${name}`)
    await Bun.sleep(5)
  }
  return {
    ...{ name, url, pid: child.pid },
    cpuSeconds: () => cpuSeconds(child.pid),
    async stop() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}
