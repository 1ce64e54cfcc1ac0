import { model } from '../model/index.ts'
import { replicaTokenDays, startPrimary } from './primary.ts'
import { backUp, replicaToken, restore as restoreInto } from './primary-folder.ts'
import { readSettings, SettingsError } from './settings.ts'
import { announce } from './standalone.ts'

/** What the actions of `bun run primary` do once their arguments are understood. */

export async function servePrimary() {
  const settings = readSettings(process.env, null)
  for (const name of ['LIBSQL_URL', 'PRIMARY_ORIGIN'])
    if (process.env[name] !== undefined)
      throw new SettingsError(
        `${name} is set, but a primary is no edge and has a sqld of its own. Unset it, or "bun run serve".`,
      )
  await announce(startPrimary(settings, model), settings, (primary) => [
    `  edges  PRIMARY_ORIGIN=${primary.url} LIBSQL_URL=${primary.databaseUrl}   (LIBSQL_TOKEN is in ${primary.tokenFile})`,
  ])
}

export async function backup(file: string) {
  const { dataDir } = readSettings(process.env, null)
  const { bytes, epoch, seq } = backUp(dataDir, file)
  console.log(`Backed up ${dataDir} to ${file}: ${bytes} bytes, changes to number ${seq} of epoch ${epoch}.`)
}

export async function restore(file: string) {
  const { dataDir } = readSettings(process.env, null)
  const { aside, epoch, seq } = await restoreInto(dataDir, file)
  console.log(`Restored ${dataDir} from ${file}: changes to number ${seq}, from now on of epoch ${epoch}.`)
  if (aside) console.log(`What was there before is in ${aside}; remove it when you no longer want it.`)
}

export function token(days = replicaTokenDays) {
  console.log(replicaToken(readSettings(process.env, null).dataDir, days))
}
