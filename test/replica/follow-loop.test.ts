import { expect, test } from 'bun:test'
import { FollowLoop, type FollowOptions } from '../../src/replica/follow-loop.ts'
import type { LogCopy, Step } from '../../src/replica/log-copy.ts'

/** A loop over a copy whose steps come out as they are told: `whole` where nothing more is told. */
function loopOf({ phase = 'following', ...options }: Partial<FollowOptions> & Partial<Pick<LogCopy, 'phase'>> = {}) {
  const outcomes: (Step | Error)[] = []
  const wakes: number[] = []
  const faults: unknown[] = []
  let steps = 0
  const copy = {
    phase,
    async step() {
      steps++
      const outcome = outcomes.shift() ?? 'whole'
      if (outcome instanceof Error) throw outcome
      return outcome
    },
  }
  const loop = new FollowLoop({
    copy,
    onStep: () => undefined,
    wakeIn: (ms) => void wakes.push(ms),
    quietMs: () => 0,
    onFault: (error) => void faults.push(error),
    ...options,
  })
  return { loop, outcomes, wakes, faults, steps: () => steps }
}

test('looks again two seconds after news, then as seldom as it has been quiet, and every five minutes at the least', async () => {
  let quiet = 0
  const { loop, wakes } = loopOf({ quietMs: () => quiet })
  for (quiet of [0, 500, 2_000, 4_000, 8_000, 100_000, 300_000, 9e9, Number.POSITIVE_INFINITY]) await loop.nudge()
  expect(wakes).toEqual([2_000, 2_000, 2_000, 4_000, 8_000, 100_000, 300_000, 300_000, 300_000])
})

test('takes steps until there is nothing new, one run at a time, and once more where it is nudged meanwhile', async () => {
  const { loop, outcomes, wakes, steps } = loopOf()
  outcomes.push('more', 'more', 'whole')
  const first = loop.nudge()
  const second = loop.nudge()
  const third = loop.nudge()
  await Promise.all([first, second, third])
  expect([steps(), wakes]).toEqual([4, [2_000]])
  await loop.nudge()
  expect(steps()).toBe(5)
})

test('comes back at once where there is more than one run takes, and no run lasts for ever', async () => {
  const { loop, outcomes, wakes, steps } = loopOf()
  outcomes.push(...Array.from({ length: 450 }, () => 'more' as const))
  for (let run = 1; run <= 3; run++) await loop.nudge()
  expect([steps(), wakes]).toEqual([451, [0, 0, 2_000]])
})

test('tries again after a fault, each time later, a minute at the most, and as ever once the source is back', async () => {
  const { loop, outcomes, wakes, faults } = loopOf()
  const away = new Error('away')
  outcomes.push(...Array.from({ length: 8 }, () => away))
  for (let run = 1; run <= 10; run++) await loop.nudge()
  expect(wakes).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 2_000, 2_000])
  expect(faults).toEqual(Array.from({ length: 8 }, () => away))
})

test('is woken where it was cut off while it made a copy', async () => {
  const { loop, wakes } = loopOf({ phase: 'bootstrapping' })
  await loop.nudge()
  expect(wakes).toEqual([10_000, 2_000])
})
