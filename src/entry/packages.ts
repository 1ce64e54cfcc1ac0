import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A package found under a node_modules folder: its manifest, and where its README is. */
export interface Package {
  readonly name: string
  readonly version: string
  readonly description: string
  readonly author: { readonly name: string; readonly url: string | null } | null
  readonly keywords: readonly string[]
  readonly meta: Readonly<Record<string, string>>
  readonly readmeFile: string
}

export type Skipped = { readonly folder: string; readonly reason: string }

const manifestBytesMax = 1_000_000

/** Every package directly under the folder or under one of its scopes, in the order of their names. */
export function scanPackages(folder: string): { packages: Package[]; skipped: Skipped[] } {
  const packages: Package[] = []
  const skipped: Skipped[] = []
  for (const name of packageFolders(folder)) {
    const found = readPackage(join(folder, name))
    if (typeof found === 'string') skipped.push({ folder: name, reason: found })
    else packages.push(found)
  }
  return { packages, skipped }
}

function packageFolders(folder: string): string[] {
  const names = readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .sort()
  return names.flatMap((name) => {
    if (!name.startsWith('@')) return [name]
    return readdirSync(join(folder, name))
      .filter((inner) => !inner.startsWith('.'))
      .sort()
      .map((inner) => `${name}/${inner}`)
  })
}

/** The package, or why it is skipped. */
function readPackage(folder: string): Package | string {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return 'not a folder'
  const manifestFile = join(folder, 'package.json')
  const size = statSync(manifestFile, { throwIfNoEntry: false })?.size
  if (size === undefined) return 'no package.json'
  if (size > manifestBytesMax) return 'a package.json of over 1 MB'
  let manifest: unknown
  try {
    manifest = JSON.parse(readFileSync(manifestFile, 'utf8'))
  } catch {
    return 'a package.json that is not JSON'
  }
  if (typeof manifest !== 'object' || manifest === null) return 'a package.json that is no object'
  const of = manifest as Record<string, unknown>
  const name = textOf(of.name)
  if (!name || name.length > 214) return 'a package.json without a name'
  const readmeFile = readdirSync(folder).find((each) => /^readme(\.(md|markdown|txt|rst))?$/i.test(each))
  if (!readmeFile || !existsSync(join(folder, readmeFile))) return 'no README'
  const keywords = Array.isArray(of.keywords) ? of.keywords.map(textOf).filter((each) => each !== '') : []
  return {
    name,
    version: textOf(of.version) || '0.0.0',
    description: textOf(of.description),
    author:
      [of.author, ...listOf(of.maintainers), ...listOf(of.contributors)].map(personOf).find((each) => each !== null) ??
      null,
    keywords: [...new Set(keywords.map((each) => each.toLowerCase().slice(0, 100)))].slice(0, 40),
    meta: metaOf(of),
    readmeFile: join(folder, readmeFile),
  }
}

/** Text without the characters that a field cannot hold. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '').trim() : ''
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

/** npm's two forms of a person: an object, or `Name <email> (url)`. */
function personOf(value: unknown): { name: string; url: string | null } | null {
  const of = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  const text = of ? textOf(of.name) : textOf(value)
  const name = text
    .replace(/<[^>]*>/g, '')
    .replace(/\([^)]*\)/g, '')
    .trim()
    .slice(0, 200)
  const url = of ? textOf(of.url) : (/\((https?:[^)]*)\)/.exec(text)?.[1] ?? '')
  const isUrl = /^https?:\/\//.test(url) && url.length <= 500 && URL.canParse(url)
  return name === '' ? null : { name, url: isUrl ? url : null }
}

function metaOf(of: Record<string, unknown>): Record<string, string> {
  const repository =
    typeof of.repository === 'object' && of.repository !== null
      ? (of.repository as { url?: unknown }).url
      : of.repository
  const entries = { version: of.version, license: of.license, homepage: of.homepage, repository }
  return Object.fromEntries(
    Object.entries(entries)
      .map(([name, value]) => [name, textOf(value).slice(0, 500)])
      .filter(([, value]) => value !== ''),
  )
}

/** The README's text, cut to what a body takes. */
export function readReadme(file: string, charsMax: number): string {
  return textOf(readFileSync(file, 'utf8')).slice(0, charsMax).toWellFormed()
}
