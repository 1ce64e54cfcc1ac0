/** The one table that a run prints. */
import type { RateCase, Target } from './cases.ts'
import { figureOf, ratioOf, type Samples } from './rates.ts'
import type { ServerName } from './server.ts'

export type Cells = readonly string[]

export const head: Cells = [
  'case',
  'server',
  'rate/s',
  'CPU us/request',
  'p50 ms',
  'p99 ms',
  'compared',
  'target',
  'met',
]

/** The lines of a case under full load: a line per server, Perigee's with its targets, further targets below it. */
export function rateLines(each: RateCase, samples: Samples): Cells[] {
  return each.servers.flatMap((server) => {
    const [rate, cpu] = [figureOf(samples, server, 'perSecond'), figureOf(samples, server, 'cpuMicros')]
    const verdicts = server === 'perigee' ? each.targets.map((target) => verdict(target, samples)) : []
    const [first = comparison(server, samples), ...others] = verdicts
    return [
      [each.title, server, rate.toFixed(0), decimal(cpu, 1), '', '', ...first],
      ...others.map((other) => ['', '', '', '', '', '', ...other]),
    ]
  })
}

/** Perigee's line of a case without a target still says how it compares. */
function comparison(server: ServerName, samples: Samples): string[] {
  if (server !== 'perigee') return ['', '', '']
  const [cpu, rate] = (['cpuMicros', 'perSecond'] as const).map((figure) =>
    ratioOf(samples, 'perigee', 'bun-sqlite', figure),
  )
  return [`${decimal(cpu, 2)} x the CPU, ${decimal(rate, 2)} x the rate of bun-sqlite`, '', '']
}

function verdict({ figure, of, ...limit }: Target, samples: Samples): string[] {
  const value = of === null ? figureOf(samples, 'perigee', figure) : ratioOf(samples, 'perigee', of, figure)
  const name = figure === 'cpuMicros' ? 'CPU' : 'rate'
  const text = of === null ? `${decimal(value, 0)} us of CPU` : `${decimal(value, 2)} x the ${name} of ${of}`
  return [text, ...bound(value, limit)]
}

/** The target in words, and whether the value keeps it. */
export function bound(
  value: number,
  target: { readonly atMost?: number; readonly atLeast?: number },
): [string, string] {
  const { atMost, atLeast } = target
  const text = atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`
  if (Number.isNaN(value)) return [text, 'not measured']
  const isMet = (atMost === undefined || value <= atMost) && (atLeast === undefined || value >= atLeast)
  return [text, isMet ? 'yes' : 'NO']
}

export function decimal(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits)
}

/** Prints lines below a head; the columns `numbers`, from the one to the other, are set to the right. */
export function printTable(head: Cells, numbers: readonly [first: number, last: number], lines: readonly Cells[]) {
  const all = [head, ...lines]
  const widths = head.map((_, column) => Math.max(...all.map((line) => line[column]?.length ?? 0)))
  const isNumber = (column: number) => column >= numbers[0] && column <= numbers[1]
  for (const [i, line] of all.entries()) {
    const cells = widths.map((width, column) => {
      const cell = line[column] ?? ''
      return isNumber(column) ? cell.padStart(width) : cell.padEnd(width)
    })
    console.log(cells.join('  ').trimEnd())
    if (i === 0) console.log(widths.map((width) => '-'.repeat(width)).join('  '))
  }
}
