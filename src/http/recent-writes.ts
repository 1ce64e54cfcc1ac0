import type { Position, Seq } from '../log/position.ts'
import { assert, Problem } from '../problem.ts'
import { type Caller, callerIdentity, predicateFields, predicateHolds, resolve } from '../schema/access.ts'
import { toStored } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { ResourceView } from '../version/view.ts'
import { requireScope } from './auth.ts'
import { requireServed } from './life.ts'
import { chooseView } from './negotiation.ts'
import { answerOf } from './reads.ts'
import { type ReadAnswer, resourceOf, type Service } from './service.ts'

/** A record as one caller sees it in one version of the API. */
export interface RecordPlace {
  readonly caller: Caller
  readonly view: ResourceView
  readonly id: string
}

/** What a read of a record answers at `position`, known from the answer to the write: null where there is no record. */
export interface RecentWrite {
  readonly position: Position
  readonly answer: ReadAnswer | null
}

/** The bytes of an entry beside its body: its key, its headers and the objects around them, rounded up. */
const entryBytes = 2_000

/**
 * The records that this node has just had written, as their writers see them, until its copy has them: so that a caller
 * reads its own write here without a further round trip. The oldest are dropped above `bytesMax`.
 */
export class RecentWrites {
  private readonly writeByKey = new Map<string, RecentWrite>()
  private readonly bytesMax: number
  private bytes = 0
  private newest = 0

  constructor(bytesMax: number = limits.recentWriteBytesMax) {
    this.bytesMax = bytesMax
  }

  /** Whether there is anything that a copy at `position` has not. Forgets everything where there is not. */
  areAhead({ seq }: Position): boolean {
    if (this.writeByKey.size === 0) return false
    if (seq < this.newest) return true
    this.writeByKey.clear()
    this.bytes = 0
    this.newest = 0
    return false
  }

  /** The write of a record, where a copy at `position` does not have it yet. */
  find(place: RecordPlace, position: Position): RecentWrite | null {
    const write = this.writeByKey.get(keyOf(place))
    return write?.position.epoch === position.epoch && write.position.seq > position.seq ? write : null
  }

  /** Keeps what the primary answered to a write: the record as JSON text and its ETag, or null where it was deleted. */
  keep(service: Service, place: RecordPlace, seq: Seq, record: { readonly body: string; readonly tag: string } | null) {
    const visible = record === null ? true : isVisible(place, record.body)
    if (visible === null) return
    const { caller, view, id } = place
    const groups = [`${view.resource.name}/${id}`]
    const read = record !== null && visible ? { ...record, seq, links: null, groups } : null
    this.set(keyOf(place), {
      position: { epoch: service.epoch, seq },
      answer: read && answerOf(service, `/${view.name}/:id`, { caller, view, path: `/${view.name}/${id}` }, read),
    })
  }

  private set(key: string, write: RecentWrite) {
    const known = this.writeByKey.get(key)
    // Answers overtake one another, and a repeated write gets the answer of its first time.
    if (known && known.position.seq >= write.position.seq && known.position.epoch === write.position.epoch) return
    if (known) this.drop(key, known)
    this.writeByKey.set(key, write)
    this.bytes += bytesOf(write)
    this.newest = Math.max(this.newest, write.position.seq)
    while (this.bytes > this.bytesMax) {
      const [oldest] = this.writeByKey
      assert(oldest, 'what takes bytes is here')
      this.drop(...oldest)
    }
  }

  private drop(key: string, write: RecentWrite) {
    this.writeByKey.delete(key)
    this.bytes -= bytesOf(write)
  }
}

function bytesOf({ answer }: RecentWrite): number {
  return entryBytes + 2 * (answer?.body.length ?? 0)
}

function keyOf({ caller, view, id }: RecordPlace): string {
  return `${view.version} ${view.name} ${id} ${callerIdentity(caller)}`
}

/** Whether its writer may read a record; null where that depends on what this version of the API does not show. */
function isVisible({ caller, view }: RecordPlace, body: string): boolean | null {
  const visible = resolve(view.resource.access.read, caller)
  if (visible.kind === 'always') return true
  if (visible.kind === 'never') return null // Refused as such, whatever the record.
  const shownByColumn = new Map([...view.fields.values()].map((field) => [field.column?.field.name, field]))
  if (!predicateFields(visible).every((column) => shownByColumn.has(column))) return null
  const record = JSON.parse(body)
  return predicateHolds(
    visible,
    (column) => {
      const field = shownByColumn.get(column)
      return field?.column?.toColumn(toStored(field, record[field.name])) ?? null
    },
    caller.kind === 'user' ? caller.subject : null,
  )
}

/** Which record a request reads for whom; null where it reads none, or where it is refused, which the way around tells. */
export async function placeOf({ url, headers }: Request, service: Service): Promise<RecordPlace | null> {
  const path = recordPath(url)
  if (path === null) return null
  try {
    const caller = await service.authenticate(headers.get('authorization'))
    requireScope(caller, 'read')
    const view = chooseView(service, caller.version, path.alias, headers.get('api-version'))
    requireServed(service, view)
    return { caller, view: resourceOf(view, path.name), id: path.id }
  } catch (error) {
    if (error instanceof Problem) return null
    throw error
  }
}

/** A record's path, after an origin or not, without a query: `/v1/posts/ID` or `/posts/ID`. */
export function recordPath(
  url: string,
): { readonly alias: string | null; readonly name: string; readonly id: string } | null {
  const match = /^(?:https?:\/\/[^/]+)?(?:\/([^/?#]+))?\/([^/?#]+)\/([^/?#]+)$/.exec(url)
  return match?.[2] && match[3] ? { alias: match[1] ?? null, name: match[2], id: match[3] } : null
}
