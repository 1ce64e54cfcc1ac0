import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { CommandError } from './node.ts'

/** A package found under a node_modules folder: its manifest, and where its README is. */
export interface Package {
  /** Where it was found, relative to the folder that was read. */
  readonly folder: string
  readonly name: string
  readonly description: string
  readonly author: Person | null
  readonly keywords: readonly string[]
  readonly meta: Readonly<Record<string, string>>
  readonly readmeFile: string
}

export interface Person {
  readonly name: string
  readonly url: string | null
}

/** What was not imported: a folder, or a record by its resource and name; and why. */
export type Skipped = { readonly what: string; readonly reason: string }

const manifestBytesMax = 1_000_000
const keywordsMax = 40

/**
 * Every package directly under the folder or under one of its scopes, in the order of their folders. Of packages with
 * one name, the one whose folder has it is taken, else the first.
 */
export function scanPackages(folder: string): { packages: Package[]; skipped: Skipped[] } {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new CommandError(`There is no folder ${folder}.`)
  const found: Package[] = []
  const skipped: Skipped[] = []
  for (const name of packageFolders(folder)) {
    const result = readPackage(folder, name)
    if (typeof result === 'string') skipped.push({ what: name, reason: result })
    else found.push(result)
  }
  const chosen = new Map<string, Package>()
  for (const each of found) if (!chosen.has(each.name) || each.folder === each.name) chosen.set(each.name, each)
  const packages = found.filter((each) => chosen.get(each.name) === each)
  for (const { folder, name } of found.filter((each) => !packages.includes(each)))
    skipped.push({ what: folder, reason: `another folder has the package ${name}` })
  return { packages, skipped }
}

function packageFolders(folder: string): string[] {
  return namesIn(folder).flatMap((name) =>
    name.startsWith('@') ? namesIn(join(folder, name)).map((inner) => `${name}/${inner}`) : [name],
  )
}

/** The names in a folder that are not hidden, in order; none where it is no folder or cannot be read. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .sort()
  } catch {
    return [] // A file beside the packages, or a link to nothing: there is no package in it.
  }
}

/** The package, or why it is skipped. */
function readPackage(root: string, folder: string): Package | string {
  const path = join(root, folder)
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return 'not a folder'
  const manifest = readManifest(join(path, 'package.json'))
  if (typeof manifest === 'string') return manifest
  const name = plainText(manifest.name)
  if (!name || name.length > 214) return 'a package.json without a name'
  const readmeFile = namesIn(path)
    .filter((each) => /^readme(\.(md|markdown|txt|rst))?$/i.test(each))
    .map((each) => join(path, each))
    .find((file) => statSync(file, { throwIfNoEntry: false })?.isFile())
  if (!readmeFile) return 'no README'
  return {
    folder,
    name,
    description: textOf(manifest.description),
    author:
      [manifest.author, ...listOf(manifest.maintainers), ...listOf(manifest.contributors)]
        .map(personOf)
        .find((each) => each !== null) ?? null,
    keywords: keywordsOf(manifest.keywords),
    meta: metaOf(manifest),
    readmeFile,
  }
}

function readManifest(file: string): Record<string, unknown> | string {
  const stat = statSync(file, { throwIfNoEntry: false })
  if (!stat?.isFile()) return 'no package.json'
  if (stat.size > manifestBytesMax) return 'a package.json of over 1 MB'
  try {
    const manifest: unknown = JSON.parse(readFileSync(file, 'utf8').replace(/^\uFEFF/, ''))
    const isObject = typeof manifest === 'object' && manifest !== null && !Array.isArray(manifest)
    return isObject ? (manifest as Record<string, unknown>) : 'a package.json that is no object'
  } catch {
    return 'a package.json that is not JSON'
  }
}

/** Text without the characters that a field cannot hold. */
function plainText(value: unknown): string {
  return typeof value === 'string' ? value.toWellFormed().replaceAll('\0', '').trim() : ''
}

/** Addresses of people, which their packages publish for other ends; `git@host`, which is nobody's, and `name@1.2` stay. */
const emails = /(?<![\w.+-])(?!git@)[\w.+-]+@(?!\d+\.)(?:[a-z0-9-]+\.)+[a-z]{2,}(?![\w-])/gi

/** Text as it is imported: without what a field cannot hold, and without e-mail addresses. */
function textOf(value: unknown): string {
  return plainText(value).replace(emails, '').trim()
}

/** The first characters of a text, never half of one. */
export function cut(text: string, charsMax: number): string {
  return text.slice(0, charsMax).replace(/[\uD800-\uDBFF]$/, '')
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function keywordsOf(value: unknown): string[] {
  const keywords = listOf(value).map((each) => cut(textOf(each).toLowerCase(), 100).trim())
  return [...new Set(keywords.filter((each) => each !== ''))].slice(0, keywordsMax)
}

/** npm's two forms of a person: an object, or `Name <email> (url)`. */
function personOf(value: unknown): Person | null {
  const of = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  const text = textOf(of ? of.name : value)
  const [before = ''] = text.split(/[<(]/)
  const name = cut(before.replace(/\s+/g, ' ').trim(), 200)
  const url = of ? textOf(of.url) : (/\((https?:[^)]*)\)/.exec(text)?.[1] ?? '')
  return name === '' ? null : { name, url: isWebAddress(url) ? url : null }
}

function isWebAddress(text: string): boolean {
  return /^https?:\/\//.test(text) && text.length <= 500 && URL.canParse(text)
}

function metaOf(of: Record<string, unknown>): Record<string, string> {
  const repository =
    typeof of.repository === 'object' && of.repository !== null
      ? (of.repository as { url?: unknown }).url
      : of.repository
  const entries = { version: of.version, license: of.license, homepage: of.homepage, repository }
  return Object.fromEntries(
    Object.entries(entries)
      .map(([name, value]) => [name, cut(textOf(value), 500)])
      .filter(([, value]) => value !== ''),
  )
}

/** The README's text, cut to what a body takes; of a longer file no more is read. */
export function readReadme(file: string, charsMax: number): string {
  const bytes = new Uint8Array(charsMax * 4)
  const descriptor = openSync(file, 'r')
  try {
    const length = readSync(descriptor, bytes)
    return cut(textOf(new TextDecoder().decode(bytes.subarray(0, length))), charsMax)
  } finally {
    closeSync(descriptor)
  }
}
