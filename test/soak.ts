/** `bun run soak`: breaks and mends a cluster for minutes while callers call it, and judges what they were told. */
import { parseArgs } from 'node:util'
import { lackingForClock, startCluster, type TestCluster } from './support/cluster.ts'
import { lackingForDisk } from './support/faults.ts'
import { detailsOf, summaryOf, wrongIn } from './support/report.ts'
import { Followers, holdTrial, type Trial } from './support/trial.ts'

const usage = `bun run soak --minutes N [--seed S] [--tokens off] [--edges N] [--workers N] [--callers N]
Starts a primary with its sqld and edges on this machine, and breaks and mends them again and again while callers read and
write through the edges. Judges every half minute what they were told, and the databases: each write that was
acknowledged is there once, strong reads and writes have one order, sessions see no older world, and who follows the log
over all of it, from one snapshot on, has what the database has. Ends with a line such as
  900 faults, 12000 writes, 20000 reads: 0 lost, 0 twice, 0 ghost, 0 session violations
and with code 0 where nothing was wrong, with 1 where something was.
  --minutes N   how long, such as 10 or 0.5; the last half minute is finished
  --seed S      a whole number that decides the calls, the faults and their order; drawn where it is not given
  --tokens off  the callers send no Consistency-Token back: now sessions must be broken, which shows that the judge sees
  --edges N     from 1 to 9 (3)
  --workers N   edges beside them that are Workers, in workerd, from 0 to 3 (0)
  --callers N   how many call at once, and how many records they fight over, from 1 to 999 (16)`

interface Options {
  readonly minutes: number
  readonly seed: number
  readonly hasTokens: boolean
  readonly edges: number
  readonly workers: number
  readonly callers: number
}

/** Between two judgements. */
const trialMs = 30_000

async function main(args: string[]): Promise<number> {
  const options = readOptions(args)
  if (options === null) {
    console.log(usage)
    return 0
  }
  const signalled = firstSignal()
  const { seed, edges, workers, hasTokens } = options
  const kinds = workers === 0 ? `${edges} edges` : `${edges} edges and ${workers} Workers`
  console.log(`seed ${seed}, ${kinds}, tokens ${hasTokens ? 'on' : 'off'}`)
  for (const [what, lacking] of [
    ['the clock of an edge is not turned', lackingForClock],
    ['the disk of sqld does not fail', lackingForDisk],
  ])
    if (lacking) console.log(`SKIPPED, ${what}: ${lacking}`)
  const names = (kind: string, length: number) => Array.from({ length }, (_, i) => `${kind}-${i + 1}`)
  const starting = startCluster(names('edge', edges), names('worker', workers))
  try {
    return await Promise.race([signalled, starting.then((cluster) => soak(cluster, options))])
  } catch (error) {
    console.log(`seed ${seed} WRONG ${(error as Error).stack}`)
    return 1
  } finally {
    const cluster = await starting.catch(() => null)
    await cluster?.stop()
  }
}

/** Trials one after the other on the same cluster, each with the next seed, until the time is over. */
async function soak(cluster: TestCluster, { minutes, seed, hasTokens, callers }: Options): Promise<number> {
  const start = performance.now()
  const minutesGone = () => (performance.now() - start) / 60_000
  const trials: Trial[] = []
  const followers = new Followers(cluster)
  let isRight = true
  while (minutesGone() < minutes) {
    const times = { ms: Math.min(trialMs, (minutes - minutesGone()) * 60_000), faultMsMax: 1_000, peaceMsMax: 2_000 }
    const trial = await holdTrial(cluster, followers, { seed: seed + trials.length, ...times, hasTokens, callers })
    trials.push(trial)
    console.log(
      `${minutesGone().toFixed(1)} of ${minutes} minutes, seed ${seed + trials.length - 1}: ${summaryOf([trial])}`,
    )
    const wrong = wrongIn(trial, hasTokens)
    for (const line of wrong) console.log(`  WRONG ${line}`)
    isRight &&= wrong.length === 0
  }
  await followers.stop()
  const missed = trials.reduce((sum, { sessions }) => sum + sessions.length, 0)
  console.log(`seed ${seed}\n${detailsOf(trials)}\n${followers.told()}`)
  if (!hasTokens)
    console.log(`without tokens sessions are broken: ${missed > 0 ? 'the judge sees it' : 'and it does not see it'}`)
  console.log(summaryOf(trials))
  return isRight && (hasTokens || missed > 0) ? 0 : 1
}

/** Null where help is asked for. Ends this process with code 2 where the arguments are wrong. */
function readOptions(args: string[]): Options | null {
  try {
    const texts = { minutes: { type: 'string' }, seed: { type: 'string' }, tokens: { type: 'string' } } as const
    const numbers = { edges: { type: 'string' }, workers: { type: 'string' }, callers: { type: 'string' } } as const
    const options = { ...texts, ...numbers, help: { type: 'boolean', short: 'h' } } as const
    const { values } = parseArgs({ args, options })
    if (values.help) return null
    const { minutes, seed, tokens = 'on', edges = '3', workers = '0', callers = '16' } = values
    if (minutes === undefined) throw new Error('--minutes is missing')
    if (tokens !== 'on' && tokens !== 'off') throw new Error(`--tokens ${tokens} is neither on nor off`)
    return {
      minutes: numberIn('--minutes', minutes, /^\d{1,4}(\.\d+)?$/, 'a number of minutes from 0.1 to 9999', 0.1),
      seed: seed === undefined ? Math.floor(Math.random() * 1e6) : numberIn('--seed', seed, /^\d{1,9}$/, wholeNumber),
      hasTokens: tokens === 'on',
      workers: numberIn('--workers', workers, /^[0-3]$/, 'a number from 0 to 3'),
      edges: numberIn('--edges', edges, /^[1-9]$/, 'a number from 1 to 9'),
      callers: numberIn('--callers', callers, /^[1-9]\d{0,2}$/, 'a number from 1 to 999'),
    }
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`)
    process.exit(2)
  }
}

const wholeNumber = 'a whole number of at most nine digits'

function numberIn(name: string, text: string, form: RegExp, expected: string, least = 0): number {
  if (form.test(text) && Number(text) >= least) return Number(text)
  throw new Error(`${name} ${text} is not ${expected}`)
}

/** The exit code of a process that the first signal ends. */
function firstSignal(): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  for (const [signal, code] of [
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.once(signal, () => resolve(code))
  return promise
}

// What a trial that was cut off still waits for ends with this process.
process.exit(await main(process.argv.slice(2)))
