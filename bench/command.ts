import { parseArgs } from 'node:util'
import { CommandError } from '../src/entry/node.ts'
import { BenchError } from './edge-jobs.ts'

/** What is told while a benchmark runs; its table alone goes to the standard output. */
export const report = (line: string) => console.error(line)

/**
 * Runs a benchmark as a command that takes `--quick` and `--help`, and ends this process: with 2 where the arguments are
 * wrong, with 1 and a line where it cannot measure.
 */
export async function runBench(usage: string, measure: (isQuick: boolean) => Promise<void>): Promise<never> {
  const { quick, help } = readOptions(usage)
  if (help) {
    console.log(usage)
    process.exit(0)
  }
  try {
    await measure(quick)
    process.exit(0)
  } catch (error) {
    if (!(error instanceof BenchError || error instanceof CommandError)) throw error
    report(error.message)
    process.exit(1)
  }
}

function readOptions(usage: string): { readonly quick: boolean; readonly help: boolean } {
  try {
    const options = { quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const
    const { quick = false, help = false } = parseArgs({ options }).values
    return { quick, help }
  } catch (error) {
    report(`${(error as Error).message}\n\n${usage}`)
    process.exit(2)
  }
}
