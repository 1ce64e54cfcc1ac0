/** What one client asked of one record, and what it was told. Each value is written once. */
export interface Call {
  /** A client that sends one request after the other. */
  readonly session: string
  /** The record. */
  readonly key: string
  readonly kind: 'read' | 'write'
  /** What was written; or what was read, null where there was no record. */
  readonly value: string | null
  /** What the answer says of the record and of the log; null of a write without an answer: it may have been done. */
  readonly seen: { readonly version: number; readonly position: number; readonly epoch: string } | null
  /** When it was sent and when it was answered, never where it was not; by one clock for all clients. */
  readonly start: number
  readonly end: number
}

/** A call whose answer breaks a rule, and the one that it contradicts where that is one. */
export interface Violation {
  readonly rule: string
  readonly call: Call
  readonly against?: Call
}

type Answered = Call & { readonly seen: NonNullable<Call['seen']> }

/** A change as the log has it. */
export interface Change {
  readonly key: string
  readonly position: number
  readonly version: number
  readonly value: string | null
}

/** A write and the reads that found its value: the call that ended first and the one that began last. */
interface Cluster {
  readonly first: Call | null
  readonly last: Call | null
  readonly firstEnd: number
  readonly lastStart: number
}

/**
 * Whether there is an order of the calls in which each read finds the last value written and which no clock contradicts,
 * for each record by itself (registers that begin with null, each value written once: Gibbons and Korach, "Testing shared
 * memories", 1997). A cluster is before another when a call of the first ended before one of the second began; two that
 * are both before each other have no order. Empty where there is an order. O(n log n).
 */
export function linearizabilityViolations(calls: readonly Call[]): Violation[] {
  return [...Map.groupBy(calls, (call) => call.key).values()].flatMap((ofKey) => {
    const writes = new Map(ofKey.filter(({ kind }) => kind === 'write').map((call) => [call.value, call]))
    const reads = ofKey.filter(({ kind }) => kind === 'read')
    const violations: Violation[] = []
    for (const call of reads) {
      const write = writes.get(call.value)
      if (write && call.end < write.start) violations.push({ rule: 'read-before-written', call, against: write })
      else if (!write && call.value !== null) violations.push({ rule: 'read-never-written', call })
    }
    const readsByValue = Map.groupBy(reads, ({ value }) => value)
    const clusters = [clusterOf(null, readsByValue.get(null) ?? [])]
    for (const [value, write] of writes) clusters.push(clusterOf(write, readsByValue.get(value) ?? []))
    return [...violations, ...disorders(clusters)]
  })
}

function clusterOf(write: Call | null, reads: readonly Call[]): Cluster {
  const calls = write ? [write, ...reads] : reads
  const best = (isBetter: (a: Call, b: Call) => boolean) =>
    calls.reduce<Call | null>((a, b) => (a && !isBetter(b, a) ? a : b), null)
  const first = best((a, b) => a.end < b.end)
  const last = best((a, b) => a.start > b.start)
  return {
    ...{ first, last, lastStart: last?.start ?? Number.NEGATIVE_INFINITY },
    firstEnd: write && first ? first.end : Number.NEGATIVE_INFINITY,
  }
}

function disorders(clusters: Cluster[]): Violation[] {
  clusters.sort((a, b) => a.firstEnd - b.firstEnd)
  const violations: Violation[] = []
  for (const [i, a] of clusters.entries()) {
    for (let j = i + 1; (clusters[j]?.firstEnd ?? Number.POSITIVE_INFINITY) < a.lastStart; j++) {
      const b = clusters[j]
      if (b?.first && a.last && a.firstEnd < b.lastStart)
        violations.push({ rule: 'no-order', call: a.last, against: b.first })
    }
  }
  return violations
}

/** By what came first and what came then: which guarantee is broken when the second does not stand after the first. */
const guarantees = {
  read: { read: 'monotonic-reads', write: 'writes-follow-reads' },
  write: { read: 'read-your-writes', write: 'monotonic-writes' },
} as const

/**
 * The four guarantees of a session (Terry and others, "Session guarantees for weakly consistent replicated data", 1994).
 * A read is of no older version of its record than the session has read or written, and from a node that has everything
 * that the session has read or written, of other records too. A write comes after both. All of it is of one epoch.
 */
export function sessionViolations(calls: readonly Call[]): Violation[] {
  return [...Map.groupBy(calls.filter(isAnswered), (call) => call.session).values()].flatMap((session) => {
    const newest = new Map<string, Answered>()
    const [first, ...later] = session.sort((a, b) => a.start - b.start)
    const others = later.filter(({ seen }) => seen.epoch !== first?.seen.epoch)
    return [
      ...others.map((call) => ({ rule: 'another-epoch', call, ...(first && { against: first }) })),
      ...session.filter((call) => !others.includes(call)).flatMap((call) => stepViolations(call, newest)),
    ]
  })
}

const isAnswered = (call: Call): call is Answered => call.seen !== null

/** `newest` has the session's read and write of the highest position, and of the highest version of each record. */
function stepViolations(call: Answered, newest: Map<string, Answered>): Violation[] {
  const violations: Violation[] = []
  for (const kind of ['read', 'write'] as const) {
    const before = [newest.get(kind), newest.get(`${kind} ${call.key}`)]
    const against = before.find((earlier) => earlier && !isAfter(call, earlier))
    if (against) violations.push({ rule: guarantees[kind][call.kind], call, against })
  }
  const [last, lastOfKey] = [newest.get(call.kind), newest.get(`${call.kind} ${call.key}`)]
  if (!last || call.seen.position >= last.seen.position) newest.set(call.kind, call)
  if (!lastOfKey || call.seen.version >= lastOfKey.seen.version) newest.set(`${call.kind} ${call.key}`, call)
  return violations
}

function isAfter(call: Answered, earlier: Answered): boolean {
  const least = call.kind === 'write' ? 1 : 0
  const isNewer = call.key !== earlier.key || call.seen.version >= earlier.seen.version + least
  return isNewer && call.seen.position >= earlier.seen.position + least
}

/** Answers that are not what the log, in its order, says of their position: whoever gave them has shown another world. */
export function labelViolations(calls: readonly Call[], log: readonly Change[]): Violation[] {
  const changesByKey = Map.groupBy(log, ({ key }) => key)
  return calls.filter(isAnswered).flatMap((call) => {
    const { version, position } = call.seen
    const at = changesByKey.get(call.key)?.findLast((change) => change.position <= position)
    const isSame = (at?.value ?? null) === call.value && (at?.version ?? 0) === version
    const isThere = call.kind === 'read' || at?.position === position
    return isSame && isThere ? [] : [{ rule: 'other-than-the-log', call }]
  })
}
