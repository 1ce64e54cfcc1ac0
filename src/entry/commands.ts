/** The command line: `bun src/entry/commands.ts COMMAND`; package.json names each as a script. */
import { parseArgs } from 'node:util'
import { model } from '../model/index.ts'
import { ModelError } from '../schema/check.ts'
import { startServer } from './bun.ts'
import { CommandError, migrateDataDir, type Node, openNode, projectRoot } from './node.ts'
import { readSettings, type Settings, SettingsError, tenantForm } from './settings.ts'

interface Command {
  readonly usage: string
  readonly run: (args: string[]) => Promise<void>
}

const settingsHelp = `Settings are environment variables:
  PORT (8787)  HOST (127.0.0.1)  DATA_DIR (./data)  REGION (local)
  PUBLIC_TENANT    tenant whose public records are read without a key
  ALLOWED_ORIGINS  origins of web pages that may call the API, between commas`

const demoTenant = 'demo'

const commands: Record<string, Command> = {
  start: {
    usage: `bun start
Migrates DATA_DIR, fills it with real data the first time (the packages under node_modules, as the tenant
"${demoTenant}"), makes an API key, and serves. PUBLIC_TENANT is "${demoTenant}" unless it is set.
${settingsHelp}`,
    run: async (args) => {
      noOptions('start', args)
      await start()
    },
  },
  serve: {
    usage: `bun run serve
Serves DATA_DIR as it is: no demo data, no demo key. The database must have been migrated.
${settingsHelp}`,
    run: async (args) => {
      noOptions('serve', args)
      await serve(readSettings(process.env, null), [])
    },
  },
  dev: {
    usage: `bun run dev
As "bun start", and starts again whenever a file under src changes.`,
    run: async (args) => {
      noOptions('dev', args)
      const child = Bun.spawn([process.execPath, '--watch', '--no-clear-screen', import.meta.path, 'start'], {
        stdio: ['inherit', 'inherit', 'inherit'],
      })
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
      process.exitCode = await child.exited
    },
  },
  generate: {
    usage: `bun run generate [--name NAME]
Writes the next migration under drizzle/ from what changed in src/model/. Committed migrations stay as they are.`,
    run: async (args) => {
      const { name } = options('generate', args, { name: { type: 'string', default: 'model' } }).values
      const { generate } = await import('./generate.ts')
      const tag = await generate(projectRoot, model, String(name))
      console.log(
        tag
          ? `Wrote drizzle/${tag}.sql. Read it, commit it, then "bun run migrate".`
          : 'The migrations already make the model.',
      )
    },
  },
  migrate: {
    usage: `bun run migrate
Brings the database in DATA_DIR to the newest migration.`,
    run: async (args) => {
      noOptions('migrate', args)
      const applied = await migrateDataDir(readSettings(process.env, null).dataDir)
      console.log(applied === 0 ? 'The database is up to date.' : `Applied ${applied} migration(s).`)
    },
  },
  import: {
    usage: `bun run import FOLDER [--tenant TENANT]
Reads the packages under a node_modules folder: READMEs become posts, authors users, keywords tags, of the tenant
"${demoTenant}" or the one given. Importing again changes nothing; an import that was stopped goes on.`,
    run: async (args) => {
      const { values, positionals } = options('import', args, { tenant: { type: 'string', default: demoTenant } }, true)
      const [folder] = positionals
      if (!folder || positionals.length > 1) throw new UsageError('import', 'Name one folder.')
      await withNode(async (node) => importInto(node, tenantOf(String(values.tenant)), folder))
    },
  },
  keys: {
    usage: `bun run keys create --tenant TENANT --scopes SCOPES [--subject USER_ID]
bun run keys list
bun run keys revoke ID
Makes, lists and revokes API keys. SCOPES are names between commas: "read" and "write" as the API needs them, others
as the model's access rules name them. A key with a subject is bound by owner rules to that user's records; one
without acts for its whole tenant. The key itself is printed once and cannot be shown again.`,
    run: keys,
  },
  audit: {
    usage: `bun run audit [--repair]
Compares every derived column with its truth and prints what drifted; with --repair, sets it right.
Ends with code 1 where something drifted and was not repaired.`,
    run: async (args) => {
      const { values } = options('audit', args, { repair: { type: 'boolean', default: false } })
      await withNode((node) => runAudit(node, values.repair === true))
    },
  },
}

/** A command was called wrongly. */
class UsageError extends Error {
  readonly command: string
  constructor(command: string, message: string) {
    super(message)
    this.command = command
  }
}

type Options = NonNullable<Parameters<typeof parseArgs>[0]>['options']

function options(command: string, args: string[], known: NonNullable<Options>, allowPositionals = false) {
  try {
    return parseArgs({ args, options: known, allowPositionals })
  } catch (error) {
    throw new UsageError(command, (error as Error).message)
  }
}

function noOptions(command: string, args: string[]) {
  options(command, args, {})
}

function tenantOf(text: string): string {
  if (tenantForm.test(text)) return text
  throw new CommandError(`"${text}" is no tenant: expected 1 to 63 of a-z, 0-9, _ and -.`)
}

async function start() {
  const settings = readSettings(process.env, demoTenant)
  const applied = await migrateDataDir(settings.dataDir)
  if (applied > 0) console.log(`Made the database in ${settings.dataDir} (${applied} migration(s)).`)
  const lines = await withNode(async (node) => {
    const [imported] = await node.reader.rows("select 1 from meta where name = 'imported'", [])
    if (!imported) await importInto(node, demoTenant, `${projectRoot}/node_modules`)
    await node.primary.commit({
      steps: [{ sql: "insert or ignore into meta(name, value) values ('imported', 'yes')", args: [] }],
    })
    const { devKey } = await import('./keys.ts')
    const key = await devKey(settings.dataDir, demoTenant, node.reader, node.primary)
    return [`  key    ${key}   (tenant ${demoTenant}, kept in ${settings.dataDir}/dev-key)`]
  }, settings)
  await serve(settings, lines)
}

async function serve(settings: Settings, lines: readonly string[]) {
  const server = await startServer(settings, model)
  console.log(`\nPerigee is at ${server.url}`)
  for (const line of lines) console.log(line)
  console.log(`  docs   ${server.url}/docs`)
  console.log(`  try    curl '${server.url}/posts?limit=2&fields=title,authorName&include=tags(fields:name)'\n`)
  const stop = async () => {
    await server.stop()
    process.exit(0)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
}

/** Opens the data folder's database for one command, beside a server that may be running on it. */
async function withNode<T>(work: (node: Node) => Promise<T>, settings = readSettings(process.env, null)): Promise<T> {
  const node = await openNode(settings.dataDir, model, (error) => {
    throw error
  })
  try {
    return await work(node)
  } finally {
    await node.close()
  }
}

async function importInto(node: Node, tenant: string, folder: string) {
  const { importFolder } = await import('./import.ts')
  const report = await importFolder(node, tenant, folder, (done, of) => {
    if (process.stdout.isTTY) process.stdout.write(`\rImporting packages ${done}/${of}`)
    else if (done === of || done % 160 === 0) console.log(`Importing packages ${done}/${of}`)
  })
  if (process.stdout.isTTY) process.stdout.write('\r\x1b[K')
  const { packages, users, tags, posts, postTags, unchanged, skipped } = report
  console.log(
    `Read ${packages} packages: wrote ${posts} posts, ${users} users, ${tags} tags, ${postTags} tags of posts; ${unchanged} records were there already.`,
  )
  const reasons = Map.groupBy(skipped, (each) => each.reason)
  for (const [reason, list] of reasons)
    console.log(
      `Skipped ${list.length} with ${reason}: ${list
        .slice(0, 3)
        .map((each) => each.folder)
        .join(', ')}${list.length > 3 ? ', ...' : ''}`,
    )
}

async function keys(args: string[]) {
  const known = { tenant: { type: 'string' }, scopes: { type: 'string' }, subject: { type: 'string' } } as const
  const { values, positionals } = options('keys', args, known, true)
  const [action, id] = positionals
  const { createKey, listKeys, revokeKey } = await import('./keys.ts')
  if (action === 'create') {
    if (!values.tenant || !values.scopes) throw new UsageError('keys', 'A key needs --tenant and --scopes.')
    const scopes = String(values.scopes)
      .split(',')
      .map((scope) => scope.trim())
    if (!scopes.every((scope) => /^[a-z][a-z0-9:_-]{0,63}$/.test(scope)))
      throw new UsageError('keys', 'Scopes are names such as read,write between commas.')
    const key = {
      tenant: tenantOf(String(values.tenant)),
      scopes,
      subject: values.subject ? String(values.subject) : null,
    }
    const made = await withNode((node) => createKey(node.primary, key))
    console.log(made.key)
    console.error(`Key ${made.id} of ${key.tenant} with ${scopes.join(', ')}. It is not shown again.`)
  } else if (action === 'list') {
    for (const key of await withNode((node) => listKeys(node.reader))) {
      console.log(
        [
          key.id,
          key.tenant,
          key.scopes.replaceAll(' ', ','),
          key.subject ?? '-',
          key.createdAt,
          key.revokedAt ? `revoked ${key.revokedAt}` : 'valid',
        ].join('\t'),
      )
    }
  } else if (action === 'revoke') {
    if (!id) throw new UsageError('keys', 'Name the id of the key, as "keys list" shows it.')
    await withNode((node) => revokeKey(node.primary, id))
    console.log(`Revoked ${id}. Servers stop taking it within 2 seconds.`)
  } else throw new UsageError('keys', 'The actions are create, list and revoke.')
}

async function runAudit(node: Node, repair: boolean) {
  const { audit } = await import('./audit.ts')
  const { drifted, queued } = await audit(model, node.reader, node.primary, repair, (drift) => {
    console.log(
      `${drift.tenant} ${drift.resource}/${drift.id} ${drift.column}: is ${JSON.stringify(drift.found)}, must be ${JSON.stringify(drift.expected)}`,
    )
  })
  if (queued > 0) console.log(`${queued} fan-out(s) are still queued; a running server finishes them.`)
  console.log(
    drifted === 0
      ? 'Every derived column is true.'
      : `${drifted} value(s) drifted${repair ? ' and were repaired' : ''}.`,
  )
  if (drifted > 0 && !repair) process.exitCode = 1
}

function help(): string {
  return `Perigee commands:\n\n${Object.values(commands)
    .map((command) => command.usage.split('\n')[0])
    .map((line) => `  ${line}`)
    .join('\n')}\n\nEach tells more with --help.`
}

async function main(args: string[]) {
  const [name, ...rest] = args
  const command = commands[name ?? '']
  if (!command) {
    console.log(help())
    if (name !== undefined && name !== '--help') process.exitCode = 2
    return
  }
  if (rest.includes('--help') || rest.includes('-h')) return console.log(command.usage)
  await command.run(rest)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${error.message}\n\n${commands[error.command]?.usage}`)
    process.exitCode = 2
  } else if (error instanceof SettingsError) {
    console.error(error.message)
    process.exitCode = 2
  } else if (error instanceof CommandError || error instanceof ModelError) {
    console.error(error.message)
    process.exitCode = 1
  } else throw error
}
