import type { Cache, Entry, Found, Look, News } from './cache.ts'
import { Away, type UpstashLink } from './upstash-link.ts'

/** How long what is known of changes is kept after the last news. */
const newsMsMax = 86_400_000
/** Names whose last change is known; at more they are forgotten, and with them what was proven. */
const namesMax = 20_000

/** The clock of the store in milliseconds: the only one that all nodes share. */
const time = `local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)`

/** Keys: an entry, what is known of changes. */
const lookScript = `${time}
local entry = redis.call('HMGET', KEYS[1], 'seq', 'at', 'depends', 'value')
if not entry[4] then return {now} end
local news = redis.call('HMGET', KEYS[2], 'to', 'at', 'floor', 'stamp')
local seq = tonumber(entry[1])
local proven = news[1] and seq >= tonumber(news[3])
if proven then
  for name in string.gmatch(entry[3], '[^\\n]+') do
    local last = redis.call('HGET', KEYS[2], name)
    if last and tonumber(last) > seq then proven = false break end
  end
end
if not proven then return {now, entry[1], entry[2], entry[3], entry[4]} end
return {now, entry[1], entry[2], entry[3], entry[4], news[1], news[2], news[4]}`

/** Keys: an entry. Arguments: seq, at, depends, value, how long it is kept. Of two entries the one that knows more stays. */
const keepScript = `
local kept = redis.call('HMGET', KEYS[1], 'seq', 'at')
local seq, at = tonumber(ARGV[1]), tonumber(ARGV[2])
if kept[1] then
  local keptSeq = tonumber(kept[1])
  if keptSeq > seq or (keptSeq == seq and tonumber(kept[2]) >= at) then return 0 end
end
redis.call('HSET', KEYS[1], 'seq', ARGV[1], 'at', ARGV[2], 'depends', ARGV[3], 'value', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1`

/**
 * Keys: what is known of changes. Arguments: from (empty for nothing), to, at, stamp, the most names, how long it is kept,
 * then name and seq in turn. All of it is one hash, so that it is lost as a whole: a name that is not in it has not changed
 * since its floor.
 */
const learnScript = `${time}
local key = KEYS[1]
local known = tonumber(redis.call('HGET', key, 'to') or '')
local goesOn = known and ARGV[1] ~= '' and known >= tonumber(ARGV[1]) and redis.call('HLEN', key) <= tonumber(ARGV[5])
if goesOn then
  for i = 7, #ARGV, 2 do
    local last = redis.call('HGET', key, ARGV[i])
    if not last or tonumber(last) < tonumber(ARGV[i + 1]) then redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
  end
else
  redis.call('DEL', key)
  redis.call('HSET', key, 'floor', ARGV[2])
end
if not goesOn or known <= tonumber(ARGV[2]) then redis.call('HSET', key, 'to', ARGV[2], 'stamp', ARGV[4]) end
local at = goesOn and tonumber(redis.call('HGET', key, 'at')) or 0
if at <= tonumber(ARGV[3]) then redis.call('HSET', key, 'at', ARGV[3]) end
redis.call('PEXPIRE', key, ARGV[6])
return now`

/** What a link can do for caches, whichever history they are of. */
function scriptsOf(link: UpstashLink) {
  return {
    look: link.script(lookScript, parseLook),
    keep: link.script(keepScript, (answer) => {
      numberIn(answer)
    }),
    learn: link.script(learnScript, numberIn),
  }
}

/**
 * Caches in a Redis behind Upstash's REST API, one for each epoch. What is kept are texts, for `entryMsMax` milliseconds
 * whatever is known of them.
 */
export function upstashCaches(link: UpstashLink, entryMsMax: number): (epoch: string) => Cache<string> {
  const { look, keep, learn } = scriptsOf(link)
  return (epoch) => {
    // One slot of a cluster for all of a history, since a script looks at an entry and at the news of it together.
    const prefix = `perigee:{${epoch}}`
    const news = `${prefix}:news`
    const nameOf = (key: string) => `${prefix}:answer:${key}`
    return {
      look: (key) => look([nameOf(key), news], []),
      keep: (key, { seq, at, depends, value }: Entry<string>) =>
        keep([nameOf(key)], [seq, at, depends.join('\n'), value, entryMsMax]),
      learn: ({ from, to, at, stamp, seqByName }: News) =>
        learn([news], [from ?? '', to, at, stamp, namesMax, newsMsMax, ...[...seqByName].flat()]),
    }
  }
}

/** Whatever is not as the script answers it counts as no answer. */
function parseLook(answer: unknown): Look<string> {
  if (!Array.isArray(answer)) throw new Away('the store answers something else')
  const now = numberIn(answer[0])
  return { time: now, found: answer.length === 1 ? null : foundIn(answer.slice(1), now) }
}

function foundIn([seqText, atText, depends, value, ...proof]: unknown[], now: number): Found<string> {
  if (typeof depends !== 'string' || typeof value !== 'string') throw new Away('the store answers something else')
  const [seq, at] = [numberIn(seqText), numberIn(atText)]
  const entry = { value, bytes: value.length, seq, at, depends: depends.split('\n') }
  // What was kept in the future is of nobody knows when: the clock of the store was set back.
  const told = (since: number) => (since > now ? 0 : since)
  if (proof.length === 0) return { entry, isProven: false, seq, at: told(at), stamp: null }
  const [to, newsAt, stamp] = [numberIn(proof[0]), numberIn(proof[1]), proof[2]]
  if (typeof stamp !== 'string') throw new Away('the store answers something else')
  const since = Math.max(told(at), told(newsAt))
  return { entry, isProven: true, seq: Math.max(seq, to), at: since, stamp: to > seq ? stamp : null }
}

function numberIn(answer: unknown): number {
  const number = typeof answer === 'string' && answer !== '' ? Number(answer) : answer
  if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0)
    throw new Away('the store answers something else')
  return number
}
