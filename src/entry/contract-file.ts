import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Contract } from '../version/contract.ts'
import { CommandError } from './node.ts'

/**
 * Published contracts are files of one folder, by the dates of their versions: `2026-03-01.json`, what `check` compares,
 * and `2026-03-01.openapi.json`, the OpenAPI document of the same day for people and generators. `sunsets.json` has the
 * sunsets that were announced.
 *
 * A contract has the digests of its own contents and of its document. So an edit by hand is noticed, of what they say and
 * not of how they are laid out; one that also makes the digest anew is not, nor is a file that is deleted: their history
 * in git shows these.
 */
interface PublishedFile {
  readonly contract: Contract
  readonly digests: { readonly contract: string; readonly openapi: string }
}

type Sunsets = Readonly<Record<string, string>>

export class ContractFolder {
  private readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** The dates of the published versions, oldest first. */
  dates(): string[] {
    if (!existsSync(this.path)) return []
    const dates = readdirSync(this.path).flatMap((name) => /^(\d{4}-\d\d-\d\d)\.json$/.exec(name)?.[1] ?? [])
    return dates.sort()
  }

  /** A contract as it was published. Throws a CommandError where it is not as it was. */
  read(date: string): Contract {
    const { contract, digests } = this.json(`${date}.json`) as Partial<PublishedFile>
    if (!contract || contract.version !== date || digests?.contract !== digestOf(contract)) throw edited(`${date}.json`)
    if (digests.openapi !== digestOf(this.json(`${date}.openapi.json`))) throw edited(`${date}.openapi.json`)
    return contract
  }

  write(contract: Contract, document: object) {
    const digests = { contract: digestOf(contract), openapi: digestOf(document) }
    // The contract is last: without its document, it would be no contract.
    this.put(`${contract.version}.openapi.json`, document)
    this.put(`${contract.version}.json`, { digests, contract } satisfies PublishedFile)
  }

  /** The day of each version's sunset, as it was announced. */
  sunsets(): Sunsets {
    return existsSync(join(this.path, 'sunsets.json')) ? (this.json('sunsets.json') as Sunsets) : {}
  }

  announce(sunsets: Sunsets) {
    this.put('sunsets.json', sunsets)
  }

  private json(name: string): object {
    try {
      const value: unknown = JSON.parse(readFileSync(join(this.path, name), 'utf8'))
      if (typeof value === 'object' && value !== null) return value
    } catch {
      // It is missing, or no JSON.
    }
    throw edited(name)
  }

  private put(name: string, value: object) {
    mkdirSync(this.path, { recursive: true })
    writeFileSync(join(this.path, name), `${printed(value)}\n`)
  }
}

function edited(name: string): CommandError {
  return new CommandError(
    `src/model/contracts/${name} is not as it was published. A published contract is never edited: bring it back from git.`,
  )
}

function digestOf(value: object): string {
  return new Bun.CryptoHasher('sha256').update(JSON.stringify(value)).digest('hex')
}

const lineCharsMax = 120

/** JSON with one line for whatever has room in it, so that a file is short and its differences are too. */
export function printed(value: unknown, indent = ''): string {
  const flat = JSON.stringify(value)
  if (typeof value !== 'object' || value === null || indent.length + flat.length <= lineCharsMax) return flat
  const inside = `${indent} `
  const lines = Array.isArray(value)
    ? value.map((each) => printed(each, inside))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${printed(each, inside)}`)
  const [open, close] = Array.isArray(value) ? '[]' : '{}'
  return `${open}\n${lines.map((line) => inside + line).join(',\n')}\n${indent}${close}`
}
