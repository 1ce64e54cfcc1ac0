/** The one table that a run of the edge benchmark prints. */
import { type Cells, decimal } from './table.ts'

export const head: Cells = ['case', 'p50 ms', 'p99 ms', 'rate/s', 'compared', 'target', 'met']

/** Half of the values are at most `p50`, 99 of 100 at most `p99`; NaN where that is not known. */
export interface Spread {
  readonly p50: number
  readonly p99: number
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99) }
}

export function line(title: string, { p50, p99 }: Spread, compared = '', verdict: Cells = ['', '']): Cells {
  return [title, decimal(p50, 2), decimal(p99, 2), '', compared, ...verdict]
}

export function rateLine(title: string, perSecond: number, compared = ''): Cells {
  return [title, '', '', perSecond.toFixed(0), compared, '', '']
}
