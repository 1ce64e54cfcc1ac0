import { cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from './server.ts'

export const projectRoot = join(import.meta.dir, '..', '..')

/** A copy of the project that a test may change: its source, its migrations and its configuration. */
export interface Project {
  readonly root: string
  /** Replaces a text of a file, which must have it. */
  edit(file: string, from: string, to: string): void
  /** Every file of a folder with its bytes as text, by its path in the folder. */
  files(folder: string): Record<string, string>
  remove(): void
}

/** Of this project, or of another copy. */
export function copyProject(from = projectRoot): Project {
  const folder = temporaryFolder()
  const root = folder.path
  for (const name of ['src', 'drizzle', 'drizzle.config.ts', 'package.json', 'tsconfig.json'])
    cpSync(join(from, name), join(root, name), { recursive: true })
  symlinkSync(join(projectRoot, 'node_modules'), join(root, 'node_modules'))
  return {
    root,
    edit(file, from, to) {
      const path = join(root, file)
      const text = readFileSync(path, 'utf8')
      if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
      writeFileSync(
        path,
        text.replace(from, () => to),
      )
    },
    files(name) {
      const paths = readdirSync(join(root, name), { recursive: true, encoding: 'utf8' }).filter((path) =>
        /\.\w+$/.test(path),
      )
      return Object.fromEntries(paths.sort().map((path) => [path, readFileSync(join(root, name, path), 'utf8')]))
    },
    remove: () => folder.remove(),
  }
}

/** Leaves the project one version, without lenses, so that its tables may be changed in any way. */
export function keepOneVersion({ root }: Project) {
  const text = `import { version } from '../schema/index.ts'

export const versions = [version('2026-11-01', { alias: 'v3', notes: 'The only version.' })]
export const defaultVersion = '2026-11-01'
`
  writeFileSync(join(root, 'src/model/versions.ts'), text)
}

/** Adds a migration written by hand, as `drizzle-kit generate --custom` would; `when` is its time in the journal. */
export function addMigration(project: Project, name: string, sql: string, when?: number) {
  const folder = join(project.root, 'drizzle')
  const read = (path: string) => JSON.parse(readFileSync(join(folder, path), 'utf8'))
  const write = (path: string, value: unknown) => writeFileSync(join(folder, path), JSON.stringify(value, null, 2))
  const journal = read('meta/_journal.json') as { entries: { idx: number; when: number; tag: string }[] }
  const last = journal.entries.at(-1)
  if (!last) throw new Error('the journal is empty')
  const number = (idx: number) => String(idx).padStart(4, '0')
  const idx = last.idx + 1
  const tag = `${number(idx)}_${name}`
  const snapshot = read(`meta/${number(last.idx)}_snapshot.json`) as { id: string }
  write('meta/_journal.json', {
    ...journal,
    entries: [...journal.entries, { ...last, idx, tag, when: when ?? last.when + 1_000 }],
  })
  write(`meta/${number(idx)}_snapshot.json`, { ...snapshot, id: crypto.randomUUID(), prevId: snapshot.id })
  writeFileSync(join(folder, `${tag}.sql`), sql)
}
