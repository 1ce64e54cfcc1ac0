import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { model } from '../../src/model/index.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { runCommand } from '../support/command.ts'
import { dataFolder, textsIn } from '../support/folder.ts'
import { makeKey, primaryDatabase, type SpawnedPrimary, spawnPrimary } from '../support/primary.ts'
import { projectRoot } from '../support/project.ts'
import { call, temporaryFolder } from '../support/server.ts'
import { freePort } from '../support/sqld.ts'
import { whyNoInjection } from '../support/syscalls.ts'

setDefaultTimeout(60_000)

let root: ReturnType<typeof temporaryFolder>
let primary: SpawnedPrimary
let key: string
beforeAll(async () => {
  root = temporaryFolder()
  primary = await spawnPrimary({ dataDir: join(root.path, 'primary') })
  key = await makeKey(primary.env)
})
afterAll(async () => {
  await primary.end('SIGTERM')
  root.remove()
})

const noInjection = await whyNoInjection()
if (noInjection) console.error(`SKIPPED, a restore killed at chosen system calls, because ${noInjection}`)

const inRoot = (name: string) => join(root.path, name)
const modeOf = (file: string) => (statSync(file).mode & 0o777).toString(8)

/** `bun run primary ARGS` with the settings of the primary that runs, or of a data folder. */
function run(args: readonly string[], dataDir = primary.env.DATA_DIR) {
  return runCommand(['primary', ...args], { env: { ...primary.env, DATA_DIR: dataDir } })
}

async function writeUser(at: SpawnedPrimary, handle: string) {
  const answer = await call(at.url, 'POST', '/users', { key, body: { handle, name: 'N' } })
  expect(answer.status).toBe(201)
  return answer
}

/** One statement, sent to sqld as a replica's token allows. */
async function askSqld(token: string | null, sql: string): Promise<number> {
  const headers = token === null ? {} : { Authorization: `Bearer ${token}` }
  const body = JSON.stringify({ requests: [{ type: 'execute', stmt: { sql } }, { type: 'close' }] })
  return (await fetch(`${primary.databaseUrl}/v2/pipeline`, { method: 'POST', headers, body })).status
}

describe('bun run primary', () => {
  test('serves what is written to it, from a sqld that asks everyone for a token', async () => {
    const written = await writeUser(primary, 'first')
    const read = await call(primary.url, 'GET', `/users/${written.body.id}`)
    expect([read.status, read.body.handle]).toEqual([200, 'first'])
    expect(await askSqld(null, 'select 1')).toBe(401)
  })

  test('keeps a token for replicas, which reads and cannot write; so does one made by "primary token"', async () => {
    const kept = readFileSync(join(primary.env.DATA_DIR, 'replica-token'), 'utf8').trim()
    const made = await run(['token', '--days', '2'])
    for (const token of [kept, made.out.trim()]) {
      const statuses = [await askSqld(token, 'select 1'), await askSqld(token, 'delete from users')]
      expect(statuses).toEqual([200, 403])
    }
    const { a, iat, exp } = JSON.parse(Buffer.from(made.out.split('.')[1] ?? '', 'base64url').toString())
    expect([a, exp - iat]).toEqual(['ro', 2 * 86_400])
  })

  test('no secret is for others: not in files that they can read, not in what it prints, not in arguments', () => {
    const { DATA_DIR } = primary.env
    expect(['', 'replica-token', 'sqld-private.pem', 'sqld'].map((name) => modeOf(join(DATA_DIR, name)))).toEqual([
      '700',
      '600',
      '600',
      '700',
    ])
    const pids = [primary.pid, primary.sqldPid()]
    const shown = pids.map((pid) => Bun.spawnSync(['ps', '-ww', '-o', 'args=', '-p', String(pid)]).stdout.toString())
    expect(shown[1]).toContain('sqld')
    expect([...shown, primary.said(), primary.complaints()].join('\n')).not.toMatch(/eyJ|PRIVATE|pgk_/)
  })

  test('says in its metrics that sqld is up and was never started again', async () => {
    const { text } = await call(primary.url, 'GET', '/metrics')
    expect(text.match(/^perigee_sqld\w+ \d+$/gm)).toEqual(['perigee_sqld_up 1', 'perigee_sqld_restarts_total 0'])
  })

  test('has its folder for itself: a second one and a restore are refused, and it goes on', async () => {
    const env = { ...primary.env, PORT: '0', LIBSQL_LISTEN: `127.0.0.1:${freePort()}` }
    const second = await runCommand(['primary'], { env })
    const restoring = await run(['restore', primaryDatabase(primary.env.DATA_DIR)])
    for (const { code, err } of [second, restoring]) {
      expect(err).toBe(`A primary is running on DATA_DIR=${primary.env.DATA_DIR}, or its restore. End it first.\n`)
      expect(code).toBe(1)
    }
    await writeUser(primary, 'still-there')
  })

  test('does not take the folder of a standalone server, nor a libSQL server that is somebody else', async () => {
    const standalone = await dataFolder()
    const { code, err } = await run([], standalone.path)
    standalone.remove()
    expect([code, err]).toEqual([1, expect.stringContaining('holds the database of a standalone server')])
    for (const name of ['LIBSQL_URL', 'PRIMARY_ORIGIN']) {
      const elsewhere = await runCommand(['primary'], { env: { ...primary.env, [name]: 'http://127.0.0.1:1' } })
      expect([elsewhere.code, elsewhere.err]).toEqual([2, expect.stringContaining(`${name} is set`)])
    }
  })

  test('an address that is taken is told, and nothing is begun', async () => {
    const dataDir = inRoot('taken')
    const { code, err } = await run([], dataDir)
    expect([code, err]).toEqual([2, expect.stringContaining(`LIBSQL_LISTEN=${primary.env.LIBSQL_LISTEN} cannot be`)])
    expect(readdirSync(dataDir)).toEqual(['primary.lock'])
  })
})

describe('backup and restore', () => {
  test('a backup under load is a moment of the log; restored elsewhere it has a new epoch, and old tokens get 409', async () => {
    let isOver = false
    let written = 0
    const writers = Array.from({ length: 4 }, async (_, place) => {
      for (let n = 0; !isOver; n++, written++) await writeUser(primary, `load-${place}-${n}`)
    })
    while (written < 40) await Bun.sleep(1)
    const token = (await writeUser(primary, 'before')).headers.get('consistency-token') ?? ''
    const file = inRoot('load.db')
    const backup = await run(['backup', file])
    const after = await writeUser(primary, 'after')
    isOver = true
    await Promise.all(writers)
    expect([backup.code, backup.err, modeOf(file)]).toEqual([0, '', '600'])
    expect(complaintsAbout(file, model)).toEqual([])
    const logOf = (database: string) => textsIn(database, "select seq || ' ' || image from changes order by seq")
    const [log, whole] = [logOf(file), logOf(primaryDatabase(primary.env.DATA_DIR))]
    expect(log).toEqual(whole.slice(0, log.length))
    expect(log.length).toBeLessThan(whole.length)
    expect([log.some((each) => each.includes('"before"')), log.some((each) => each.includes('"after"'))]).toEqual([
      true,
      false,
    ])

    const dataDir = inRoot('restored')
    expect((await run(['restore', file], dataDir)).code).toBe(0)
    const restored = await spawnPrimary({ dataDir })
    try {
      const epochs = await Promise.all(
        [primary, restored].map(async ({ url }) => (await call(url, 'GET', '/readyz')).body),
      )
      expect(epochs[1]).toMatchObject({ status: 'ready', position: log.length })
      expect(epochs[1].epoch).not.toBe(epochs[0].epoch)
      const old = await call(restored.url, 'GET', '/users', { headers: { 'Consistency-Token': token } })
      expect([old.status, old.body.type]).toEqual([409, '/problems/token-from-another-epoch'])
      const missing = await call(restored.url, 'GET', `/users/${after.body.id}`)
      expect(missing.status).toBe(404)
      await writeUser(restored, 'goes-on')
    } finally {
      expect(await restored.end('SIGTERM')).toBe(0)
    }
    expect(complaintsAbout(primaryDatabase(dataDir), model)).toEqual([])

    // The same again over data that is there: that is set aside, whole.
    const again = await run(['restore', file], dataDir)
    const aside = readdirSync(dataDir).filter((name) => name.startsWith('sqld.before-'))
    expect([again.code, aside.length]).toEqual([0, 1])
    const handles = "select handle from users where handle = 'goes-on'"
    expect(textsIn(join(dataDir, aside[0] ?? '', 'dbs/default/data'), handles)).toEqual(['goes-on'])
    expect(textsIn(primaryDatabase(dataDir), handles)).toEqual([])
    expect(readdirSync(join(dataDir, 'sqld', 'dbs', 'default'))).toEqual(['data'])
  })

  test('a backup is made of a primary that is stopped as well, and never takes the place of a file', async () => {
    const dataDir = inRoot('stopped')
    const stopped = await spawnPrimary({ dataDir })
    await stopped.end('SIGKILL')
    const file = inRoot('stopped.db')
    expect((await run(['backup', file], dataDir)).code).toBe(0)
    const bytes = readFileSync(file)
    const again = await run(['backup', file], dataDir)
    expect([again.code, again.err]).toEqual([1, `${file} is there already. Name a new file.\n`])
    expect(readFileSync(file).equals(bytes)).toBe(true)
    expect(readdirSync(root.path).filter((name) => name.includes('unfinished'))).toEqual([])
  })

  test('the database of a standalone server is taken over, while that runs', async () => {
    const standalone = await dataFolder()
    const dataDir = inRoot('taken-over')
    const { code, out } = await run(['restore', standalone.databaseFile], dataDir)
    expect([code, out]).toEqual([0, expect.stringContaining(`Restored ${dataDir} from`)])
    const keys = 'select hash from keys'
    expect(textsIn(primaryDatabase(dataDir), keys)).toEqual(textsIn(standalone.databaseFile, keys))
    standalone.remove()
  })

  const wrongFiles: [what: string, make: (file: string) => void, says: RegExp][] = [
    ['that is not there', () => {}, /is no SQLite database that can be read: unable to open/],
    ['of text', (file) => writeFileSync(file, 'a backup\n'.repeat(1_000)), /is no SQLite database that can be read/],
    ['that is empty', (file) => writeFileSync(file, ''), /is a SQLite database, but not one of Perigee/],
    ['that is a folder', (file) => mkdirSync(file), /is no SQLite database that can be read/],
    ['of another program', (file) => new Database(file).run('create table meta(name, value)'), /not one of Perigee/],
    ['that was cut off', (file) => damage(file, (bytes) => bytes.subarray(0, bytes.length / 2)), /malformed/],
    ['with pages overwritten', (file) => damage(file, (bytes) => bytes.fill(255, bytes.length * 0.75)), /malformed/],
  ]
  function damage(file: string, change: (bytes: Buffer) => Uint8Array) {
    using database = new Database(primaryDatabase(primary.env.DATA_DIR), { readonly: true })
    database.query('vacuum into ?').run(file)
    writeFileSync(file, change(readFileSync(file)))
  }

  test.each(wrongFiles)('a file %s is not restored, and says so; the data stays as it is', async (what, make, says) => {
    const dataDir = inRoot('wrong')
    const file = inRoot(`wrong ${what}.db`)
    make(file)
    const { code, err } = await run(['restore', file], dataDir)
    expect([code, err]).toEqual([1, expect.stringMatching(says)])
    expect(err.split('\n').length).toBe(2)
    expect(readdirSync(dataDir).filter((name) => name !== 'primary.lock')).toEqual([])
  })

  test.skipIf(noInjection !== null)(
    `a restore that is killed has not happened, or is to be run again, which it says${noInjection ? ` (skipped: ${noInjection})` : ''}`,
    async () => {
      const dataDir = inRoot('killed')
      const [first, second] = [inRoot('killed-first.db'), inRoot('killed-second.db')]
      await run(['backup', first])
      await writeUser(primary, 'second')
      await run(['backup', second])
      await run(['restore', first], dataDir)
      const stored = () => textsIn(primaryDatabase(dataDir), "select handle from users where handle = 'second'")
      const killed = async (place: string) => {
        const env = { PATH: process.env.PATH ?? '', DATA_DIR: dataDir }
        const inject = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `inject=${place}`]
        const command = [process.execPath, join(projectRoot, 'src/entry/commands.ts'), 'primary', 'restore', second]
        const child = Bun.spawn([...inject, ...command], { env, stdio: ['ignore', 'ignore', 'ignore'] })
        await child.exited
        return child.signalCode
      }
      for (const place of ['fsync:signal=KILL:when=1', 'fsync:signal=KILL:when=4', 'rename:signal=KILL:when=1']) {
        expect(await killed(place)).toBe('SIGKILL')
        expect(stored()).toEqual([])
      }
      expect(await killed('rename:signal=KILL:when=2')).toBe('SIGKILL')
      const served = await runCommand(['primary'], { env: { DATA_DIR: dataDir, LIBSQL_LISTEN: '127.0.0.1:1' } })
      expect([served.code, served.err]).toEqual([1, `A restore into DATA_DIR=${dataDir} was cut off. Run it again.\n`])
      expect((await run(['restore', second], dataDir)).code).toBe(0)
      expect(stored()).toEqual(['second'])
      expect(complaintsAbout(primaryDatabase(dataDir), model)).toEqual([])
    },
  )

  test('a backup into a folder that is not there, or of a folder without a primary, says so', async () => {
    const nowhere = await run(['backup', inRoot('no/such/file.db')])
    expect([nowhere.code, nowhere.err]).toEqual([1, expect.stringContaining('ENOENT')])
    const nothing = await run(['backup', inRoot('nothing.db')], inRoot('empty'))
    expect([nothing.code, nothing.err]).toEqual([1, `There is no primary in DATA_DIR=${inRoot('empty')}.\n`])
    expect(existsSync(inRoot('nothing.db'))).toBe(false)
  })
})
