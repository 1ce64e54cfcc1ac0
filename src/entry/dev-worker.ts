/**
 * `bun run worker`: the Worker edge on this machine, by `wrangler dev`, over a primary with data that it starts. PORT is
 * where the Worker listens, and DATA_DIR keeps both.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Cluster } from './cluster.ts'
import { flatNetwork } from './network.ts'
import { CommandError, projectRoot } from './node.ts'
import { readSettings, SettingsError } from './settings.ts'
import { writeWhole } from './sqld-keys.ts'
import { endingWithParent } from './supervise.ts'

/** Ends with the first signal, the Worker before its primary, and answers the exit code. */
async function run(): Promise<number> {
  const { port, dataDir } = readSettings({ DATA_DIR: './data/worker', ...process.env }, null)
  const folder = resolve(dataDir)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const network = flatNetwork([])
  const edgeOrigins = `http://127.0.0.1:${port}`
  const tell = (line: string) => console.error(line)
  const cluster = new Cluster({ folder, network, edgeOrigins, tell, progress: 'inherit' })
  const signalled = new Promise<void>((go) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, go)
  })
  try {
    await cluster.start()
    const [primary] = cluster.nodes
    if (!primary) throw new CommandError('The primary was not started.')
    const token = readFileSync(join(folder, 'primary', 'replica-token'), 'utf8').trim()
    const variables = {
      ...{ PRIMARY_ORIGIN: primary.url, LIBSQL_URL: `http://${network.primary.databaseAddress}`, LIBSQL_TOKEN: token },
      ...{ PUBLIC_TENANT: 'demo', REGION: 'local' },
    }
    console.log(`The primary is at ${primary.url}; the key of the tenant demo is in ${cluster.keyFile}.`)
    const worker = startWrangler(folder, port, variables)
    const ended = await Promise.race([worker.exited, signalled.then(() => null)])
    if (ended !== null) return ended
    worker.kill('SIGTERM')
    await worker.exited
    return 0
  } finally {
    await cluster.stop()
  }
}

function startWrangler(folder: string, port: number, variables: Readonly<Record<string, string>>) {
  const file = join(folder, 'variables')
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`)
  writeWhole(file, lines.join(''), 0o600)
  const wrangler = join(projectRoot, 'node_modules', '.bin', 'wrangler')
  const where = ['--ip', '127.0.0.1', '--port', String(port), '--persist-to', join(folder, 'wrangler')]
  return Bun.spawn([...endingWithParent('TERM'), wrangler, 'dev', ...where, '--env-file', file], {
    cwd: projectRoot,
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' },
    // Its own keys would take those of this terminal; Ctrl-C ends this process, which then ends all in order.
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  })
}

try {
  process.exit(await run())
} catch (error) {
  if (!(error instanceof CommandError || error instanceof SettingsError)) throw error
  console.error(error.message)
  process.exit(error instanceof SettingsError ? 2 : 1)
}
