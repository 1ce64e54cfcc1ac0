import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import * as fc from 'fast-check'
import {
  type Call,
  type Change,
  labelViolations,
  linearizabilityViolations,
  sessionViolations,
  type Violation,
} from '../support/history.ts'

setDefaultTimeout(60_000)

const epoch = 'one'

/** `write a 1-3` is a write of "a" from 1 to 3; `read - 2-4` a read that finds nothing; `write a 1-` has no answer. */
function timed(...lines: readonly string[]): Call[] {
  return lines.map((line) => {
    const [, kind, value, start, end] = /^(read|write) (\S+) (\d+)-(\d*)$/.exec(line) ?? []
    return {
      ...{ session: line, key: 'k', kind: kind as Call['kind'], value: value === '-' ? null : value! },
      ...{
        seen: end ? { version: 1, position: 1, epoch } : null,
        start: Number(start),
        end: end ? Number(end) : Infinity,
      },
    }
  })
}

/** `write k v2 @7` is answered with version 2 of the record "k" and position 7. One session, in this order. */
function inSession(...lines: readonly string[]): Call[] {
  return lines.map((line, i) => {
    const [, kind, key, version, position] = /^(read|write) (\w+) v(\d+) @(\d+)$/.exec(line) ?? []
    return {
      ...{ session: 'one', key: key!, kind: kind as Call['kind'], value: `${key} ${version}` },
      ...{ seen: { version: Number(version), position: Number(position), epoch }, start: i, end: i + 0.5 },
    }
  })
}

const rules = (violations: readonly Violation[]) => violations.map(({ rule }) => rule)

describe('a history is linearizable', () => {
  test.each([
    ['when nothing happened', []],
    ['when a read follows the write', ['write a 1-2', 'read a 3-4']],
    ['when a read during the write finds it', ['write a 1-9', 'read a 2-3']],
    ['when a read during the write does not find it yet', ['write a 1-9', 'read - 2-3']],
    ['when two writes at once come in either order', ['write a 1-9', 'write b 1-9', 'read b 10-11']],
    ['when a write without an answer was done late', ['write a 1-', 'write b 2-3', 'read b 4-5', 'read a 6-7']],
    ['when a write without an answer was never done', ['write a 1-', 'read - 4-5']],
    ['when calls that touch are taken to be at once', ['write a 1-2', 'read - 2-3']],
  ])('%s', (_, lines) => {
    expect(linearizabilityViolations(timed(...lines))).toEqual([])
  })

  test.each([
    ['when a read does not find what was written', 'no-order', ['write a 1-2', 'read - 3-4']],
    ['when a read finds what was overwritten', 'no-order', ['write a 1-2', 'write b 3-4', 'read a 5-6']],
    ['when two reads find two writes in both orders', 'no-order', twoOrders],
    ['when a read goes back during a write', 'no-order', ['write a 1-9', 'read a 2-3', 'read - 4-5']],
    ['when a value comes again that was overwritten', 'no-order', ['write a 1-', 'write b 2-3', ...backAndForth]],
    ['when a read finds what is written later', 'read-before-written', ['read a 1-2', 'write a 3-4']],
    ['when a read finds what nobody wrote', 'read-never-written', ['write a 1-2', 'read b 3-4']],
  ])('but not %s', (_, rule, lines) => {
    expect(rules(linearizabilityViolations(timed(...lines)))).toContain(rule)
  })

  test('or not for each record by itself', () => {
    const stale = timed('write a 1-2', 'read - 3-4')
    expect(linearizabilityViolations(stale.map((call) => ({ ...call, key: call.kind })))).toEqual([])
  })

  test('exactly where some order of its calls explains it: 5,000 small histories, every order tried', () => {
    let right = 0
    const history = fc.array(
      fc.record({ isWrite: fc.boolean(), of: fc.nat(3), start: fc.nat(9), length: fc.nat(6), isAnswered: fc.nat(4) }),
      { maxLength: 6 },
    )
    const isExplained = fc.property(history, (drawn) => {
      const calls = drawn.map(({ isWrite, of, start, length, isAnswered }, i): Call => {
        const isOpen = isWrite && isAnswered === 0
        return {
          ...{ session: String(i), key: 'k', kind: isWrite ? 'write' : 'read' },
          value: isWrite ? String(i) : drawn[of]?.isWrite ? String(of) : null,
          seen: isOpen ? null : { version: 1, position: 1, epoch },
          ...{ start, end: isOpen ? Infinity : start + length },
        }
      })
      const expected = hasOrder(calls, null)
      if (expected) right++
      expect([linearizabilityViolations(calls).length === 0, calls]).toEqual([expected, calls])
    })
    fc.assert(isExplained, { numRuns: 5_000 })
    // Neither kind is rare among what is drawn.
    expect([right > 500, right < 4_500]).toEqual([true, true])
  })
})

const twoOrders = ['write a 1-2', 'write b 1-2', 'read a 3-4', 'read b 5-6', 'read a 7-8']
const backAndForth = ['read a 4-5', 'read b 6-7', 'read a 8-9']

/** Whether the calls that are left can be put in an order, from a register that holds `value`. */
function hasOrder(left: readonly Call[], value: string | null): boolean {
  if (left.every(({ seen }) => seen === null)) return true
  return left.some((call) => {
    if (left.some((other) => other.end < call.start) || (call.kind === 'read' && call.value !== value)) return false
    return hasOrder(
      left.filter((other) => other !== call),
      call.kind === 'write' ? call.value : value,
    )
  })
}

describe('a session', () => {
  test.each([
    ['reads its own write', ['write k v1 @3', 'read k v1 @3']],
    ['reads what is newer', ['write k v1 @3', 'read k v2 @4', 'read k v2 @9']],
    ['reads another record at its position', ['write k v5 @9', 'read other v1 @9']],
    ['writes after what it has read', ['read k v2 @4', 'write k v3 @5', 'write other v1 @6']],
  ])('may see that it %s', (_, lines) => {
    expect(sessionViolations(inSession(...lines))).toEqual([])
  })

  test.each([
    ['read-your-writes', 'its record is read as it was before', ['write k v2 @3', 'read k v1 @3']],
    ['read-your-writes', 'another record is read from a node without it', ['write k v2 @3', 'read other v1 @2']],
    ['monotonic-reads', 'an older version is read', ['read k v2 @3', 'read other v1 @3', 'read k v1 @3']],
    ['monotonic-reads', 'a node is read that lacks what was read', ['read k v2 @3', 'read other v1 @2']],
    ['monotonic-writes', 'a version does not rise', ['write k v2 @3', 'write k v2 @4']],
    ['monotonic-writes', 'a write is put before an earlier one', ['write k v1 @3', 'write other v1 @2']],
    ['writes-follow-reads', 'a write makes no newer version than was read', ['read k v2 @3', 'write k v2 @4']],
    ['writes-follow-reads', 'a write is put before what was read', ['read k v2 @3', 'write other v1 @3']],
  ])('is broken, %s, where %s', (rule, _, lines) => {
    expect(rules(sessionViolations(inSession(...lines)))).toEqual([rule])
  })

  test('is broken where it is shown another epoch, and everything else is judged without that', () => {
    const [write, read, ...rest] = inSession('write k v2 @3', 'read k v1 @9', 'read k v1 @3')
    const calls = [write!, { ...read!, seen: { ...read!.seen!, epoch: 'other' } }, ...rest]
    expect(rules(sessionViolations(calls))).toEqual(['another-epoch', 'read-your-writes'])
  })

  test('is broken for the one who sees it only', () => {
    const calls = inSession('write k v2 @3', 'read k v1 @2')
    expect(sessionViolations(calls.map((call) => ({ ...call, session: call.kind })))).toEqual([])
  })
})

/** A log of writes of a few records, and callers who read it at positions no older than they have seen. */
const world = fc
  .array(fc.record({ session: fc.nat(2), key: fc.nat(2), isWrite: fc.boolean(), lag: fc.nat(5) }), { minLength: 1 })
  .map((steps) => {
    const log: Change[] = []
    const reached = new Map<number, number>()
    const calls = steps.map(({ session, key, isWrite, lag }, i): Call => {
      const ofKey = log.filter((change) => change.key === String(key))
      const position = isWrite ? log.length + 1 : Math.max(log.length - lag, reached.get(session) ?? 0)
      const change = { key: String(key), position, version: ofKey.length + 1, value: String(i) }
      if (isWrite) log.push(change)
      reached.set(session, position)
      const found = isWrite ? change : ofKey.findLast((each) => each.position <= position)
      const { value = null, version = 0 } = found ?? {}
      const kind = isWrite ? 'write' : 'read'
      return {
        session: String(session),
        key: String(key),
        kind,
        value,
        seen: { version, position, epoch },
        start: i,
        end: i,
      }
    })
    return { log, calls }
  })

/** A history with one call changed. */
const changed = (calls: readonly Call[], call: Call, to: Partial<Call>) =>
  calls.map((each) => (each === call ? { ...each, ...to } : each))

describe('about callers of a log who see no older world than before', () => {
  test('nothing is said', () => {
    fc.assert(
      fc.property(world, ({ calls, log }) => {
        expect([...sessionViolations(calls), ...labelViolations(calls, log)]).toEqual([])
        // Of those who are never behind, neither is anything said of their order.
        const strong = calls.filter(({ kind, value, key, start }) => {
          const before = calls.filter((each) => each.key === key && each.kind === 'write' && each.start < start)
          return kind === 'write' || value === (before.at(-1)?.value ?? null)
        })
        expect(linearizabilityViolations(strong)).toEqual([])
      }),
    )
  })

  test('a read of an older version or position than the session knows is found, wherever it is', () => {
    const case_ = fc.tuple(world, fc.nat(), fc.boolean())
    const check = fc.property(case_, ([{ calls }, nth, isVersion]) => {
      const later = calls.filter((call) => earlierOf(calls, call).length > 0 && call.kind === 'read')
      const call = later[nth % Math.max(1, later.length)]
      if (!call?.seen) return
      const seen = isVersion ? { ...call.seen, version: -1 } : { ...call.seen, position: -1 }
      const isKnown = !isVersion || earlierOf(calls, call).some(({ key }) => key === call.key)
      const found = sessionViolations(changed(calls, call, { seen })).filter((each) => each.call.start === call.start)
      expect(found.length > 0).toBe(isKnown)
    })
    fc.assert(check)
  })

  test('an answer that is not what the log says of its position is found', () => {
    const check = fc.property(fc.tuple(world, fc.nat()), ([{ calls, log }, nth]) => {
      const call = calls[nth % calls.length]!
      const { version, position } = call.seen!
      const lies: Partial<Call>[] = [
        { value: 'another' },
        { seen: { version: version + 1, position, epoch } },
        ...(call.kind === 'write' ? [{ seen: { version, position: position + 1, epoch } }] : []),
      ]
      for (const lie of lies) {
        const found = labelViolations(changed(calls, call, lie), log)
        expect(found).toMatchObject([{ rule: 'other-than-the-log', call: { start: call.start } }])
      }
    })
    fc.assert(check)
  })
})

const earlierOf = (calls: readonly Call[], { session, start }: Call) =>
  calls.filter((each) => each.session === session && each.start < start)
