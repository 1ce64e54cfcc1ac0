import { z } from 'zod'

/** The settings, read once from the environment. Each is listed in the README. */
export interface Settings {
  readonly port: number
  readonly host: string
  readonly dataDir: string
  readonly region: string
  /** The tenant whose public records may be read without a key; null for none. */
  readonly publicTenant: string | null
  readonly allowedOrigins: readonly string[]
}

export const tenantForm = /^[a-z0-9][a-z0-9_-]{0,62}$/

const schema = z.object({
  PORT: z.coerce.number('a port from 0 to 65535').int().min(0).max(65_535).default(8787),
  HOST: z.string().min(1, 'a host name or address, such as 127.0.0.1').default('127.0.0.1'),
  DATA_DIR: z.string().min(1, 'a folder').default('./data'),
  REGION: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/, '1 to 32 of a-z, 0-9 and dash')
    .default('local'),
  PUBLIC_TENANT: z.union([z.literal(''), z.string().regex(tenantForm, '1 to 63 of a-z, 0-9, _ and -')]).optional(),
  ALLOWED_ORIGINS: z
    .string()
    .default('')
    .transform((text) => text.split(/[\s,]+/).filter((origin) => origin !== ''))
    .refine((origins) => origins.every(isOrigin), 'origins such as https://app.example.com, between commas'),
})

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text
}

/** A setting is wrong. The message names each and what is expected. */
export class SettingsError extends Error {}

/** `publicTenant` is the default where the environment does not say. */
export function readSettings(
  environment: Readonly<Record<string, string | undefined>>,
  publicTenant: string | null,
): Settings {
  const result = schema.safeParse(environment)
  if (!result.success) {
    const lines = result.error.issues.map((issue) => {
      const name = String(issue.path[0])
      return `${name}=${JSON.stringify(environment[name] ?? '')} is wrong: expected ${expectation(issue.message)}.`
    })
    throw new SettingsError(lines.join('\n'))
  }
  const values = result.data
  return {
    port: values.PORT,
    host: values.HOST,
    dataDir: values.DATA_DIR,
    region: values.REGION,
    publicTenant: values.PUBLIC_TENANT === undefined ? publicTenant : values.PUBLIC_TENANT || null,
    allowedOrigins: values.ALLOWED_ORIGINS,
  }
}

function expectation(message: string): string {
  return /^(Invalid|Too)/.test(message) ? `a valid value (${message})` : message
}
