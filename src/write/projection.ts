import { assert } from '../problem.ts'
import type { Image } from '../schema/image.ts'
import { limits } from '../schema/limits.ts'
import type { Projection, ProjectionSource } from '../schema/projection.ts'
import type { Primary, Step } from '../store/primary.ts'
import type { Reader, Row } from '../store/reader.ts'
import type { Value } from '../value.ts'
import { type ProjectedRow, parsedRow, rowWrites, Sums } from './contribution.ts'
import { beginSql, lagsSql, moveSql, projectionTexts, standSql } from './projection-sql.ts'

/**
 * The consumer of a read model. It follows the log: each step commits what some changes come to together with the
 * position that it has read, on condition that nobody has moved that meanwhile. So every change counts exactly once,
 * whoever is killed when and however many do the same.
 *
 * Made anew, rows are made beside those that serve, from the records in the order of their keys. Each step reads the next
 * records at a position, and of the records before them the changes up to that position: what was made is exact at every
 * position. Then the rows that differ take the place of those that are there.
 */
export interface Stand {
  /** Of the declaration that the rows are made by, or are being made by. */
  readonly digest: string
  readonly phase: 'clear' | 'scan' | 'replace' | 'follow'
  readonly step: number
  readonly seq: number
  /** The source that is being scanned, and the record or row that was last looked at. */
  readonly source: number
  readonly tenant: string
  readonly id: string
  /** The last change that there is. */
  readonly head: number
}

/** What a consumer works with. */
export interface Keeper {
  readonly reader: Reader
  readonly primary: Primary
  /** SHA-256 as URL-safe base64. */
  readonly digest: (text: string) => string
  /** Rows that a step looks at; `limits.projectionRowsMax` by default. */
  readonly rowsMax?: number
}

const textsOf = (projection: Projection, { rowsMax = limits.projectionRowsMax }: Pick<Keeper, 'rowsMax'>) =>
  projectionTexts(projection, rowsMax)

/** Where a read model stands; null where it was never begun. */
export async function standOf({ name }: Projection, reader: Reader): Promise<Stand | null> {
  const [row] = await reader.rows(standSql, [name])
  if (!row) return null
  const [digest, phase, step, seq, source, tenant, id, head] = row
  return {
    ...{ digest: String(digest), phase: phase as Stand['phase'], step: Number(step), seq: Number(seq) },
    ...{ source: Number(source), tenant: String(tenant), id: String(id), head: Number(head) },
  }
}

/** How far a read model is behind. */
export interface Lag {
  readonly name: string
  /** Null where it was never begun; the rows that are there are of `seq` while it follows. */
  readonly phase: Stand['phase'] | null
  readonly seq: number
  /** Changes of its sources that it has not read, `lagChangesMax` at most, and the time of the first, or null. */
  readonly changes: number
  readonly since: string | null
}

/** How far each read model is behind, in their order. */
export async function lagsOf(projections: readonly Projection[], reader: Reader): Promise<Lag[]> {
  if (projections.length === 0) return []
  const asked = projections.map(({ name, sources }) => [name, sources.map(({ resource }) => resource.name)])
  const rows = await reader.rows(lagsSql, [JSON.stringify(asked)])
  return rows.map(([name, phase = null, seq, changes, since = null]) => ({
    ...{ name: String(name), phase: phase as Lag['phase'], seq: Number(seq) },
    ...{ changes: Number(changes), since: since === null ? null : String(since) },
  }))
}

/** Has the rows made anew by the declaration, from the beginning. */
export async function beginProjection(projection: Projection, keeper: Keeper): Promise<void> {
  const args = [projection.name, keeper.digest(projection.text)]
  const outcome = await keeper.primary.commit({ steps: [{ sql: beginSql, args }] })
  if (outcome.kind !== 'committed')
    throw new Error(`the read model ${projection.name} was not begun: ${JSON.stringify(outcome)}`)
}

/**
 * Takes one bounded step from where the read model stands, or was `known` to. Answers whether there was one; `foreign` where the rows are of another declaration, or none
 * was begun. Throws where a fold fails, and where nothing could be committed.
 */
export async function stepProjection(
  projection: Projection,
  keeper: Keeper,
  known?: Stand | null,
): Promise<'moved' | 'idle' | 'foreign'> {
  const stand = known ?? (await standOf(projection, keeper.reader))
  if (stand?.digest !== keeper.digest(projection.text)) return 'foreign'
  const next = await nextOf[stand.phase](projection, stand, keeper)
  if (next === 'none') return 'idle'
  if (next === 'again') await beginProjection(projection, keeper)
  else await move(projection, stand, next, keeper)
  return 'moved'
}

/** Where a step leads, and what it writes. */
interface Next {
  readonly to: Partial<Stand>
  readonly writes: readonly Step[]
}
type Take = (projection: Projection, stand: Stand, keeper: Keeper) => Promise<Next | 'none' | 'again'>

const nextOf: Readonly<Record<Stand['phase'], Take>> = { clear, scan, replace, follow }

async function move(projection: Projection, stand: Stand, { to, writes }: Next, { primary }: Keeper) {
  const { phase, seq, source, tenant, id } = { ...stand, ...to }
  const args = [projection.name, stand.digest, stand.step, phase, seq, source, tenant, id]
  const outcome = await primary.commit({ steps: [{ sql: moveSql, args, guarded: true }, ...writes] })
  // Another consumer has taken this step, or has had the rows made anew.
  const isOvertaken = outcome.kind === 'refused' && outcome.step === 0
  if (outcome.kind !== 'committed' && !isOvertaken)
    throw new Error(`a step of the read model ${projection.name} was not committed: ${JSON.stringify(outcome)}`)
}

/** Removes what was made before and never took its place. */
async function clear(projection: Projection, _: Stand, keeper: Keeper): Promise<Next> {
  const { countMade, clearMade, rowsMax } = textsOf(projection, keeper)
  const [row] = await keeper.reader.rows(countMade, [])
  const left = Number(row?.[0] ?? 0)
  const writes = left > 0 ? [{ sql: clearMade, args: [] }] : []
  return { to: left > rowsMax ? {} : { phase: 'scan' }, writes }
}

async function scan(projection: Projection, stand: Stand, keeper: Keeper): Promise<Next | 'again'> {
  const { reader, digest } = keeper
  const texts = textsOf(projection, keeper)
  const source = projection.sources[stand.source]
  assert(source, 'a source is scanned while there is one')
  const sums = new Sums(projection, digest)
  const page = await reader.rows(texts.scans[stand.source] ?? '', [stand.tenant, stand.id])
  const [records, position] = [page.slice(0, -1), Number(page.at(-1)?.[0])]
  const last = records.at(-1)
  const tail = await readTail(projection, stand, position, keeper)
  if (tail.horizon > stand.seq) return 'again'
  for (const change of tail.changes) if (isScanned(change, projection, stand)) count(sums, change)
  // The records are of a position that the changes do not reach yet.
  if (tail.reached < position) return { to: { seq: tail.reached }, writes: await sums.writes(texts.made, reader) }
  for (const [tenant, id, ...image] of records)
    sums.take(source, String(tenant), String(id), imageIn(image, source.columns), 1)
  const writes = await sums.writes(texts.made, reader)
  if (last) return { to: { seq: position, tenant: String(last[0]), id: String(last[1]) }, writes }
  const isLast = stand.source === projection.sources.length - 1
  return { to: { seq: position, source: stand.source + 1, ...start, ...(isLast && { phase: 'replace' }) }, writes }
}

const start = { tenant: '', id: '' }

async function replace(projection: Projection, stand: Stand, keeper: Keeper): Promise<Next> {
  const texts = textsOf(projection, keeper)
  const rows = (await keeper.reader.rows(texts.replace, [stand.tenant, stand.id])).map(
    ([tenant, id, before, after]) => ({
      ...{ tenant: String(tenant), id: String(id) },
      ...{ before: parsedRow(before), row: parsedRow(after) },
    }),
  )
  const last = rows.at(-1)
  if (!last) return { to: { phase: 'follow', ...start, source: 0 }, writes: [] }
  const differing = rows.filter(({ before, row }) => !isSameRow(before, row))
  const made = rows.filter(({ row }) => row !== null).map((each) => ({ ...each, row: null }))
  const writes = [...rowWrites(texts.table, differing), ...rowWrites(texts.made, made)]
  return { to: { tenant: last.tenant, id: last.id }, writes }
}

async function follow(projection: Projection, stand: Stand, keeper: Keeper): Promise<Next | 'none' | 'again'> {
  const { reader, digest } = keeper
  const texts = textsOf(projection, keeper)
  const tail = await readTail(projection, stand, Number.MAX_SAFE_INTEGER, keeper)
  if (tail.horizon > stand.seq) return 'again'
  // What is of no source is passed over when there is something to write, so that it costs no commit of its own.
  if (tail.changes.length === 0 && tail.reached === tail.head) return 'none'
  const sums = new Sums(projection, digest)
  for (const change of tail.changes) count(sums, change)
  const writes: Step[] = await sums.writes(texts.table, reader)
  if (writes.length > 0 && tail.reached === tail.head) writes.push({ sql: texts.settle, args: [tail.reached] })
  return { to: { seq: tail.reached }, writes }
}

/** A change of a source. */
interface Change {
  readonly source: ProjectionSource
  readonly tenant: string
  readonly id: string
  /** Whether its record is, in the order of keys, at most the one that was last scanned. */
  readonly isBefore: boolean
  readonly after: Image | null
  readonly before: Image | null
}

interface Tail {
  readonly changes: readonly Change[]
  /** Everything up to here is in `changes`. */
  readonly reached: number
  readonly horizon: number
  readonly head: number
}

async function readTail(projection: Projection, stand: Stand, to: number, keeper: Keeper): Promise<Tail> {
  const { tail, columns } = textsOf(projection, keeper)
  const rows = await keeper.reader.rows(tail, [stand.seq, to, stand.tenant, stand.id])
  const [reached, horizon, head] = rows.at(-1)?.map(Number) ?? []
  assert(reached !== undefined && horizon !== undefined && head !== undefined, 'a tail has its facts')
  const changes = rows.slice(0, -1).map((row): Change => {
    const [, tenant, resource, id, isBefore, ...images] = row
    const source = projection.sources.find((each) => each.resource.name === resource)
    assert(source, 'a tail is of the sources')
    const [after, before] = [images.slice(0, columns.length + 1), images.slice(columns.length + 1)]
    return {
      ...{ source, tenant: String(tenant), id: String(id), isBefore: isBefore === 1 },
      ...{ after: imageIn(after, columns), before: imageIn(before, columns) },
    }
  })
  return { changes, reached, horizon, head }
}

/** What was asked for of an image: whether there is one, and each column as JSON, null where it is not in the image. */
function imageIn([isThere, ...values]: Row, columns: readonly string[]): Image | null {
  if (isThere !== 1) return null
  const members = columns.map((column, i): [string, Value] => [column, values[i] ?? null])
  return Object.fromEntries(
    members.flatMap(([name, text]) => (text === null ? [] : [[name, JSON.parse(String(text))]])),
  )
}

function count(sums: Sums, { source, tenant, id, before, after }: Change) {
  sums.take(source, tenant, id, before, -1)
  sums.take(source, tenant, id, after, 1)
}

function isScanned({ source, isBefore }: Change, { sources }: Projection, stand: Stand): boolean {
  const place = sources.indexOf(source)
  return place < stand.source || (place === stand.source && isBefore)
}

function isSameRow(one: ProjectedRow | null, other: ProjectedRow | null): boolean {
  if (one === null || other === null) return one === other
  return Object.keys(other).every((name) => one[name] === other[name])
}
