import type { Seq } from '../log/position.ts'
import { assert, Problem } from '../problem.ts'
import { ruleFields } from '../schema/access.ts'
import { limits } from '../schema/limits.ts'
import { andThen, type Soon } from '../soon.ts'
import type { Reader, Row } from '../store/reader.ts'
import { type CursorSigner, sealCursor } from './cursor.ts'
import type { Include } from './include.ts'
import type { ListPlan, ReadPlan, RecordPlan } from './plan.ts'
import { compileRead } from './sql.ts'

/** A page of records at one position of the log. */
export interface Page {
  /** The JSON texts of the records with commas between. */
  readonly records: string
  readonly next: string | null
  readonly previous: string | null
  readonly count: number | null
  readonly seq: Seq
  /** The last change of the resources that the page was read from. */
  readonly head: number
}

/** One record as JSON text, or null where there is none that the caller may see. */
export interface Found {
  readonly record: string | null
  readonly version: number
  readonly seq: Seq
  readonly head: number | null
}

export function readRecord(plan: RecordPlan, reader: Reader): Soon<Found> {
  const compiled = compileRead(plan)
  return andThen(reader.rows(compiled.sql, compiled.bind(plan)), ([row]) => {
    assert(row, 'a record read always has one row')
    const text = row[0] as string | null
    refuseScan(plan, Number(row[4] ?? 0), Number(row[2] ?? 0))
    return {
      record: text === null || plan.includes.length === 0 ? text : withIncludes(text, row, 5, plan.includes),
      version: row[1] as number,
      seq: (row[2] ?? 0) as Seq,
      head: row[3] as number | null,
    }
  })
}

export function readPage(plan: ListPlan, reader: Reader, cursors: CursorSigner): Soon<Page> {
  const compiled = compileRead(plan)
  return andThen(reader.rows(compiled.sql, compiled.bind(plan)), (result) => pageOf(plan, result, cursors))
}

function pageOf(plan: ListPlan, result: readonly Row[], cursors: CursorSigner): Page {
  const facts = result.at(-1)
  assert(facts, 'a page always has its facts')
  const [seq, head, cost, count, passed] = facts
  refuseScan(plan, Number(cost ?? 0), Number(seq ?? 0))
  if (Number(passed ?? 0) > limits.scanRowsMax) throw tooManyHidden(plan, Number(seq ?? 0))
  const found = result.slice(0, -1)
  const more = found.length > plan.limit
  const page = more ? found.slice(0, plan.limit) : found
  if (plan.backwards) page.reverse()
  const firstInclude = 1 + plan.order.length
  const cursorAt = (row: Row | undefined) =>
    row ? sealCursor(row.slice(1, firstInclude), { cursors, identity: plan.identity, caller: plan.caller }) : null
  const [hasPrevious, hasNext] = plan.backwards ? [more, plan.start !== null] : [plan.start !== null, more]
  return {
    records: joined(page, (row) => withIncludes(row[0] as string, row, firstInclude, plan.includes)),
    next: hasNext ? cursorAt(page.at(-1)) : null,
    previous: hasPrevious ? cursorAt(page[0]) : null,
    count: plan.count ? Number(count ?? 0) : null,
    seq: (seq ?? 0) as Seq,
    head: Number(head ?? 0),
  }
}

/**
 * The texts of rows with commas between. Pieces added to one text are copied once, when the whole is sent; `join` would
 * copy each record first, and the list of them again.
 */
export function joined(rows: readonly Row[], textOf: (row: Row) => string): string {
  let text = ''
  for (const [i, row] of rows.entries()) text += i === 0 ? textOf(row) : `,${textOf(row)}`
  return text
}

/** Work is capped by the records that a statement may look at, so that the same query is always answered the same. */
function refuseScan(plan: ReadPlan, cost: number, seq: number) {
  if (cost <= limits.scanRowsMax) return
  const because = plan.scans.map((scan) => scan.because).join(' nor ')
  throw new Problem('filter-too-complex', {
    detail: `No index serves ${because}, and it may look at ${cost} records, more than the ${limits.scanRowsMax} that a query may. Filter by equality on an indexed field and sort by the index's next field, or ask for fewer records.`,
    seq,
  })
}

/** The page may not be the whole of what the caller may see, and how much is hidden from it is no answer. */
function tooManyHidden({ view }: ListPlan, seq: number): Problem {
  const fields = [...new Set(ruleFields(view.resource.access.read).map(view.pathOf))].join(' or ')
  return new Problem('filter-too-complex', {
    detail: `Too few of the ${view.name} in this order may be read with this key: ${limits.scanRowsMax} were looked at, which is as many as a query may. Filter by equality on ${fields}.`,
    seq,
  })
}

/** Puts the includes of a row, columns from `first` on, into the record's JSON text. */
function withIncludes(record: string, row: Row, first: number, includes: readonly Include[]): string {
  if (includes.length === 0) return record
  let text = record.slice(0, -1)
  for (const [i, { name, relation }] of includes.entries()) {
    const found = row[first + i]
    text += relation.kind === 'belongsTo' ? `,"${name}":${found ?? 'null'}` : `,"${name}":[${found ?? ''}]`
  }
  return `${text}}`
}
