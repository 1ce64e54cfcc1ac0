import { Database } from 'bun:sqlite'
import { expect, setDefaultTimeout, test } from 'bun:test'
import { digest } from '../../src/entry/node-identity.ts'
import type { CopyDatabase } from '../../src/replica/apply.ts'
import { type CopySchema, copySchemaOf } from '../../src/replica/copy-schema.ts'
import { LogCopy } from '../../src/replica/log-copy.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { openReader } from '../../src/store/file-reader.ts'
import type { Reader, Row } from '../../src/store/reader.ts'
import type { Value } from '../../src/value.ts'
import { contentsOf, keysIn } from '../support/contents.ts'
import { makeDatabase } from '../support/database.ts'
import {
  type Draw,
  declare,
  ids,
  insertItems,
  type ModelSpec,
  randomItems,
  randomModel,
  randomValue,
  storedValue,
  tenants,
  withRandomChoices,
} from '../support/random-model.ts'
import { temporaryFolder } from '../support/server.ts'

setDefaultTimeout(60_000)

/** Thrown by a part that is made to fail. */
class Cut extends Error {}

/** The primary's database, written by raw SQL, with what its tables held at each position. */
class Source {
  readonly database: Database
  readonly tables: CopySchema
  private readonly draw: Draw
  private readonly spec: ModelSpec
  private readonly held = new Map<string, string>()
  /** How often a key of each number was deleted. */
  private readonly gone = new Map<number, number>()

  constructor(file: string, tables: CopySchema, draw: Draw, spec: ModelSpec) {
    this.database = new Database(file, { readwrite: true, strict: true })
    this.database.run('pragma foreign_keys = off')
    this.tables = tables
    this.draw = draw
    this.spec = spec
    this.remember()
  }

  /** What the copy must hold at a position; undefined where the primary never stood there. */
  at(position: string): string | undefined {
    return this.held.get(position)
  }

  position(): string {
    const [row] = this.database
      .query("select (select value from meta where name = 'epoch') || ' ' || coalesce(max(seq), 0) from changes")
      .values()
    return String(row?.[0])
  }

  write() {
    const { draw, spec } = this
    const { name, fields } = draw.pick(spec.resources)
    const [tenant, id] = [draw.pick(tenants), draw.pick(ids)]
    const kind = draw.int(1, 10)
    const own = fields.filter((each) => !['id', 'version', 'createdAt', 'updatedAt'].includes(each.name))
    const values = own.map((each) => storedValue(each, randomValue(draw, each, ids)))
    const names = own.map((each) => `"${each.name}"`)
    if (kind <= 2) this.run(`delete from "${name}" where tenant = ? and id = ?`, [tenant, id])
    else if (kind <= 6 && names.length > 0) {
      const sets = names.map((each) => `${each} = ?`)
      this.run(`update "${name}" set ${sets.join(', ')} where tenant = ? and id = ?`, [...values, tenant, id])
    } else {
      const columns = ['tenant', 'id', 'version', '"createdAt"', '"updatedAt"', ...names]
      const now = '2026-01-01T00:00:00.000Z'
      this.run(`insert or ignore into "${name}"(${columns.join(', ')}) values (${columns.map(() => '?').join(', ')})`, [
        tenant,
        id,
        1,
        now,
        now,
        ...values,
      ])
    }
    this.remember()
  }

  key() {
    const { draw } = this
    const n = draw.int(0, 9)
    const hash = this.hashOf(n)
    const revoked = draw.chance(30) ? '2026-01-01T00:00:00.000Z' : null
    if (draw.chance(40)) this.remove(n)
    else
      this.run(
        "insert into keys(id, tenant, hash, scopes, createdAt, revokedAt) values (?, 'demo', ?, '[]', '', ?) on conflict(hash) do update set revokedAt = excluded.revokedAt",
        [hash.replace('hash', 'key'), hash, revoked],
      )
  }

  /** The key that changed last is deleted, so that the next has its number. */
  lastKeyGone() {
    const [[hash] = ['']] = this.database.query('select hash from keys order by changed desc limit 1').values()
    const [, n] = String(hash).split(' ')
    if (n) this.remove(Number(n))
  }

  private remove(n: number) {
    this.run('delete from keys where hash = ?', [this.hashOf(n)])
    this.gone.set(n, (this.gone.get(n) ?? 0) + 1)
  }

  /** A hash is of a random secret: none comes twice. */
  private hashOf(n: number): string {
    return `hash ${n} ${this.gone.get(n) ?? 0}`
  }

  /** As maintenance does: what is overtaken by a position goes. */
  compact() {
    const [[head] = [0]] = this.database.query('select coalesce(max(seq), 0) from changes').values() as number[][]
    const before = this.draw.int(0, head ?? 0)
    const next =
      '(select min(n.seq) from changes n where n.tenant = c.tenant and n.resource = c.resource and n.id = c.id and n.seq > c.seq)'
    this.database.transaction(() => {
      this.run(
        `insert into meta(name, value) select 'horizon', max(${next}) from changes c where ${next} <= ?1 having count(*) > 0 on conflict(name) do update set value = excluded.value where cast(meta.value as integer) < cast(excluded.value as integer)`,
        [before],
      )
      this.run(`delete from changes where seq in (select seq from changes c where ${next} <= ?1)`, [before])
    })()
    this.remember()
  }

  restored() {
    this.run("update meta set value = value || 'x' where name = 'epoch'", [])
    this.remember()
  }

  migrated(time = this.lastMigration() + this.draw.int(1, 100)) {
    this.run("insert into __drizzle_migrations(hash, created_at) values ('', ?)", [time])
  }

  lastMigration(): number {
    return Number(this.database.query('select max(created_at) from __drizzle_migrations').values()[0]?.[0])
  }

  /** The rows of every table but the log, which may be compacted at another time, and of the log its last of each record. */
  contents(): string {
    return contentsOf(this.database, this.tables)
  }

  keys(): string {
    return keysIn(this.database)
  }

  private run(sql: string, args: readonly Value[]) {
    this.database.query(sql).run(...args)
  }

  private remember() {
    this.held.set(this.position(), this.contents())
  }
}

/** A copy in a database of its own, whose transactions may be cut off, and which may begin again at any moment. */
class Follower {
  readonly database = new Database(':memory:')
  /** Statements that still succeed. */
  left = Number.POSITIVE_INFINITY
  private readonly source: Reader
  private readonly tables: CopySchema
  /** Those that its program needs. */
  migrations: readonly number[] = []
  copy: LogCopy

  constructor(reader: Reader, tables: CopySchema, bytesMax: () => number) {
    // A part has half a megabyte at most: here some bytes, so that there are many.
    this.source = {
      ...reader,
      rows: (sql, args) => {
        this.spend()
        return reader.rows(
          sql,
          args.map((arg) => (arg === 524_288 ? bytesMax() : arg)),
        )
      },
    }
    this.tables = tables
    this.copy = this.open()
  }

  /** As after its process has ended: what is not in the database is gone. */
  reopen() {
    this.copy = this.open()
  }

  private open(): LogCopy {
    const rows: CopyDatabase['rows'] = (sql, args) => {
      this.spend()
      return this.database.query(sql).values(...args) as Row[]
    }
    const transaction: CopyDatabase['transaction'] = (work) => this.database.transaction(work)()
    const left = this.left
    this.left = Number.POSITIVE_INFINITY
    const { source, tables, migrations } = this
    const copy = new LogCopy({ database: { rows, transaction }, source, tables, migrations, digest, now: () => 1 })
    this.left = left
    return copy
  }

  private spend() {
    if (this.left-- <= 0) throw new Cut()
  }

  position(): string | null {
    const { position } = this.copy
    return position && `${position.epoch} ${position.seq}`
  }

  contents(): string {
    return contentsOf(this.database, this.tables)
  }
}

test('a copy that is cut off anywhere is at every position what the primary was there, and in the end what it is', async () => {
  let looks = 0
  let cuts = 0
  await withRandomChoices(
    async (draw) => {
      const spec = randomModel(draw)
      const folder = temporaryFolder()
      const declared = declare(spec)
      const file = await makeDatabase(folder.path, declared)
      insertItems(file, spec, randomItems(draw, spec))
      const tables = copySchemaOf(declared.model)
      const source = new Source(file, tables, draw, spec)
      const reader = openReader(file, bunSqlite)
      const follower = new Follower(reader, tables, () => draw.pick([1, 500, 3_000]))
      const compareAtPosition = () => {
        const position = follower.position()
        if (position === null) return
        looks++
        expect([position, follower.contents()]).toEqual([position, source.at(position) ?? 'nowhere'])
      }
      const step = async () => {
        if (draw.chance(20)) follower.left = draw.int(0, 12)
        const before = follower.copy.position
        try {
          return (await follower.copy.step()) === 'whole'
        } catch (error) {
          if (!(error instanceof Cut)) throw error
          cuts++
          return false
        } finally {
          follower.left = Number.POSITIVE_INFINITY
          if (draw.chance(20)) follower.reopen()
          const after = follower.copy.position
          if (before && after && before.epoch === after.epoch) expect(after.seq).toBeGreaterThanOrEqual(before.seq)
          compareAtPosition()
        }
      }
      const catchUp = async () => {
        while (!(await step()));
      }
      for (let n = 0; n < 80; n++) {
        const what = draw.int(1, 100)
        if (what <= 15) for (let i = draw.int(1, 12); i > 0; i--) source.write()
        else if (what <= 25) for (let i = draw.int(1, 3); i > 0; i--) source.key()
        else if (what <= 33) source.compact()
        else if (what === 34) source.restored()
        else if (what === 35) source.migrated()
        // Nothing is written for a while: it comes to have everything.
        else if (what <= 42) {
          await catchUp()
          expect(keysIn(follower.database)).toBe(source.keys())
        } else await step()
      }
      await catchUp()
      expect(follower.position()).toBe(source.position())
      expect(follower.contents()).toBe(source.contents())
      expect(keysIn(follower.database)).toBe(source.keys())
      reader.close()
      source.database.close()
      folder.remove()
    },
    { runs: 15 },
  )
  expect(looks).toBeGreaterThan(50)
  expect(cuts).toBeGreaterThan(10)
})

test('a copy is made anew where the database had another migration, and not read while it lacks one', async () => {
  await withRandomChoices(
    async (draw) => {
      const spec = randomModel(draw)
      const folder = temporaryFolder()
      const declared = declare(spec)
      const file = await makeDatabase(folder.path, declared)
      insertItems(file, spec, randomItems(draw, spec))
      const tables = copySchemaOf(declared.model)
      const source = new Source(file, tables, draw, spec)
      const reader = openReader(file, bunSqlite)
      const follower = new Follower(reader, tables, () => 500)
      const follow = async () => {
        while ((await follower.copy.step()) !== 'whole');
      }
      await follow()
      expect(follower.position()).toBe(source.position())
      const { bootstraps } = follower.copy
      await follow()
      follower.reopen()
      await follow()
      expect(follower.copy.bootstraps).toBe(0)
      source.migrated()
      await follow()
      expect([bootstraps, follower.copy.bootstraps, follower.position()]).toEqual([1, 1, source.position()])
      follower.migrations = [source.lastMigration() + 1]
      follower.reopen()
      expect(follower.position()).toBe(source.position())
      await follow()
      expect([follower.position(), follower.copy.unready]).toEqual([
        null,
        "The primary's database lacks 1 migration(s).",
      ])
      source.migrated(source.lastMigration() + 1)
      await follow()
      expect([follower.position(), follower.copy.unready]).toEqual([source.position(), null])
      reader.close()
      source.database.close()
      folder.remove()
    },
    { runs: 3 },
  )
})

test('a copy knows a key that has the number of one that is gone', async () => {
  await withRandomChoices(
    async (draw) => {
      const spec = randomModel(draw)
      const folder = temporaryFolder()
      const declared = declare(spec)
      const file = await makeDatabase(folder.path, declared)
      const tables = copySchemaOf(declared.model)
      const source = new Source(file, tables, draw, spec)
      const reader = openReader(file, bunSqlite)
      const follower = new Follower(reader, tables, () => 500)
      for (let n = 0; n < 12; n++) {
        for (let i = draw.int(0, 3); i > 0; i--) source.lastKeyGone()
        for (let i = draw.int(0, 3); i > 0; i--) source.key()
        while ((await follower.copy.step()) !== 'whole');
        expect(keysIn(follower.database)).toBe(source.keys())
      }
      reader.close()
      source.database.close()
      folder.remove()
    },
    { runs: 20 },
  )
})
