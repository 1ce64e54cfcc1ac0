import { limits } from '../schema/limits.ts'
import type { Queue } from '../store/groups.ts'

/** How much may wait for the writer of a node. */
export const writeQueue: Queue = {
  ...{ waitingMax: limits.pendingWritesMax, waitMsMax: limits.writeWaitMsMax },
  elapsed: () => performance.now(),
}
