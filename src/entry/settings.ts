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

/** A setting's text by a test and what it says when the test fails. */
const setting = (test: (text: string) => boolean, expected: string) => z.string().refine(test, expected)

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
  ALLOWED_ORIGINS: z
    .string()
    .default('')
    .transform((text) => text.split(/[\s,]+/).filter((origin) => origin !== ''))
    .refine((origins) => origins.every(isOrigin), 'origins such as https://app.example.com, between commas'),
})

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
  const result = schema.safeParse(environment)
  if (!result.success) {
    const lines = result.error.issues.map((issue) => {
      const name = String(issue.path[0])
      return `${name}=${JSON.stringify(environment[name] ?? '')} is wrong: expected ${issue.message}.`
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
