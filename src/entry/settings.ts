import * as z from 'zod'
import { addressFamily } from '../address.ts'

/** The settings, read once from the environment. Each is listed in the README. */
export interface Settings {
  readonly port: number
  readonly host: string
  readonly dataDir: string
  readonly region: string
  /** The tenant whose public records may be read without a key; null for none. */
  readonly publicTenant: string | null
  readonly allowedOrigins: readonly string[]
  /** The libSQL server that has the database; null where it is a file in the data folder. */
  readonly libsql: LibsqlSettings | null
  /** Where the sqld of `bun run primary` listens, a host and a port. */
  readonly libsqlListen: string
  /** How long the log keeps changes that were overtaken, in days. */
  readonly logDays: number
  /** How long it is kept what became of a delivery to a webhook, in days. */
  readonly deliveryDays: number
  /** Origins that webhooks may be sent to wherever they are, plain HTTP and other ports included. */
  readonly webhookOrigins: readonly string[]
  /** Origins of Worker edges, which are told of each write. */
  readonly edgeOrigins: readonly string[]
  /** Upstash's REST API of a Redis that nodes share; null for none. */
  readonly redis: { readonly url: string; readonly token: string } | null
  readonly rateLimits: RateLimitSettings
}

/** Requests in a minute, null for as many as there are. */
export interface RateLimitSettings {
  readonly perKey: number | null
  readonly perAddress: number | null
  /** Proxies whose X-Forwarded-For tells whom they speak for. */
  readonly trustedProxies: readonly string[]
}

export interface LibsqlSettings {
  readonly url: string
  readonly token: string | null
  /** The `--db-path` of the sqld at `url`, where that runs on this host; else null. */
  readonly folder: string | null
}

/** Of a node that reads a copy beside its callers and sends writes on to its primary. */
export interface EdgeSettings extends Settings {
  readonly primaryOrigin: string
  /** The primary's database; the token need only read. */
  readonly libsql: LibsqlSettings
  /** Processes that serve, on one port. */
  readonly workers: number
  /** Where the copy is older than this, reads that ask for nothing are answered by the primary while that can be reached. */
  readonly lagMsMax: number
}

/** Of the Worker edge. Its bucket for a limit of rates is its copy's, so it shares none. */
export interface WorkerSettings extends Pick<Settings, 'publicTenant' | 'allowedOrigins' | 'rateLimits'> {
  /** The name of its one region; null for one beside each of Cloudflare's regions that has callers. */
  readonly region: string | null
  /** Null where it commits to the primary's database itself. */
  readonly primaryOrigin: string | null
  readonly libsql: LibsqlSettings
  readonly lagMsMax: number
}

export const tenantForm = /^[a-z0-9][a-z0-9_-]{0,62}$/

/** A setting's text by a test and what it says when the test fails. */
const setting = (test: (text: string) => boolean, expected: string) => z.string().refine(test, expected)

function days(usual: string) {
  return setting((text) => /^[1-9]\d{0,4}$/.test(text), 'days from 1 to 99999')
    .default(usual)
    .transform(Number)
}
const perMinute = setting((text) => /^[1-9]\d{0,6}$/.test(text), 'requests in a minute, from 1 to 9999999')
  .transform(Number)
  .optional()

const schema = z.object({
  PORT: setting((text) => /^\d{1,5}$/.test(text) && Number(text) <= 65_535, 'a port from 0 to 65535, such as 8787')
    .default('8787')
    .transform(Number),
  HOST: setting((text) => /^[^\s/]+$/.test(text), 'a host name or address, such as 127.0.0.1').default('127.0.0.1'),
  DATA_DIR: setting((text) => text.trim() !== '', 'a folder, such as ./data').default('./data'),
  REGION: setting((text) => /^[a-z0-9-]{1,32}$/.test(text), '1 to 32 of a-z, 0-9 and dash, such as eu-1').default(
    'local',
  ),
  PUBLIC_TENANT: setting(
    (text) => text === '' || tenantForm.test(text),
    '1 to 63 of a-z, 0-9, _ and -, or nothing for none',
  ).optional(),
  ALLOWED_ORIGINS: listOf(isOrigin, 'origins such as https://app.example.com, between commas'),
  LIBSQL_URL: setting(isDatabaseUrl, "the URL of the primary's database, such as libsql://db.example.com").optional(),
  LIBSQL_TOKEN: z.string().optional(),
  LIBSQL_DIR: setting((text) => text.trim() !== '', 'the folder of the sqld at LIBSQL_URL').optional(),
  LIBSQL_LISTEN: setting(isAddress, 'an address of this machine and a port, such as 127.0.0.1:8788').default(
    '127.0.0.1:8788',
  ),
  LOG_DAYS: days('90'),
  DELIVERY_DAYS: days('7'),
  WEBHOOK_ORIGINS: listOf(isOrigin, 'origins such as http://127.0.0.1:3000, between commas'),
  EDGE_ORIGINS: listOf(isOrigin, 'origins such as https://perigee.example.workers.dev, between commas'),
  UPSTASH_REDIS_REST_URL: setting(isRestUrl, 'the URL of a REST API, such as https://db.upstash.io').optional(),
  UPSTASH_REDIS_REST_TOKEN: z.string().optional(),
  RATE_LIMIT: perMinute,
  RATE_LIMIT_ADDRESS: perMinute,
  TRUSTED_PROXIES: listOf((address) => addressFamily(address) !== null, 'addresses such as 10.0.0.7, between commas'),
})

const edgeSchema = z.object({
  PRIMARY_ORIGIN: setting(isOrigin, 'an origin, such as https://api.example.com'),
  WORKERS: setting((text) => /^[1-9]\d?$/.test(text), 'a number of processes from 1 to 99')
    .default('1')
    .transform(Number),
  REPLICA_LAG_MAX: setting((text) => /^[1-9]\d{0,5}$/.test(text), 'seconds from 1 to 999999')
    .default('60')
    .transform(Number),
})

function listOf(test: (text: string) => boolean, expected: string) {
  return z
    .string()
    .default('')
    .transform((text) => text.split(/[\s,]+/).filter((each) => each !== ''))
    .refine((all) => all.every(test), expected)
}

function isRestUrl(text: string): boolean {
  return /^https?:\/\/[^\s/?#@]+\/?$/.test(text) && URL.canParse(text)
}

/** Anything that says more, a token say, would end up where URLs are shown. */
function isDatabaseUrl(text: string): boolean {
  return /^(libsql|https?):\/\/[^\s/?#@]+\/?$/.test(text) && URL.canParse(text)
}

/** sqld takes addresses, no names. */
function isAddress(text: string): boolean {
  const [, host = '', port] = /^(\[[\da-f:]+\]|[\d.]+):([1-9]\d{0,4})$/.exec(text) ?? []
  return addressFamily(host.replace(/^\[|\]$/g, '')) !== null && Number(port) <= 65_535
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text
}

/** A setting is wrong, or what it names cannot be used. The message names it and what is expected; the exit code is 2. */
export class SettingsError extends Error {}

/** `publicTenant` is the default where the environment does not say. */
export function readSettings(
  environment: Readonly<Record<string, string | undefined>>,
  publicTenant: string | null,
): Settings {
  const values = parse(schema, environment)
  return {
    port: values.PORT,
    host: values.HOST,
    dataDir: values.DATA_DIR,
    region: values.REGION,
    publicTenant: values.PUBLIC_TENANT === undefined ? publicTenant : values.PUBLIC_TENANT || null,
    allowedOrigins: values.ALLOWED_ORIGINS,
    libsql: libsqlOf(values),
    libsqlListen: values.LIBSQL_LISTEN,
    logDays: values.LOG_DAYS,
    deliveryDays: values.DELIVERY_DAYS,
    webhookOrigins: values.WEBHOOK_ORIGINS,
    edgeOrigins: values.EDGE_ORIGINS,
    redis: redisOf(values),
    rateLimits: {
      perKey: values.RATE_LIMIT ?? null,
      perAddress: values.RATE_LIMIT_ADDRESS ?? null,
      trustedProxies: values.TRUSTED_PROXIES,
    },
  }
}

function redisOf(values: z.output<typeof schema>): Settings['redis'] {
  const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = values
  if (url !== undefined && token) return { url, token }
  if (url === undefined && token === undefined) return null
  throw new SettingsError(
    'UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN are the two parts of one setting: expected both, or none.',
  )
}

function libsqlOf(values: z.output<typeof schema>): LibsqlSettings | null {
  const { LIBSQL_URL: url, LIBSQL_TOKEN: token, LIBSQL_DIR: folder = null } = values
  if (url !== undefined) return { url: url.replace(/^libsql:/, 'https:'), token: token || null, folder }
  if (folder === null) return null
  throw new SettingsError('LIBSQL_DIR is set without LIBSQL_URL: expected the URL of the sqld whose folder it is.')
}

/** The settings of an edge; null where PRIMARY_ORIGIN is not set, so that the node is none. */
export function readEdgeSettings(environment: Readonly<Record<string, string | undefined>>): EdgeSettings | null {
  if (environment.PRIMARY_ORIGIN === undefined) return null
  const { PRIMARY_ORIGIN: primaryOrigin, WORKERS: workers, REPLICA_LAG_MAX } = parse(edgeSchema, environment)
  const settings = readSettings(environment, null)
  const { libsql } = settings
  if (libsql === null)
    throw new SettingsError("PRIMARY_ORIGIN is set without LIBSQL_URL: expected the URL of the primary's database.")
  return { ...settings, libsql, primaryOrigin, workers, lagMsMax: REPLICA_LAG_MAX * 1_000 }
}

/** The settings of a Worker, from its variables and secrets. */
export function readWorkerSettings(environment: Readonly<Record<string, string | undefined>>): WorkerSettings {
  const { PRIMARY_ORIGIN: primaryOrigin = null, REPLICA_LAG_MAX } = parse(
    edgeSchema.partial({ PRIMARY_ORIGIN: true }),
    environment,
  )
  const { publicTenant, allowedOrigins, rateLimits, libsql, region } = readSettings(environment, null)
  if (libsql === null)
    throw new SettingsError(
      "LIBSQL_URL is not set: expected the URL of the primary's database, such as libsql://db.example.com.",
    )
  const lagMsMax = REPLICA_LAG_MAX * 1_000
  return {
    ...{ publicTenant, allowedOrigins, rateLimits, libsql, primaryOrigin, lagMsMax },
    region: environment.REGION === undefined ? null : region,
  }
}

function parse<T extends z.ZodType>(schema: T, environment: Readonly<Record<string, string | undefined>>): z.output<T> {
  const result = schema.safeParse(environment)
  if (result.success) return result.data
  const lines = result.error.issues.map((issue) => {
    const name = String(issue.path[0])
    return `${name}=${JSON.stringify(environment[name] ?? '')} is wrong: expected ${issue.message}.`
  })
  throw new SettingsError(lines.join('\n'))
}
