import type { Soon } from '../soon.ts'

/** A bucket holds this many tokens, and is filled from empty to full in this time, evenly. */
export interface Quota {
  readonly tokens: number
  readonly windowMs: number
}

export interface Grant {
  /** Tokens that were taken: as many as were wanted, or as there were. */
  readonly taken: number
  /** Whole tokens that are left. */
  readonly left: number
  /** Milliseconds until there is a whole token again; 0 where there is one. */
  readonly waitMs: number
  /** Milliseconds until the bucket is full. */
  readonly fullMs: number
}

/**
 * Token buckets, by name. Drivers: `memory-buckets.ts`, `upstash-buckets.ts`. A bucket that is not known is full. A driver
 * that is out of reach rejects.
 */
export interface Buckets {
  take(name: string, quota: Quota, wanted: number): Soon<Grant>
}
