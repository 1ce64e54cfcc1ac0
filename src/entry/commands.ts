/** The command line: `bun src/entry/commands.ts COMMAND`; package.json names each as a script. */
import { parseArgs } from 'node:util'
import { nearest } from '../problem.ts'
import { uuidv7 } from '../schema/field.ts'
import { CommandError, projectRoot } from './node.ts'
import { SettingsError } from './settings.ts'

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
"${demoTenant}"), makes an API key, and serves. PUBLIC_TENANT is "${demoTenant}" unless it is set; empty, there is none.
${settingsHelp}`,
    run: async (args) => {
      noOptions('start', args)
      await (await actions()).start()
    },
  },
  serve: {
    usage: `bun run serve
Serves DATA_DIR as it is: no demo data, no demo key, no PUBLIC_TENANT unless it is set. The database must have been
migrated. With PRIMARY_ORIGIN the node is an edge: it reads a copy of the primary's database and sends writes on.
${settingsHelp}
  LIBSQL_URL  LIBSQL_TOKEN  the database at sqld or Turso, in place of a file in DATA_DIR
  LIBSQL_DIR       of a primary: the folder of the sqld at LIBSQL_URL, where it runs on this host
  PRIMARY_ORIGIN   of an edge: where the primary is, such as https://api.example.com; LIBSQL_URL is its database
  WORKERS (1)  REPLICA_LAG_MAX (60)  of an edge: processes that serve; seconds a copy may lag, else the primary is read`,
    run: async (args) => {
      noOptions('serve', args)
      await (await actions()).serve()
    },
  },
  primary: {
    usage: `bun run primary
bun run primary backup FILE
bun run primary restore FILE
bun run primary token [--days DAYS]
Serves as a primary node for edges: with a libSQL server (sqld) of its own in DATA_DIR, which it starts, watches, starts
again where it ends or hangs, and stops. Migrates the database first. A read-only token for replicas is kept in
DATA_DIR/replica-token. Edges have it as LIBSQL_TOKEN.
  backup   writes the database as it is now to FILE, which must not exist; the primary may run
  restore  puts FILE, a backup or the database of a standalone server, in place of the data, which is set aside; the
           primary must not run. Edges and tokens begin anew
  token    prints another read-only token for replicas, good for DAYS days (365)
${settingsHelp}
  LIBSQL_LISTEN    address that sqld listens on, for replicas (127.0.0.1:8788)`,
    run: primary,
  },
  dev: {
    usage: `bun run dev
As "bun start", and starts again whenever a file under src changes.`,
    run: async (args) => {
      noOptions('dev', args)
      const { dev } = await import('./dev.ts')
      await dev(import.meta.path)
    },
  },
  cluster: {
    usage: `bun run cluster [--dir FOLDER] [--wan]
Runs a primary and three edges on this machine, on free ports, as processes of the commands above, with the data of
"bun start". Prints their addresses, the primary's first, and on a terminal what each of them does, once a second.
Ctrl-C ends them all.
  --dir   keeps the data in FOLDER, for the next time; else it is removed in the end. FOLDER/dev-key has the API key
  --wan   puts 80, 120 and 200 ms of round trip between the edges and the primary, each in a network of its own. Needs
          Linux, root, /dev/net/tun, nsenter and a C compiler; without them it says so and does without`,
    run: async (args) => {
      const known = { dir: { type: 'string' }, wan: { type: 'boolean', default: false } } as const
      const { values } = options('cluster', args, known)
      if (values.dir === '') throw new UsageError('cluster', '--dir is a folder.')
      const { runCluster } = await import('./run-cluster.ts')
      await runCluster(values.dir === undefined ? undefined : String(values.dir), values.wan === true)
    },
  },
  generate: {
    usage: `bun run generate [--name NAME]
Writes the next migration under drizzle/ from what changed in src/model/. Migrations that are there stay as they are.
NAME is small letters, digits, - and _; "model" by default.`,
    run: async (args) => {
      const { name } = options('generate', args, { name: { type: 'string', default: 'model' } }).values
      if (!/^[a-z0-9_-]{1,50}$/.test(String(name)))
        throw new UsageError('generate', `"${name}" is no name: 1 to 50 of a-z, 0-9, - and _.`)
      const [{ generate }, { model }] = await Promise.all([import('./generate.ts'), import('../model/index.ts')])
      const made = await generate(projectRoot, model, String(name))
      if (!made) return console.log('The migrations already make the model.')
      console.log(`Wrote drizzle/${made.tag}.sql. Read it, commit it, then "bun run migrate".`)
      for (const note of made.notes) console.log(note)
    },
  },
  migrate: {
    usage: `bun run migrate
Brings the database in DATA_DIR to the newest migration; makes it where there is none. Where columns take the place of
others, fills them in steps, between the writes of nodes of the release before; one that was stopped goes on.`,
    run: async (args) => {
      noOptions('migrate', args)
      await (await actions()).migrate()
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
      await (await actions()).importPackages(folder, String(values.tenant))
    },
  },
  keys: {
    usage: `bun run keys create --tenant TENANT --scopes SCOPES [--subject USER_ID] [--version VERSION]
bun run keys list
bun run keys pin ID VERSION
bun run keys revoke ID
Makes, lists, pins and revokes API keys. SCOPES are names between commas: "read" and "write" as the API needs them, others
as the model's access rules name them. A key with a subject is bound by owner rules to that user's records; one
without acts for its whole tenant. The key itself is printed once and cannot be shown again.
A key is pinned to an API version, the newest of its day, which its requests get that name none. VERSION is the date or
alias of a version, or "default" for whichever the model names.`,
    run: keys,
  },
  contracts: {
    usage: `bun run contracts publish [VERSION]
bun run contracts check
A contract is what a version of the API promises its clients. They are kept under src/model/contracts/.
  publish  writes the contract and the OpenAPI document of each version that has none yet, or of VERSION, a date such as
           2026-11-01, and announces sunsets. A contract that is there is never written again
  check    compares the model with every published contract: what breaks one is named, with the lens that mends it. Ends
           with code 1 then. It is part of "bun run check"`,
    run: contracts,
  },
  projections: {
    usage: `bun run projections
bun run projections rebuild NAME
Lists the read models: what each does, the position of the log that it has read, and how many changes it is behind.
  rebuild  makes the rows of one anew from the records, beside those that serve, and puts them in their place. A server may
           run; stopped, it is gone on with by the next one, or by this command`,
    run: projections,
  },
  audit: {
    usage: `bun run audit [--repair]
Compares every derived column with its truth and prints what drifted; with --repair, sets it right.
Ends with code 1 where something drifted and was not repaired.`,
    run: async (args) => {
      const { values } = options('audit', args, { repair: { type: 'boolean', default: false } })
      await (await actions()).audit(values.repair === true)
    },
  },
}

/** Loaded when a command needs it, so that help and wrong arguments are answered without the model. */
const actions = () => import('./run.ts')

/** A command was called wrongly. */
class UsageError extends Error {
  readonly command: string
  constructor(command: string, message: string) {
    super(message)
    this.command = command
  }
}

type Options = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>

function options(command: string, args: string[], known: Options, allowPositionals = false) {
  try {
    return parseArgs({ args, options: known, allowPositionals })
  } catch (error) {
    throw new UsageError(command, `${(error as Error).message}.`.replace('..', '.'))
  }
}

function noOptions(command: string, args: string[]) {
  options(command, args, {})
}

async function keys(args: string[]) {
  const text = { type: 'string' } as const
  const known = { tenant: text, scopes: text, subject: text, version: text }
  const { values, positionals } = options('keys', args, known, true)
  const [action, id, version, ...rest] = positionals
  const { keysCreate, keysList, keysPin, keysRevoke } = await actions()
  if (action === 'create' && !id) {
    const { tenant, scopes, subject, version = 'newest' } = values
    if (!tenant || !scopes) throw new UsageError('keys', 'A key needs --tenant and --scopes.')
    const names = String(scopes).split(',')
    if (!names.every((scope) => /^[a-z][a-z0-9:_-]{0,63}$/.test(scope)))
      throw new UsageError('keys', 'Scopes are names between commas, such as read,write.')
    if (subject !== undefined && !uuidv7.test(String(subject)))
      throw new UsageError('keys', 'A subject is the id of a user, a UUID of version 7 in lower case.')
    await keysCreate(String(tenant), {
      ...{ scopes: [...new Set(names)], version: String(version) },
      subject: subject === undefined ? null : String(subject),
    })
  } else if (action === 'list' && !id) await keysList()
  else if (action === 'pin' && rest.length === 0) {
    if (!id || !version) throw new UsageError('keys', 'Name the id of the key, as "keys list" shows it, and a version.')
    await keysPin(id, version)
  } else if (action === 'revoke' && !version) {
    if (!id) throw new UsageError('keys', 'Name the id of the key, as "keys list" shows it.')
    await keysRevoke(id)
  } else throw new UsageError('keys', 'The actions are create, list, pin ID VERSION and revoke ID.')
}

async function projections(args: string[]) {
  const [action, name, ...rest] = options('projections', args, {}, true).positionals
  const { projectionsList, projectionsRebuild } = await actions()
  if (action === undefined) await projectionsList()
  else if (action === 'rebuild' && rest.length === 0) {
    if (!name) throw new UsageError('projections', 'Name the read model, as "projections" lists it.')
    await projectionsRebuild(name)
  } else throw new UsageError('projections', 'The actions are rebuild NAME, and none to list.')
}

async function contracts(args: string[]) {
  const [action, version, ...rest] = options('contracts', args, {}, true).positionals
  if (!['publish', 'check'].includes(action ?? '') || rest.length > 0 || (version !== undefined && action === 'check'))
    throw new UsageError('contracts', 'The actions are publish [VERSION] and check.')
  const [{ check, publish }, { model }] = await Promise.all([import('./run-contracts.ts'), import('../model/index.ts')])
  const dates = model.versions.map(({ date }) => date)
  if (version !== undefined && !dates.includes(version))
    throw new UsageError('contracts', `There is no version "${version}"; there are ${dates.join(', ')}.`)
  if (action === 'check') check(model)
  else publish(model, version)
}

async function primary(args: string[]) {
  const { values, positionals } = options('primary', args, { days: { type: 'string' } }, true)
  const [action, file, ...rest] = positionals
  if (rest.length > 0) throw new UsageError('primary', 'Name one file.')
  if (values.days !== undefined && action !== 'token') throw new UsageError('primary', '--days is of "token".')
  const { backup, restore, servePrimary, token } = await import('./run-primary.ts')
  if (action === undefined) await servePrimary()
  else if (action === 'token' && !file) token(daysOf(values.days))
  else if (action === 'backup' || action === 'restore') {
    if (!file) throw new UsageError('primary', `Name the file to ${action}.`)
    await (action === 'backup' ? backup(file) : restore(file))
  } else throw new UsageError('primary', 'The actions are backup FILE, restore FILE and token; none to serve.')
}

function daysOf(text: unknown): number | undefined {
  if (text === undefined) return undefined
  if (/^[1-9]\d{0,3}$/.test(String(text))) return Number(text)
  throw new UsageError('primary', '--days is a number from 1 to 9999.')
}

function help(): string {
  const lines = Object.values(commands).flatMap(({ usage }) =>
    usage.split('\n').filter((line) => line.startsWith('bun ')),
  )
  return `Perigee commands:\n\n${lines.map((line) => `  ${line}`).join('\n')}\n\nEach tells more with --help.`
}

async function main(args: string[]) {
  const [name, ...rest] = args
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') return console.log(help())
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) {
    const near = nearest(name, Object.keys(commands))
    console.error(`There is no command "${name}"${near ? `; did you mean "${near}"?` : '.'}\n\n${help()}`)
    process.exitCode = 2
    return
  }
  if (rest.includes('--help') || rest.includes('-h')) return console.log(command.usage)
  await command.run(rest)
}

/** What the user can mend is said without a stack trace; what we did wrong has one. */
function tell(error: unknown) {
  if (error instanceof UsageError) {
    console.error(`${error.message}\n\n${commands[error.command]?.usage}`)
    process.exitCode = 2
  } else if (error instanceof SettingsError) {
    console.error(error.message)
    process.exitCode = 2
  } else if (error instanceof CommandError || (error instanceof Error && error.name === 'ModelError')) {
    console.error(error.message)
    process.exitCode = 1
  } else throw error
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  tell(error)
}
