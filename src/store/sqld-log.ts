import { open, statfs } from 'node:fs/promises'
import { isFailed, type Settled } from './groups.ts'

/** A disk that refused a write and has less room than this is full. */
const fullBytes = 4 * 1024 * 1024

/**
 * For the sqld whose files are in `walFolder`, on this host: it leaves a commit to the operating system, and whoever wants
 * it durable puts its log on the disk. Makes durable what is told, and says why the disk did not take what failed.
 */
export async function onDisk(settled: Settled[], walFolder: string): Promise<Settled[]> {
  const told = settled.some(isFailed) && (await isFull(walFolder)) ? settled.map(asFull) : settled
  return settled.every(isFailed) || (await isDurable(walFolder)) ? told : told.map(inDoubt)
}

/** Puts the server's log on the disk; false where that failed. Its file may be another one after each of its starts. */
async function isDurable(walFolder: string): Promise<boolean> {
  try {
    await using log = await open(`${walFolder}/data-wal`)
    await log.datasync()
    return true
  } catch {
    return false // What the disk has of the log is not known then, and the outcomes say so.
  }
}

/** What was committed may not outlive a power cut, nor what a refusal goes by: it may be of the same group. */
function inDoubt(settled: Settled): Settled {
  return settled instanceof Error || settled.kind === 'failed' ? settled : { kind: 'unknown' }
}

/** sqld calls it a fault of the disk when there is no room for its own log. */
async function isFull(folder: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize < fullBytes
}

function asFull(settled: Settled): Settled {
  return isFailed(settled) ? { kind: 'failed', reason: 'full' } : settled
}
