import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

const root = join(import.meta.dir, '..')
const source = join(root, 'src')

/** Folders that each folder may import. The files directly under src may be imported by all. */
const mayImport: Record<string, readonly string[]> = {
  '.': [],
  schema: [],
  shard: [],
  cache: [],
  model: ['schema'],
  version: ['schema'],
  log: ['shard'],
  store: ['log'],
  replica: ['schema', 'version', 'log', 'store'],
  read: ['schema', 'version', 'shard', 'log', 'store'],
  write: ['schema', 'version', 'shard', 'log', 'store'],
  webhook: ['schema', 'version', 'shard', 'log', 'store', 'read', 'write'],
  http: ['schema', 'version', 'shard', 'log', 'store', 'cache', 'read', 'write', 'webhook'],
  entry: [
    'schema',
    'version',
    'shard',
    'log',
    'store',
    'replica',
    'cache',
    'read',
    'write',
    'webhook',
    'http',
    'model',
  ],
}

/** Files of a vendor: an import of one of these packages is allowed in these files only. */
const vendorFiles: Record<string, RegExp> = {
  hono: /^(http|entry)\//,
  '@hono/zod-openapi': /^http\//,
  'bun:sqlite': /^(store\/(backup|bun-sqlite|lock)|entry\/(generate|made))\.ts$/,
  'node:sqlite': /^store\/node-sqlite\.ts$/,
  '@libsql/client': /^store\/libsql-/,
  '@libsql/client/http': /^store\/libsql-/,
  '@libsql/hrana-client': /^store\/libsql(-\w+)?\.ts$/,
  '@upstash/redis': /^cache\//,
  '@noble/hashes': /^entry\/portable-hashing\.ts$/,
  uuid: /^entry\/(node-identity|portable-hashing)\.ts$/,
  'cloudflare:workers': /^entry\/replica-object\.ts$/,
  'node:http': /^(http\/node-wire|webhook\/send)\.ts$/,
  'node:https': /^(http\/node-wire|webhook\/send)\.ts$/,
}

/** Drivers, which only an entry and the drivers themselves may name. */
const drivers =
  /^(store\/(backup|bun-sqlite|bun-writer|node-sqlite|node-writer|object-sqlite|embedded|lock|migrate|sqld-log|libsql(-\w+)?)|http\/(node|fetch|app)-wire)\.ts$/

interface Source {
  readonly path: string
  readonly text: string
  readonly imports: readonly string[]
}

const files: Source[] = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => {
    const text = readFileSync(join(source, path), 'utf8')
    const imports = [...text.matchAll(/(?:from|import) ?\(?'([^']+)'/g)].map((match) => match[1] ?? '')
    return { path, text, imports }
  })

const folderOf = (path: string) => (path.includes('/') ? (path.split('/')[0] ?? '') : '.')
const targetOf = (file: Source, name: string) => relative(source, resolve(source, dirname(file.path), name))

describe('the house', () => {
  test('imports run along the arrows of the layout only', () => {
    const crossed = files.flatMap((file) => {
      const from = folderOf(file.path)
      return file.imports
        .filter((name) => name.startsWith('.') && !name.endsWith('/_journal.json'))
        .map((name) => folderOf(targetOf(file, name)))
        .filter((to) => to !== from && to !== '.' && !mayImport[from]?.includes(to))
        .map((to) => `${file.path} imports ${to}/`)
    })
    expect(crossed).toEqual([])
    expect(files.length).toBeGreaterThan(30)
  })

  test('no file is in an import cycle, the tables of a model apart', () => {
    const importsOf = new Map(files.map((file) => [file.path, runningImports(file)]))
    const cyclic = [...importsOf.keys()].filter((path) => {
      const seen = new Set<string>()
      const open = [...(importsOf.get(path) ?? [])]
      for (let next = open.pop(); next !== undefined; next = open.pop()) {
        if (next === path) return !path.startsWith('model/')
        if (!seen.has(next)) open.push(...(importsOf.get(next) ?? []))
        seen.add(next)
      }
      return false
    })
    expect(cyclic).toEqual([])
  })

  test('a vendor is named in its own files only, and a driver by entries only', () => {
    const wrong = files.flatMap((file) => [
      ...file.imports
        .filter((name) => vendorFiles[name] && !vendorFiles[name].test(file.path))
        .map((name) => `${file.path} imports ${name}`),
      ...file.imports
        .filter((name) => name.startsWith('.') && drivers.test(targetOf(file, name)))
        .filter(() => !file.path.startsWith('entry/') && !drivers.test(file.path))
        .map((name) => `${file.path} imports the driver ${name}`),
    ])
    expect(wrong).toEqual([])
  })

  test('only entries read the environment and the clock', () => {
    const reading = /process\.env|Bun\.env|Date\.now\(|performance\.now\(|new Date\(\)/
    expect(
      files.filter((file) => !file.path.startsWith('entry/') && reading.test(file.text)).map((file) => file.path),
    ).toEqual([])
  })

  test('files are under 300 lines and functions at most 50', () => {
    expect(files.filter((file) => file.text.split('\n').length > 300).map((file) => file.path)).toEqual([])
    expect(files.flatMap(longFunctions)).toEqual([])
  })

  test('no drawer, no hole in the types, no mark of unfinished work', () => {
    expect(
      files.filter((file) => /(^|\/)(utils?|helpers?|common|misc)\.ts$/.test(file.path)).map((file) => file.path),
    ).toEqual([])
    const holes = /: any\b|\bas any\b|@ts-ignore|@ts-expect-error|\b(TODO|FIXME|XXX)\b/
    expect(files.filter((file) => holes.test(file.text)).map((file) => file.path)).toEqual([])
  })
})

/** The files that a file imports when it runs; imports of types are erased. */
function runningImports(file: Source): string[] {
  const statements = [...file.text.matchAll(/^(?:import|export) (?!type)[^']*? from '(\.[^']+)'/gm)]
  return statements.map((match) => targetOf(file, match[1] ?? ''))
}

/** Functions of over 50 lines, by their indentation: from a line that opens one to the line that closes it. */
function longFunctions(file: Source): string[] {
  const lines = file.text.split('\n')
  return lines.flatMap((line, start) => {
    const opened = /^( *)(?:export )?(?:async )?function\*? (\w+)/.exec(line)
    if (!opened || factories.has(`${file.path} ${opened[2]}`)) return []
    const end = lines.findIndex((each, i) => i > start && each === `${opened[1]}}`)
    return end - start > 50 ? [`${file.path} ${opened[2]}: ${end - start} lines`] : []
  })
}

/** Factories whose body is the functions they make, each of which is measured by itself. */
const factories = new Set(['store/embedded.ts openEmbedded'])
