/** How many creates a primary commits each second, beside @libsql/client alone on the same sqld. */
import { ownDatabase } from '../src/entry/primary-folder.ts'
import { readSettings } from '../src/entry/settings.ts'
import type { Bench } from './edge.ts'
import { runJob, runScript } from './edge-jobs.ts'
import { rateLine } from './edge-table.ts'
import { median } from './rates.ts'
import { type Cells, decimal } from './table.ts'

const clientCounts = [1, 32, 128]

interface Alone {
  readonly perSecond: number
  readonly failed: number
}

/** `dataDir` is the primary's. */
export async function measureThroughput(
  { primary, key, effort, run }: Bench,
  dataDir: string,
  report: (line: string) => void,
): Promise<Cells[]> {
  const { url, databaseAddress } = primary
  const database = ownDatabase({ ...readSettings({}, null), dataDir, libsqlListen: databaseAddress })
  const lines: Cells[] = []
  for (const clients of clientCounts) {
    report(`throughput of ${clients} client(s)`)
    const rounds: { readonly node: number; readonly alone: Alone }[] = []
    for (let round = 0; round < effort.loadRounds; round++) {
      const load = { clients, seconds: effort.loadSeconds, name: `${run}-load${clients}-${round}` }
      rounds.push({
        node: await runJob([], { kind: 'load', url, key, ...load }),
        alone: await runScript<Alone>([], 'baselines/libsql-batch.ts', { ...database, ...load }),
      })
    }
    const ratio = median(rounds.map(({ node, alone }) => node / alone.perSecond))
    const failed = rounds.reduce((sum, { alone }) => sum + alone.failed, 0)
    lines.push(
      rateLine(
        `creates of ${clients} client(s) at the primary`,
        median(rounds.map(({ node }) => node)),
        `${decimal(ratio, 2)} x batch()`,
      ),
      rateLine(
        `  @libsql/client batch() alone`,
        median(rounds.map(({ alone }) => alone.perSecond)),
        failed > 0 ? `${failed} failed` : '',
      ),
    )
  }
  return lines
}
