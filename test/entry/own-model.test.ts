import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCommand, startCommand } from '../support/command.ts'
import { copyProject, type Project } from '../support/project.ts'
import { call } from '../support/server.ts'

setDefaultTimeout(60_000)

const notebooks = `import { index, integer, foreignKey, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { anyone, belongsTo, buildModel, hasMany, identity, resource, version } from '../schema/index.ts'

export const notebooks = sqliteTable(
  'notebooks',
  { ...identity, title: text().notNull() },
  (t) => [primaryKey({ columns: [t.tenant, t.id] })],
)

export const notes = sqliteTable(
  'notes',
  { ...identity, notebookId: text().notNull(), text: text().notNull() },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.notebookId], foreignColumns: [notebooks.tenant, notebooks.id] }).onDelete('cascade'),
    index('notes_by_notebook').on(t.tenant, t.notebookId, t.id),
  ],
)

export const model = buildModel({
  title: 'Notebooks',
  versions: [version('2026-01-01', { alias: 'v1', notes: 'The first.' })],
  resources: [
    resource('notebooks', notebooks, {
      description: 'Books of notes.',
      relations: { notes: hasMany(() => notes, 'notebookId') },
      access: { read: anyone, write: anyone },
    }),
    resource('notes', notes, {
      description: 'Notes.',
      relations: { notebook: belongsTo(() => notebooks, 'notebookId') },
      access: { read: anyone, write: anyone },
    }),
  ],
})
`

describe('a model of one’s own, from its declaration to its answers', () => {
  let project: Project
  let env: Record<string, string>
  const run = (...args: string[]) => runCommand(args, { root: project.root, env })
  beforeAll(() => {
    project = copyProject()
    env = { DATA_DIR: join(project.root, 'data'), PORT: '0' }
    rmSync(join(project.root, 'drizzle'), { recursive: true })
    writeModel(notebooks)
  })
  afterAll(() => project.remove())

  function writeModel(text: string) {
    const folder = join(project.root, 'src/model')
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder)
    writeFileSync(join(folder, 'index.ts'), text)
  }

  /** Starts, lets the work call it with its key, and ends it. */
  async function served<T>(work: (url: string, key: string, said: string) => Promise<T>): Promise<T> {
    const running = startCommand(['start'], { root: project.root, env })
    try {
      const [, url = ''] = await running.line(/^Perigee is at (\S+)$/)
      const [, key = ''] = await running.line(/^ {2}key {4}(\S+)/)
      await running.line(/^ {2}try {4}curl '\S+\/notebooks\?limit=2'$/)
      return await work(url, key, running.said())
    } finally {
      await running.end()
    }
  }

  test('the first migration is made where there is none', async () => {
    const { code, out, err } = await run('generate', '--name', 'first')
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('Wrote drizzle/0000_first.sql.')
    expect(readdirSync(join(project.root, 'drizzle')).sort()).toEqual(['0000_first.sql', 'meta'])
    expect((await run('generate')).out).toContain('The migrations already make the model.')
  })

  test('its contract is its own to publish, and holds', async () => {
    expect(await run('contracts', 'check')).toEqual({
      code: 0,
      out: '2026-01-01 is not published yet, and may still change: "bun run contracts publish" fixes it.\nNo contract is published.\n',
      err: '',
    })
  })

  let notebook = ''
  test('it is served, and nothing of the example is imported', async () => {
    await served(async (url, key, said) => {
      expect(said).toContain('The model is not the example: nothing is imported.')
      const made = await call(url, 'POST', '/notebooks', { key, body: { title: 'Work' } })
      expect(made.status).toBe(201)
      notebook = made.body.id
      for (const text of ['One', 'Two'])
        expect((await call(url, 'POST', '/notes', { key, body: { notebookId: notebook, text } })).status).toBe(201)
      const read = await call(url, 'GET', `/notebooks/${notebook}?include=notes(fields:text)`)
      expect(read.body).toMatchObject({ title: 'Work', notes: [{ text: 'One' }, { text: 'Two' }] })
    })
    expect(await run('import', 'node_modules')).toEqual({
      code: 1,
      out: '',
      err: 'The import fills the default model; this model has no users, tags, posts, postTags.\n',
    })
  })

  test('a column that is added to it, derived from what is there, is right after the migration', async () => {
    writeModel(
      notebooks
        .replace('title: text().notNull() }', 'title: text().notNull(), noteCount: integer().notNull().default(0) }')
        .replace('resource, version }', 'resource, version, count }')
        .replace(
          "hasMany(() => notes, 'notebookId') },",
          "hasMany(() => notes, 'notebookId') },\n      derived: { noteCount: count('notes') },",
        ),
    )
    const first = readFileSync(join(project.root, 'drizzle/0000_first.sql'))
    expect((await run('generate', '--name', 'count')).out).toContain('Wrote drizzle/0001_count.sql.')
    expect(readFileSync(join(project.root, 'drizzle/0000_first.sql'))).toEqual(first)
    expect((await run('audit')).err).toContain('lacks 1 migration(s). Run "bun run migrate".')
    expect((await run('migrate')).out).toContain('had 1 migration(s) applied')
    expect(await run('audit')).toEqual({ code: 0, out: 'Every derived column is true.\n', err: '' })
    await served(async (url, key) => {
      expect((await call(url, 'GET', `/notebooks/${notebook}`)).body).toMatchObject({ noteCount: 2, version: 2 })
      await call(url, 'POST', '/notes', { key, body: { notebookId: notebook, text: 'Three' } })
      expect((await call(url, 'GET', `/notebooks/${notebook}`)).body).toMatchObject({ noteCount: 3, version: 3 })
    })
  })
})
