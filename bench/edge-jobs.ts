/** What the clients of the edge benchmark do, each in a process of its own, in the network of the node it is beside. */
import { join } from 'node:path'
import { endingWithParent } from '../src/entry/supervise.ts'

interface Jobs {
  /** Reads one after another; answers the milliseconds that each took. */
  readonly reads: Job<{ readonly paths: readonly string[]; readonly count: number; readonly warm: number }, number[]>
  /** Creates one after another, each read at `readAt`, where that is given, with the token of its answer. */
  readonly writes: Job<
    { readonly count: number; readonly name: string; readonly readAt: string | null },
    { readonly writes: number[]; readonly reads: number[] }
  >
  /** Creates at a rate; answers when each was acknowledged, in milliseconds since 1970, and its position. */
  readonly paced: Job<{ readonly perSecond: number; readonly seconds: number; readonly name: string }, Moment[]>
  /** Looks at where a node stands; answers when each position was first seen. */
  readonly watch: Job<{ readonly seconds: number }, Moment[]>
  /** Creates by clients that each wait for their answer; answers how many were made each second. */
  readonly load: Job<{ readonly clients: number; readonly seconds: number; readonly name: string }, number>
}

/** The run ends for a reason that a sentence tells. */
export class BenchError extends Error {}

/** When, in milliseconds since 1970, and a position in the log. */
export type Moment = [at: number, seq: number]

interface Job<Options, Result> {
  readonly options: Options & { readonly url: string; readonly key: string }
  readonly result: Result
}

export type Kind = keyof Jobs
export type JobOf<K extends Kind> = Jobs[K]['options'] & { readonly kind: K }
export type ResultOf<K extends Kind> = Jobs[K]['result']

/** Does a job in the network where commands that `within` is put before run. */
export async function runJob<K extends Kind>(within: readonly string[], job: JobOf<K>): Promise<ResultOf<K>> {
  return runScript(within, 'edge-client.ts', job)
}

/** No job takes nearly as long; one that hangs is ended. */
const jobMsMax = 120_000

/** Runs a script of this folder that takes its input and gives its output as JSON. It ends with this process. */
export async function runScript<T>(within: readonly string[], script: string, input: unknown): Promise<T> {
  const child = Bun.spawn([...within, ...endingWithParent('TERM'), process.execPath, join(import.meta.dir, script)], {
    stdio: [new Blob([JSON.stringify(input)]), 'pipe', 'inherit'],
    timeout: jobMsMax,
    killSignal: 'SIGKILL',
  })
  const text = await new Response(child.stdout).text()
  if ((await child.exited) !== 0)
    throw new BenchError(`${script} ended ${child.signalCode ?? `with ${child.exitCode}`}.`)
  return JSON.parse(text) as T
}
