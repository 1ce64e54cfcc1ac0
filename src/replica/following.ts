import type { Clock } from '../clock.ts'
import { isAtLeast, type Position } from '../log/position.ts'
import type { Replica, ReplicaState } from '../store/replica.ts'

/** What a supervisor knows of its copy, as it tells every process that reads it. */
export interface Facts extends Omit<ReplicaState, 'ageMs'> {
  /** When the copy is known to have held everything that the primary had: milliseconds since 1970. */
  readonly heldAt: number | null
}

export interface Following extends Replica {
  /** Takes in what the supervisor knows by now. */
  learn(facts: Facts): void
}

const nothingKnown: Facts = {
  file: null,
  position: null,
  heldAt: null,
  unready: 'The replica is starting.',
  phase: 'starting',
  restarts: 0,
  bootstraps: 0,
}

/** The replica as one process sees it: what it was last told, and who waits for more. */
export function createFollowing(clock: Clock, nudge: () => void): Following {
  let facts = nothingKnown
  /** When the copy was whole, on the clock that does not jump. */
  let heldAt: number | null = null
  const waiting = new Set<() => void>()

  const has = (position: Position) => facts.position !== null && isAtLeast(facts.position, position)

  return {
    nudge,
    state() {
      const { heldAt: _, ...known } = facts
      return { ...known, ageMs: heldAt === null ? null : clock.elapsed() - heldAt }
    },
    reached(position, ms) {
      if (has(position)) return Promise.resolve(true)
      const { promise, resolve } = Promise.withResolvers<boolean>()
      const end = (reached: boolean) => {
        clearTimeout(timer)
        waiting.delete(look)
        resolve(reached)
      }
      const look = () => has(position) && end(true)
      const timer = setTimeout(() => end(false), ms)
      waiting.add(look)
      return promise
    },
    learn(next) {
      if (next.heldAt === null) heldAt = null
      else if (next.heldAt !== facts.heldAt) heldAt = clock.elapsed() - Math.max(0, clock.now() - next.heldAt)
      facts = next
      for (const look of waiting) look()
    },
  }
}
