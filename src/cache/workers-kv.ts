import type { Cache, Entry, Look } from './cache.ts'

/** What of Workers KV a reader needs. */
export interface KvReader {
  get(key: string, options: { cacheTtl: number }): Promise<string | null>
}

/** An entry as it is kept. */
interface Kept {
  readonly value: string
  readonly seq: number
  readonly at: number
  readonly depends: readonly string[]
}

/** How long a location keeps what it has read, in seconds. */
const readSeconds = 60
/** An answer from KV that takes longer than this comes too late to be of use. */
const lookMsMax = 100

export interface WorkersKvOptions {
  readonly kv: KvReader
  /** Of one copy and one history: what other copies keep is under other names. */
  readonly prefix: string
  /** Keeps an entry, where it is still true: the copy decides, for it alone knows, and writes one entry after another. */
  readonly keep: (key: string, entry: Entry<string>) => Promise<void>
  readonly now: () => number
}

/**
 * Answers in Workers KV, beside every caller. KV shows a write elsewhere up to a minute late, and of two writes at once
 * either may win, so nothing in it is ever proven: an entry is as true as when it was read, and is found with that time.
 */
export function workersKvCache({ kv, prefix, keep, now }: WorkersKvOptions): Cache<string> {
  return {
    async look(key): Promise<Look<string>> {
      const text = await within(kv.get(prefix + key, { cacheTtl: readSeconds }))
      const time = now()
      const kept = text === null ? null : parsed(text)
      if (kept === null) return { time, found: null }
      const { value, seq, depends } = kept
      // What was kept in the future is of nobody knows when: clocks of two machines differ.
      const at = kept.at > time ? 0 : kept.at
      const entry = { value, bytes: value.length, seq, at, depends }
      return { time, found: { entry, isProven: false, seq, at, stamp: null } }
    },
    keep,
    learn: () => now(),
  }
}

export function kvText({ value, seq, at, depends }: Entry<string>): string {
  return JSON.stringify({ value, seq, at, depends } satisfies Kept)
}

function parsed(text: string): Kept | null {
  try {
    const kept = JSON.parse(text) as Kept
    const isSound = typeof kept.value === 'string' && Number.isSafeInteger(kept.seq) && Number.isFinite(kept.at)
    return isSound && Array.isArray(kept.depends) ? kept : null
  } catch {
    return null
  }
}

async function within(answer: Promise<string | null>): Promise<string | null> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('Workers KV is too slow')), lookMsMax)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}
