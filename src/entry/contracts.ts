import { openApiDocument } from '../http/openapi.ts'
import { isSame } from '../schema/evaluate.ts'
import type { Model } from '../schema/model.ts'
import type { Json } from '../value.ts'
import { type Break, breaksOf, type LensPlace } from '../version/compatibility.ts'
import { type Contract, contractOf } from '../version/contract.ts'
import { buildViews, type View } from '../version/view.ts'
import { type Members, modelDocument, pathsOf } from './contract-document.ts'
import { ContractFolder } from './contract-file.ts'
import { CommandError } from './node.ts'

/** What `contracts check` found. */
export interface ContractReport {
  /** How many published contracts were compared. */
  readonly compared: number
  /** What is broken, a line each, that of the newest version first. */
  readonly broken: readonly string[]
  /** What is left to do, a line each; nothing is wrong. */
  readonly hints: readonly string[]
}

/** What the model promises at one version now. */
interface Present {
  readonly view: View
  readonly contract: Contract
  readonly document: Members
}

/**
 * Compares every published contract in `folder` with the model. A version that has none yet may change in any way. What
 * is compared is data: who may read and write, checks that are written as functions, and what Perigee itself answers are
 * no part of a contract. `today` is a date, YYYY-MM-DD: after its sunset, a version promises nothing.
 */
export function checkContracts(folder: string, model: Model, today: string): ContractReport {
  const files = new ContractFolder(folder)
  const sunsets = files.sunsets()
  const presents = presentOf(model)
  const dates = files.dates()
  const broken = dates.toReversed().map((date) => {
    const published = readOrTell(files, date)
    if (typeof published === 'string') return [published]
    if (isOver(sunsets[date], today)) return []
    return breaksOfVersion(published, presents, dates, sunsets[date])
  })
  const early = presents.flatMap(({ view }) => sunsetMistake(view, sunsets) ?? [])
  const order = broken.filter((each) => each.length > 0).length > 1 ? [newestFirst] : []
  return {
    compared: dates.length,
    broken: [...broken.flat(), ...early, ...order],
    hints: hintsOf(presents, dates, files),
  }
}

const newestFirst =
  'Mend the newest version first: what is right there is right in those before it, through their lenses.'

/**
 * Writes the contract of each version that has none yet, or of one version, and announces sunsets. Answers what it did, a
 * line each. Throws a CommandError where a published contract does not hold, or is to be written that is there and
 * differs: nothing is written then.
 */
export function publishContracts(folder: string, model: Model, today: string, only?: string): string[] {
  const { broken } = checkContracts(folder, model, today)
  const files = new ContractFolder(folder)
  const dates = files.dates()
  const presents = presentOf(model).filter(({ contract }) => only === undefined || contract.version === only)
  if (only !== undefined && dates.includes(only)) {
    for (const { contract } of presents) refuseOther(files.read(only), contract)
  }
  if (broken.length > 0) throw new CommandError(broken.join('\n'))
  const done = presents.map(({ contract, document }) => {
    const { version } = contract
    if (dates.includes(version)) return `${version} is published already.`
    files.write(contract, document)
    return `Wrote src/model/contracts/${version}.json and ${version}.openapi.json. Commit them.`
  })
  return [...done, ...announce(files, presents)]
}

function presentOf(model: Model): Present[] {
  const views = new Set(buildViews(model).values())
  return [...views].map((view) => {
    const whole = JSON.parse(openApiDocument(model, view)) as Members
    const document = modelDocument(whole, [...view.resources.keys()])
    return { view, document, contract: contractOf(view, pathsOf(document)) }
  })
}

function breaksOfVersion(
  published: Contract,
  presents: readonly Present[],
  dates: readonly string[],
  sunset: string | undefined,
): string[] {
  const { version, alias } = published
  const present = presents.find(({ contract }) => contract.version === version)
  if (!present) {
    const until = sunset === undefined ? 'no sunset was announced for it' : `its sunset is ${sunset}`
    return [
      `${version} (published): the version is gone, and ${until}. Keep version("${version}", { alias: "${alias}", ... }) until its sunset has passed.`,
    ]
  }
  const newest = presents.at(-1)?.contract.version ?? version
  const at: LensPlace = {
    version: dates.includes(newest) ? null : newest,
    tableOf: (name) => present.view.resources.get(name)?.resource.name,
  }
  return [...breaksOf(published, present.contract, at)].map(lineOf)
}

function lineOf({ place, version, text }: Break): string {
  return `${place} at ${version} (published): ${text}`
}

function readOrTell(files: ContractFolder, date: string): Contract | string {
  try {
    return files.read(date)
  } catch (error) {
    if (error instanceof CommandError) return error.message
    throw error
  }
}

function isOver(sunset: string | undefined, today: string): boolean {
  return sunset !== undefined && sunset <= today
}

/** A sunset may be put off, and not be brought forward: clients were told of it. */
function sunsetMistake({ version: { date, sunset } }: View, sunsets: Readonly<Record<string, string>>): string | null {
  const announced = sunsets[date]
  if (announced === undefined || sunset === null || sunset >= announced) return null
  return `${date} (published): its sunset was announced as ${announced}, and is ${sunset} now. Put it off or leave it.`
}

function hintsOf(presents: readonly Present[], dates: readonly string[], files: ContractFolder): string[] {
  const sunsets = files.sunsets()
  return presents.flatMap(({ view: { version } }) => {
    if (!dates.includes(version.date))
      return [`${version.date} is not published yet, and may still change: "bun run contracts publish" fixes it.`]
    const isAnnounced = version.sunset === null || sunsets[version.date] === version.sunset
    return isAnnounced ? [] : [`${version.date} has a sunset to announce: "bun run contracts publish" does.`]
  })
}

function announce(files: ContractFolder, presents: readonly Present[]): string[] {
  const announced = files.sunsets()
  const declared = presents.flatMap(({ view: { version } }) =>
    version.sunset === null ? [] : [[version.date, version.sunset] as const],
  )
  const news = declared.filter(([date, sunset]) => announced[date] !== sunset)
  if (news.length === 0) return []
  files.announce(Object.fromEntries(Object.entries({ ...announced, ...Object.fromEntries(news) }).sort()))
  return news.map(([date, sunset]) => `Announced the sunset of ${date}: ${sunset}.`)
}

function refuseOther(published: Contract, present: Contract) {
  const places = [...differences(published as unknown as Json, present as unknown as Json, '')]
  if (places.length === 0) return
  const shown = places.slice(0, 10).join(', ') + (places.length > 10 ? ` and ${places.length - 10} more` : '')
  throw new CommandError(
    `${published.version} is published, and its contract would be another now: ${shown}. A published contract is never edited: what is new is promised by a new version.`,
  )
}

/** The places where two JSON values differ, as JSON pointers. */
function* differences(a: Json | undefined, b: Json | undefined, pointer: string): Generator<string> {
  if (a !== undefined && b !== undefined && isSame(a, b)) return
  const [one, other] = [membersOf(a), membersOf(b)]
  if (!one || !other) {
    yield pointer
    return
  }
  for (const name of new Set([...Object.keys(one), ...Object.keys(other)])) {
    if (one[name] !== undefined || other[name] !== undefined)
      yield* differences(one[name], other[name], `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`)
  }
}

function membersOf(value: Json | undefined): Readonly<Record<string, Json>> | null {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isObject ? (value as Readonly<Record<string, Json>>) : null
}
