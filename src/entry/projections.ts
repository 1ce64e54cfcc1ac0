import type { Projection } from '../schema/projection.ts'
import { beginProjection, lagsOf, type Stand, standOf, stepProjection } from '../write/projection.ts'
import { CommandError, type Node } from './node.ts'

const pollMs = 250
/** How long a read model that another release keeps must have stood still, with changes to read, to be taken over. */
const abandonedMs = 60_000

/**
 * The next step of a read model, again and again; each answers how many milliseconds to wait for the one after. Rows of
 * another declaration are made anew when the process begins. Where one that began later has them of its own declaration,
 * this one leaves it to it, until it seems to have ended.
 */
export function keepProjection(projection: Projection, node: Node, tell: (sentence: string) => void) {
  let hasLooked = false
  let leftAt: number | null = null
  let idleAt: Stand | null = null

  async function takeOver(stand: Stand | null): Promise<number> {
    const isOurs = !hasLooked || stand === null || stand.step === leftAt
    hasLooked = true
    if (isOurs) {
      if (stand)
        tell(`the read model ${projection.name} is of another declaration; it is made anew beside what is served.`)
      await beginProjection(projection, node)
      return 0
    }
    if (leftAt === null) tell(`the read model ${projection.name} is kept by another release from now on.`)
    const [lag] = await lagsOf([projection], node.reader)
    leftAt = lag && lag.changes > 0 ? stand.step : -1
    return abandonedMs
  }

  return async (): Promise<number> => {
    const start = performance.now()
    const stand = await standOf(projection, node.reader)
    if (stand && stand.step === idleAt?.step && stand.head === idleAt.head) return pollMs
    const stepped = await stepProjection(projection, node, stand)
    if (stepped === 'foreign') return takeOver(stand)
    hasLooked = true
    leftAt = null
    idleAt = stepped === 'idle' ? stand : null
    // The database takes one write at a time; callers have it for as long as the step did.
    return stepped === 'idle' ? pollMs : performance.now() - start
  }
}

/** Forgets where read models stood that the model does not have, so that one by that name later begins anew. */
export async function forgetOthers({ model, reader, primary }: Node): Promise<void> {
  const names = JSON.stringify(model.projections.map(({ name }) => name))
  const others = 'from projections where name not in (select value from json_each(?1))'
  if ((await reader.rows(`select 1 ${others} limit 1`, [names])).length === 0) return
  await primary.commit({ steps: [{ sql: `delete ${others}`, args: [names] }] })
}

/** Makes a read model anew, beside a server that may be running: whichever is first takes each step. */
export async function rebuildProjection(projection: Projection, node: Node): Promise<Stand> {
  await beginProjection(projection, node)
  for (;;) {
    const stepped = await stepProjection(projection, node)
    const stand = await standOf(projection, node.reader)
    if (stepped === 'foreign' || !stand)
      throw new CommandError(
        `A server of another release makes the read model ${projection.name} by its own declaration. Run this command of that release, or stop it.`,
      )
    if (stand.phase === 'follow') return stand
  }
}
