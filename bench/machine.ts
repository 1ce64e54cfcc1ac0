/** What the benchmark needs of the machine: wrk, cores to pin to, and the CPU time of a process. */
import { existsSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'

export interface Cores {
  readonly server: number | null
  readonly load: number | null
}

/** The server's core and the load's, or neither with a sentence that says why. */
export function chooseCores(report: (line: string) => void): Cores {
  if (!Bun.which('taskset')) {
    report('taskset is missing (util-linux has it): server and load are not pinned and disturb each other.')
    return { server: null, load: null }
  }
  if (cpus().length < 2) {
    report('There is one core only: server and load share it, and the rates say little.')
    return { server: null, load: null }
  }
  return { server: 0, load: 1 }
}

export function pinned(core: number | null, command: readonly string[]): string[] {
  return core === null ? [...command] : ['taskset', '-c', String(core), ...command]
}

const hasProc = existsSync('/proc/self/stat')
/** The unit of times in /proc: USER_HZ, which is 100 wherever Linux runs. */
const ticksPerSecond = 100

/** The CPU time that all threads of a process have used, in seconds; NaN where there is no /proc. */
export function cpuSeconds(pid: number): number {
  if (!hasProc) return Number.NaN
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** How long a core has been busy since the machine started, whoever used it, in seconds; NaN where unknown. */
export function busySeconds(core: number | null): number {
  if (!hasProc || core === null) return Number.NaN
  const line = readFileSync('/proc/stat', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`cpu${core} `))
  const [user = 0, nice = 0, system = 0, , , irq = 0, soft = 0, steal = 0] = (line ?? '')
    .split(' ')
    .slice(1)
    .map(Number)
  return (user + nice + system + irq + soft + steal) / ticksPerSecond
}

/** The memory of a process that is in use, in bytes; NaN where there is no /proc. */
export function memoryBytes(pid: number): number {
  if (!hasProc) return Number.NaN
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

/** Up to this share of a core, other processes are the system's own background. */
export const quietShareMax = 0.1

/** Says what others do on this machine while nothing of the benchmark runs: it is in every figure. */
export async function tellOfOthers(report: (line: string) => void) {
  const cores = cpus().map((_, core) => core)
  const busy = () => cores.reduce((sum, core) => sum + busySeconds(core), 0)
  const before = busy()
  await Bun.sleep(1_000)
  const share = (busy() - before) / cores.length
  if (share > quietShareMax)
    report(`The machine is not quiet: other processes take ${(share * 100).toFixed(0)} % of its ${cores.length} cores.`)
}
