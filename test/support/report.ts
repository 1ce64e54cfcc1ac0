import type { Trial } from './trial.ts'

/** What trials came to, in words. */

const sum = (numbers: Iterable<number>) => [...numbers].reduce((a, b) => a + b, 0)

/** `24 faults, 500 writes, 900 reads: 0 lost, 0 twice, 0 ghost, 0 session violations`. The writes are those acknowledged. */
export function summaryOf(trials: readonly Trial[]): string {
  const total = (of: (trial: Trial) => number) => sum(trials.map(of))
  const happened = [
    `${total(({ faults }) => sum(faults.values()))} faults`,
    `${total(({ writes }) => writes.acknowledged)} writes`,
    `${total(({ reads }) => reads.session + reads.strong)} reads`,
  ]
  const wrong = [
    ...(['lost', 'twice', 'ghost'] as const).map(
      (kind) => `${total((trial) => trial.accounting[kind].length)} ${kind}`,
    ),
    `${total(({ sessions }) => sessions.length)} session violations`,
  ]
  return `${happened.join(', ')}: ${wrong.join(', ')}`
}

/** The faults by name, what became of the calls, and the answers by status. */
export function detailsOf(trials: readonly Trial[]): string {
  const total = (of: (trial: Trial) => number) => sum(trials.map(of))
  return `faults: ${counted(trials.flatMap(({ faults }) => [...faults]))}
writes: ${total(({ writes }) => writes.acknowledged)} acknowledged, ${total(({ writes }) => writes.refused)} refused, ${total(({ writes }) => writes.unanswered)} unanswered
reads: ${total(({ reads }) => reads.session)} in sessions, ${total(({ reads }) => reads.strong)} strong
answers: ${counted(trials.flatMap(({ answers }) => [...answers]))}`
}

/** `stop sqld x 2, kill -9 sqld`. */
export function counted(times: Iterable<readonly [what: unknown, times: number]>): string {
  return [...Map.groupBy(times, ([what]) => what)]
    .map(([what, each]) => [what, sum(each.map(([, often]) => often))] as const)
    .map(([what, often]) => `${what}${often > 1 ? ` x ${often}` : ''}`)
    .join(', ')
}

/** What is wrong in a trial, with an example of each kind; empty where nothing is. Without tokens, sessions may be broken. */
export function wrongIn(
  { accounting, disorder, sessions, labels, complaints, followed }: Trial,
  hasTokens: boolean,
): string[] {
  const kinds = {
    ...accounting,
    disorder,
    labels,
    complaints,
    followed,
    ...(hasTokens && { 'session violations': sessions }),
  }
  return Object.entries<readonly unknown[]>(kinds).flatMap(([kind, wrong]) =>
    wrong.length > 0 ? [`${kind}: ${wrong.length}, such as ${JSON.stringify(wrong[0])}`] : [],
  )
}
