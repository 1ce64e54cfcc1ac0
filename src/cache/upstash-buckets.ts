import type { Buckets, Grant } from './buckets.ts'
import { Away, type UpstashLink } from './upstash-link.ts'

/**
 * Keys: a bucket. Arguments: its tokens, its window, how many are wanted. Kept is when it will be full, in microseconds by
 * the clock of the store, as long as it is not.
 */
const takeScript = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tokens, window, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000, tonumber(ARGV[3])
local each = window / tokens
local missing = math.min(window, math.max(0, tonumber(redis.call('GET', KEYS[1]) or now) - now))
local there = math.floor((window - missing) / each + 0.000001)
local taken = math.min(wanted, there)
local full = missing + taken * each
if taken > 0 then redis.call('SET', KEYS[1], string.format('%.0f', now + full), 'PX', math.ceil(full / 1000)) end
local wait = there > taken and 0 or math.ceil((full + each - window) / 1000)
return {taken, there - taken, wait, math.ceil(full / 1000)}`

/** Buckets in a Redis behind Upstash's REST API, shared by all who have it. */
export function upstashBuckets(link: UpstashLink): Buckets {
  const take = link.script(takeScript, grantIn)
  return {
    take: (name, { tokens, windowMs }, wanted) => take([`perigee:bucket:${name}`], [tokens, windowMs, wanted]),
  }
}

function grantIn(answer: unknown): Grant {
  const numbers = Array.isArray(answer) ? answer.map(Number) : []
  const [taken, left, waitMs, fullMs] = numbers
  if (
    taken === undefined ||
    left === undefined ||
    waitMs === undefined ||
    fullMs === undefined ||
    !numbers.every(isCount)
  )
    throw new Away('the store answers something else')
  return { taken, left, waitMs, fullMs }
}

const isCount = (number: number) => Number.isSafeInteger(number) && number >= 0
