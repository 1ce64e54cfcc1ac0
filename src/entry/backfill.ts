import { setTimeout } from 'node:timers/promises'
import type { Model } from '../schema/model.ts'
import { type Backfill, stepBackfill, unfinishedBackfills } from '../write/backfill.ts'
import { CommandError, type Node, openNode, type Store } from './node.ts'

/** What is told of a backfill: how many records its steps have looked at, and whether they were all. */
export type TellBackfill = (backfill: Backfill, steps: number, isDone: boolean) => void

/**
 * Brings a database to the newest migration and fills the columns that take the place of others, in steps between the
 * writes of nodes that may be running. Killed, it goes on where it was. Answers how many migrations were applied.
 */
export async function migrateWhole(store: Store, model: Model, tell: TellBackfill = tellOnConsole): Promise<number> {
  const applied = await store.migrate()
  const reader = store.openReader()
  const unfinished = await unfinishedBackfills(reader)
  reader.close()
  if (unfinished.length > 0) await fill(store, model, unfinished, tell)
  return applied
}

async function fill(store: Store, model: Model, unfinished: readonly Backfill[], tell: TellBackfill) {
  const node = await openNode(store, model, (error) => {
    throw error
  })
  try {
    for (const backfill of unfinished) await finish(node, backfill, tell)
  } finally {
    await node.close()
  }
}

async function finish({ model, primary, reader }: Node, backfill: Backfill, tell: TellBackfill) {
  const { resource, field } = backfill
  let left: Backfill | undefined = backfill
  for (let steps = 1; left; steps++) {
    const start = performance.now()
    await stepBackfill(model, left, primary)
    const unfinished = await unfinishedBackfills(reader)
    left = unfinished.find((each) => each.resource === resource && each.field === field)
    tell(backfill, steps, left === undefined)
    // The database takes one write at a time; callers have it for as long as each step did.
    if (left) await setTimeout(performance.now() - start)
  }
}

function tellOnConsole({ resource, field }: Backfill, steps: number, isDone: boolean) {
  if (isDone) console.log(`Filled what takes the place of ${resource}.${field}.`)
  else if (steps % 100 === 1) console.log(`Filling what takes the place of ${resource}.${field}: step ${steps}`)
}

/** Throws where columns are not filled yet: a node would show less than there is. */
export async function requireFilled(store: Store, { reader }: Node) {
  const [first] = await unfinishedBackfills(reader)
  if (first)
    throw new CommandError(
      `The database ${store.place} is still to be filled with what takes the place of ${first.resource}.${first.field}. Run "bun run migrate".`,
    )
}
