import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileStore } from '../../src/entry/file-store.ts'
import { importFolder } from '../../src/entry/import.ts'
import { openNode } from '../../src/entry/node.ts'
import { model } from '../../src/model/index.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { runCommand, startCommand } from '../support/command.ts'
import { projectRoot } from '../support/project.ts'
import { temporaryFolder } from '../support/server.ts'

setDefaultTimeout(60_000)

let folder: { path: string; remove(): void }
let dataDir: string
let modules: string
beforeEach(async () => {
  folder = temporaryFolder()
  dataDir = join(folder.path, 'data')
  modules = join(folder.path, 'node_modules')
  mkdirSync(modules)
  await fileStore(dataDir, bunSqlite).migrate()
})
afterEach(() => folder.remove())

/** Files of a package by their names; a manifest that is no text is written as JSON. */
function write(name: string, files: { 'package.json'?: unknown; [file: string]: unknown }) {
  for (const [file, content] of Object.entries(files)) {
    const path = join(modules, name, file)
    mkdirSync(dirname(path), { recursive: true })
    const isRaw = typeof content === 'string' || content instanceof Uint8Array
    writeFileSync(path, isRaw ? content : JSON.stringify(content))
  }
}

async function importAll(tenant = 'demo') {
  const node = await openNode(fileStore(dataDir, bunSqlite), model, (error) => {
    throw error
  })
  try {
    return await importFolder(node, tenant, modules, () => {})
  } finally {
    await node.close()
  }
}

function rows<T = Record<string, unknown>>(sql: string, file = join(dataDir, 'perigee.db')): T[] {
  using database = new Database(file, { readonly: true })
  database.run('pragma busy_timeout = 5000')
  return database.query(sql).all() as T[]
}
const column = (sql: string) => rows(sql).map((row) => Object.values(row)[0])

describe('a package becomes a post, its author a user, its keywords tags', () => {
  test('with what its manifest and README say', async () => {
    write('plain', {
      'package.json': {
        name: 'plain',
        version: '1.2.3',
        description: 'A plain one.',
        author: 'Ada Lovelace (https://ada.example)',
        license: 'MIT',
        homepage: 'https://plain.example',
        repository: { url: 'git+ssh://git@github.com/ada/plain.git' },
        keywords: ['Math', 'engine'],
      },
      'README.md': '# Plain\n\nThree words here.\n',
    })
    expect(await importAll()).toEqual({
      packages: 1,
      users: 1,
      tags: 2,
      posts: 1,
      postTags: 2,
      unchanged: 0,
      skipped: [],
    })
    expect(rows('select slug, title, body, status, words, meta, authorName from posts')).toEqual([
      {
        slug: 'plain',
        title: 'plain: A plain one.',
        body: '# Plain\n\nThree words here.',
        status: 'published',
        words: 5,
        meta: '{"version":"1.2.3","license":"MIT","homepage":"https://plain.example","repository":"git+ssh://git@github.com/ada/plain.git"}',
        authorName: 'Ada Lovelace',
      },
    ])
    expect(rows('select handle, name, homepage, postCount, wordCount from users')).toEqual([
      { handle: 'ada-lovelace', name: 'Ada Lovelace', homepage: 'https://ada.example', postCount: 1, wordCount: 5 },
    ])
    expect(rows('select name, postCount from tags order by name')).toEqual([
      { name: 'engine', postCount: 1 },
      { name: 'math', postCount: 1 },
    ])
  })

  const named = (author: unknown, rest: Record<string, unknown> = {}) => ({ name: 'it', author, ...rest })
  test.each([
    ['a text with a name only', named('Ada'), 'ada', 'Ada', null],
    ['a text with an address of mail', named('Ada <ada@example.com>'), 'ada', 'Ada', null],
    [
      'a text with everything',
      named('Ada L. <ada@example.com> (http://ada.example/x)'),
      'ada-l',
      'Ada L.',
      'http://ada.example/x',
    ],
    ['a text whose page is none', named('Ada (javascript:alert(1))'), 'ada', 'Ada', null],
    [
      'an object',
      named({ name: 'Ada', email: 'ada@example.com', url: 'https://ada.example' }),
      'ada',
      'Ada',
      'https://ada.example',
    ],
    ['an object whose page is none', named({ name: 'Ada', url: 'ftp://ada.example' }), 'ada', 'Ada', null],
    ['an address of mail instead of a name', named({ name: 'ada@example.com' }), 'unattributed', 'Unattributed', null],
    ['an address of mail without brackets', named('Ada ada@example.com'), 'ada', 'Ada', null],
    ['missing', named(undefined), 'unattributed', 'Unattributed', null],
    ['a number', named(7), 'unattributed', 'Unattributed', null],
    ['an empty object, and a maintainer', named({}, { maintainers: ['Eve <e@example.com>'] }), 'eve', 'Eve', null],
    ['missing, and contributors', named(null, { contributors: [null, { name: ' Bo ' }] }), 'bo', 'Bo', null],
    ['in another script', named('山田太郎'), expect.stringMatching(/^user-[a-z0-9]{1,12}$/), '山田太郎', null],
    ['in letters with marks', named('José Ñ'), 'jose-n', 'José Ñ', null],
    ['with half a character', named('Ada \ud800'), 'ada', 'Ada \ufffd', null],
    ['with a NUL', named('A\0da'), 'ada', 'Ada', null],
    ['very long', named(`${'x'.repeat(199)}😀y`), 'x'.repeat(100), 'x'.repeat(199), null],
  ])('an author that is %s', async (_, manifest, handle, name, homepage) => {
    write('it', { 'package.json': manifest, 'README.md': 'Read me.' })
    const report = await importAll()
    expect([report.users, report.posts, report.skipped]).toEqual([1, 1, []])
    expect(rows('select handle, name, homepage from users')).toEqual([{ handle, name, homepage }])
    expect(await importAll()).toMatchObject({ users: 0, posts: 0, unchanged: 2 })
  })

  test.each([
    ['duplicated, also in other letters', ['A', 'a', ' a '], ['a']],
    ['no texts', [1, null, {}, 'ok', ''], ['ok']],
    ['no list', 'a, b', []],
    ['very long', ['y'.repeat(99).concat('😀')], ['y'.repeat(99)]],
    [
      'many',
      Array.from({ length: 60 }, (_, i) => `k${String(i).padStart(2, '0')}`),
      Array.from({ length: 40 }, (_, i) => `k${String(i).padStart(2, '0')}`),
    ],
    ['in many scripts', ['zażółć', '日本語', '👩‍👩‍👧'], ['zażółć', '日本語', '👩‍👩‍👧']],
  ])('keywords that are %s', async (_, keywords, expected) => {
    write('it', { 'package.json': { name: 'it', keywords }, 'README.md': 'Read me.' })
    const report = await importAll()
    expect([report.tags, report.postTags, report.skipped]).toEqual([expected.length, expected.length, []])
    expect(column('select name from tags').map(String).sort()).toEqual([...expected].sort())
    expect(await importAll()).toMatchObject({ tags: 0, postTags: 0, posts: 0 })
  })

  test('no address of mail ends up in any field, and what only looks like one stays', async () => {
    const mails = ['ada@example.com', 'Ada.L+x@sub.example.co.uk', 'mailto:eve@example.org']
    write('mailed', {
      'package.json': {
        name: 'mailed',
        description: `Write to ${mails[0]}.`,
        author: { name: `Ada <${mails[1]}>`, email: mails[1], url: `https://example.com/?m=${mails[0]}` },
        maintainers: [{ name: mails[0], email: mails[0] }],
        keywords: [`by ${mails[0]}`],
        homepage: `https://user:pw@example.com/`,
        license: `See ${mails[0]}`,
        repository: 'git@github.com:ada/mailed.git',
        bugs: { email: mails[0] },
      },
      'README.md': `${mails.join(' and ')}, but npm i mailed@1.2.3, mailed@2.0.0-beta.rc, @scope/mailed@next, git@github.com:ada/mailed.git`,
    })
    await importAll()
    for (const table of ['users', 'posts', 'tags', 'changes', 'idempotency']) {
      const text = JSON.stringify(rows(`select * from ${table}`))
      expect([table, /(ada|x|eve|pw)@/i.exec(text)?.[0]]).toEqual([table, undefined])
    }
    const [body] = column('select body from posts')
    expect(body).toBe(
      'and  and mailto:, but npm i mailed@1.2.3, mailed@2.0.0-beta.rc, @scope/mailed@next, git@github.com:ada/mailed.git',
    )
  })

  test('a README is cut to what a body takes, whatever its length, bytes and name', async () => {
    write('huge', { 'package.json': { name: 'huge' }, readme: '😀'.repeat(500_000) })
    write('bytes', { 'package.json': { name: 'bytes' }, 'Readme.TXT': new Uint8Array([0x41, 0xff, 0xfe, 0, 0x42]) })
    write('empty', { 'package.json': { name: 'empty' }, 'README.rst': '' })
    write('marked', { 'package.json': '\ufeff{"name":"marked"}', 'README.markdown': '\ufeffHi' })
    expect(await importAll()).toMatchObject({ packages: 4, posts: 4, skipped: [] })
    expect(rows('select slug, length(body) as chars, words from posts order by slug')).toEqual([
      { slug: 'bytes', chars: 4, words: 1 },
      { slug: 'empty', chars: 0, words: 0 },
      { slug: 'huge', chars: 100_000, words: 1 },
      { slug: 'marked', chars: 2, words: 1 },
    ])
    expect(await importAll()).toMatchObject({ posts: 0, unchanged: 5 })
  })
})

describe('what cannot be imported is skipped with the reason', () => {
  test('and the rest is imported', async () => {
    write('good', { 'package.json': { name: 'good' }, 'README.md': 'Good.' })
    write('@scope/good', { 'package.json': { name: '@scope/good' }, 'README.md': 'Good too.' })
    write('no-readme', { 'package.json': { name: 'no-readme' } })
    write('folder-readme', { 'package.json': { name: 'folder-readme' }, 'README/x.md': 'Not a file.' })
    write('no-manifest', { 'README.md': 'Who am I?' })
    write('broken', { 'package.json': '{"name": "broken"', 'README.md': 'Broken.' })
    write('list', { 'package.json': ['list'], 'README.md': 'A list.' })
    write('nothing', { 'package.json': 'null', 'README.md': 'Nothing.' })
    write('nameless', { 'package.json': { name: 7 }, 'README.md': 'Nameless.' })
    write('endless', { 'package.json': { name: 'e'.repeat(215) }, 'README.md': 'Endless.' })
    write('big', { 'package.json': { name: 'big', more: 'x'.repeat(1_000_001) }, 'README.md': 'Big.' })
    write('.hidden', { 'package.json': { name: '.hidden' }, 'README.md': 'Hidden.' })
    writeFileSync(join(modules, 'a-file'), '')
    writeFileSync(join(modules, '@a-file'), '')
    symlinkSync(join(modules, 'nowhere'), join(modules, 'a-link'))
    const { skipped, ...report } = await importAll()
    expect(report).toEqual({ packages: 2, users: 1, tags: 0, posts: 2, postTags: 0, unchanged: 0 })
    expect(skipped).toEqual([
      { what: 'a-file', reason: 'not a folder' },
      { what: 'a-link', reason: 'not a folder' },
      { what: 'big', reason: 'a package.json of over 1 MB' },
      { what: 'broken', reason: 'a package.json that is not JSON' },
      { what: 'endless', reason: 'a package.json without a name' },
      { what: 'folder-readme', reason: 'no README' },
      { what: 'list', reason: 'a package.json that is no object' },
      { what: 'nameless', reason: 'a package.json without a name' },
      { what: 'no-manifest', reason: 'no package.json' },
      { what: 'no-readme', reason: 'no README' },
      { what: 'nothing', reason: 'a package.json that is no object' },
    ])
  })

  test('of packages with one name the one in its own folder is taken, and a second import changes nothing', async () => {
    for (const place of ['alias', 'twin', 'zwin'])
      write(place, { 'package.json': { name: 'twin' }, 'README.md': `In ${place}.` })
    write('b1', { 'package.json': { name: 'lone' }, 'README.md': 'First.' })
    write('b2', { 'package.json': { name: 'lone' }, 'README.md': 'Second.' })
    const report = await importAll()
    expect(report).toEqual({
      packages: 2,
      users: 1,
      tags: 0,
      posts: 2,
      postTags: 0,
      unchanged: 0,
      skipped: [
        { what: 'alias', reason: 'another folder has the package twin' },
        { what: 'b2', reason: 'another folder has the package lone' },
        { what: 'zwin', reason: 'another folder has the package twin' },
      ],
    })
    expect(column('select body from posts order by slug')).toEqual(['First.', 'In twin.'])
    expect(await importAll()).toEqual({ ...report, users: 0, posts: 0, unchanged: 3 })
  })

  test('a record that was changed since is set back, though the same batch was written within a day', async () => {
    write('a', { 'package.json': { name: 'a' }, 'README.md': 'A.' })
    await importAll()
    {
      using database = new Database(join(dataDir, 'perigee.db'))
      database.run("update posts set body = 'Another.'")
    }
    expect(await importAll()).toMatchObject({ posts: 1, unchanged: 1 })
    expect(column('select body from posts')).toEqual(['A.'])
    expect(column('select key from idempotency').every((key) => /^import:[\w-]{43}$/.test(String(key)))).toBe(true)
    expect(column('select count(*) from idempotency')).toEqual([2])
  })

  test('two authors whose names make one handle are one user, the first', async () => {
    write('a', { 'package.json': { name: 'a', author: 'Jose' }, 'README.md': 'A.' })
    write('b', { 'package.json': { name: 'b', author: 'José' }, 'README.md': 'B.' })
    expect(await importAll()).toMatchObject({ users: 1, posts: 2, skipped: [] })
    expect(rows('select name, postCount from users')).toEqual([{ name: 'Jose', postCount: 2 }])
    expect(await importAll()).toMatchObject({ users: 0, posts: 0, unchanged: 3 })
  })

  test('a record that the database refuses is told, and costs only what needs it', async () => {
    write('good', {
      'package.json': { name: 'good', author: 'Bob', keywords: ['fine', 'taken'] },
      'README.md': 'Good.',
    })
    write('bad', { 'package.json': { name: 'bad', author: 'Ada' }, 'README.md': 'Bad.' })
    {
      using database = new Database(join(dataDir, 'perigee.db'))
      const now = '2026-01-01T00:00:00.000Z'
      database.run(
        `insert into users(tenant, id, createdAt, updatedAt, handle, name) values ('demo', '0190a600-0000-7000-8000-000000000001', '${now}', '${now}', 'ada', 'Another Ada')`,
      )
      database.run(
        `insert into tags(tenant, id, createdAt, updatedAt, name) values ('demo', '0190a600-0000-7000-8000-000000000002', '${now}', '${now}', 'taken')`,
      )
    }
    const report = await importAll()
    expect(report).toMatchObject({ packages: 2, users: 1, tags: 1, posts: 1, postTags: 1 })
    expect(report.skipped).toEqual([
      { what: 'the user ada', reason: 'Another record of users has this handle.' },
      { what: 'the tag taken', reason: 'Another record of tags has this name.' },
      { what: 'bad', reason: '"authorId": there is no record of users with this id.' },
      { what: 'good, the tag taken', reason: '"tagId": there is no record of tags with this id.' },
    ])
  })
})

describe('the import command', () => {
  const env = () => ({ DATA_DIR: dataDir })

  test('tells what it did, and the second time that there was nothing to do', async () => {
    write('one', { 'package.json': { name: 'one', keywords: ['k'] }, 'README.md': 'One.' })
    for (const name of ['x1', 'x2', 'x3', 'x4']) write(name, { 'package.json': { name } })
    const skipped = 'Skipped 4: no README (x1, x2, x3, ...)\n'
    expect(await runCommand(['import', modules], { env: env() })).toEqual({
      code: 0,
      out: `Importing packages 1/1\nRead 1 packages: wrote 1 posts, 1 users, 1 tags and 1 uses of tags; 0 records were there already.\n${skipped}`,
      err: '',
    })
    expect((await runCommand(['import', modules], { env: env() })).out).toBe(
      `Importing packages 1/1\nRead 1 packages: wrote 0 posts, 0 users, 0 tags and 0 uses of tags; 4 records were there already.\n${skipped}`,
    )
  })

  test('fills the tenant that it is given', async () => {
    write('one', { 'package.json': { name: 'one' }, 'README.md': 'One.' })
    await runCommand(['import', modules, '--tenant', 'acme'], { env: env() })
    expect(column('select distinct tenant from changes')).toEqual(['acme'])
  })

  test.each([
    ['nowhere', 'There is no folder'],
    ['a-file', 'There is no folder'],
    ['empty', 'There is no package with a README directly under'],
  ])('refuses %s', async (name, message) => {
    mkdirSync(join(folder.path, 'empty'))
    writeFileSync(join(folder.path, 'a-file'), '')
    const { code, out, err } = await runCommand(['import', join(folder.path, name)], { env: env() })
    expect([code, out, err.startsWith(message)]).toEqual([1, '', true])
  })
})

describe('an import of the project’s own packages', () => {
  const source = join(projectRoot, 'node_modules')
  const contents = (dir: string) =>
    ['users', 'posts', 'tags', 'postTags'].map((table) => {
      const [found] = rows<{ columns: string }>(
        `select group_concat(name) as columns from pragma_table_info('${table}') where name not in ('createdAt', 'updatedAt')`,
      )
      return rows(`select ${found?.columns} from ${table} order by id`, join(dir, 'perigee.db'))
    })

  test('killed at any point and run again ends as one that was never killed; once more changes nothing', async () => {
    const whole = join(folder.path, 'whole')
    await fileStore(whole, bunSqlite).migrate()
    const once = await runCommand(['import', source], { env: { DATA_DIR: whole } })
    expect(once.code).toBe(0)

    const posts = () => Number(column('select count(*) from posts')[0])
    const total = rows('select 1 from posts', join(whole, 'perigee.db')).length
    expect(total).toBe(packagesUnder(source))
    for (const share of [0, 0.3, 0.7]) {
      const running = startCommand(['import', source], { env: { DATA_DIR: dataDir } })
      try {
        while (posts() <= share * total && !running.ended()) await Bun.sleep(1)
        running.kill('SIGKILL')
        await running.exited
      } finally {
        await running.end()
      }
    }
    const left = total - posts()
    const { out } = await runCommand(['import', source], { env: { DATA_DIR: dataDir } })
    expect(out).toContain(`wrote ${left} posts, `)
    expect(contents(dataDir)).toEqual(contents(whole))
    expect(rows('pragma integrity_check')).toEqual([{ integrity_check: 'ok' }])
    expect((await runCommand(['audit'], { env: { DATA_DIR: dataDir } })).out).toBe('Every derived column is true.\n')

    const seq = column('select max(seq) from changes')
    const again = await runCommand(['import', source], { env: { DATA_DIR: dataDir } })
    expect(again.out).toMatch(/wrote 0 posts, 0 users, 0 tags and 0 uses of tags; \d+ records were there already\./)
    expect(column('select max(seq) from changes')).toEqual(seq)
  })
})

/** Packages with a name and a README, counted without the importer. */
function packagesUnder(root: string): number {
  const folders = readdirSync(root).flatMap((name) =>
    name.startsWith('@') ? readdirSync(join(root, name)).map((inner) => join(root, name, inner)) : [join(root, name)],
  )
  const names = folders
    .filter((path) => !/\/\.[^/]*$/.test(path) && existsSync(join(path, 'package.json')))
    .filter((path) =>
      readdirSync(path).some(
        (name) => /^readme(\.(md|markdown|txt|rst))?$/i.test(name) && statSync(join(path, name)).isFile(),
      ),
    )
    .map((path) => (require(join(path, 'package.json')) as { name?: string }).name)
  return new Set(names.filter((name) => name)).size
}
