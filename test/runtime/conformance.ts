import { afterAll, beforeAll, describe, test } from 'bun:test'
import { consistency } from './consistency.ts'
import { errors } from './errors.ts'
import { feed } from './feed.ts'
import { idempotency } from './idempotency.ts'
import { lists } from './lists.ts'
import { reads } from './reads.ts'
import { refusals } from './refusals.ts'
import type { RunningTarget, Target } from './target.ts'
import { versions } from './versions.ts'
import { type Chapter, type World, worldAt } from './world.ts'
import { writes } from './writes.ts'

/** What every runtime does alike, over HTTP and nothing else. */
const story: Readonly<Record<string, Chapter>> = {
  ...{ reads, lists, writes, idempotency, versions, consistency, errors, refusals, feed },
}

/** Registers the story's tests for one target. What it skips is told where the tests are. */
export function conforms(target: Target) {
  const { name, skips } = target
  checkSkips(skips, Object.values(story).flatMap(Object.keys))
  for (const [sentence, reason] of Object.entries(skips)) console.warn(`SKIPPED at ${name}: "${sentence}": ${reason}`)
  describe(name, () => {
    let running: RunningTarget
    let world: World
    beforeAll(async () => {
      running = await target.start()
      world = await worldAt(running)
    })
    afterAll(() => running.stop())
    describe.each(Object.keys(story))('%s', (title) => {
      for (const [sentence, holds] of Object.entries(story[title] ?? {})) {
        const reason = skips[sentence]
        if (reason === undefined) test(sentence, () => holds(world))
        else test.skip(`${sentence} (${reason})`, () => {})
      }
    })
  })
}

/** A skip must name a sentence, so that none outlives what it was for, and a sentence is told once, so that it names one. */
export function checkSkips(skips: Target['skips'], sentences: readonly string[]) {
  const twice = sentences.filter((each, i) => sentences.indexOf(each) !== i)
  if (twice.length > 0) throw new Error(`The story says twice: ${twice.join('; ')}`)
  for (const [sentence, reason] of Object.entries(skips)) {
    if (!sentences.includes(sentence)) throw new Error(`A skip is of no sentence of the story: "${sentence}"`)
    if (reason.trim() === '') throw new Error(`A skip has no reason: "${sentence}"`)
  }
}
