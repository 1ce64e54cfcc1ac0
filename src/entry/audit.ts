import { driftSql, repairSql } from '../schema/derived.ts'
import type { Model } from '../schema/model.ts'
import type { Primary } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'
import type { Value } from '../value.ts'
import { stepFanout } from '../write/maintenance.ts'
import { CommandError } from './node.ts'

export interface Drift {
  readonly resource: string
  readonly column: string
  readonly tenant: string
  readonly id: string
  readonly found: Value
  readonly expected: Value
}

const pageRows = 500

/**
 * Compares every derived column with its truth and tells each difference; with `repair`, finishes what is queued and sets
 * the rest right. Answers how many values drifted and how many changes are still queued for their copies.
 */
export async function audit(
  model: Model,
  reader: Reader,
  primary: Primary,
  repair: boolean,
  tell: (drift: Drift) => void,
) {
  while (repair && (await stepFanout(model, reader, primary)));
  let drifted = 0
  for (const resource of model.resources.values()) {
    for (const derived of resource.derived.values()) {
      let after: readonly [Value, Value] = ['', '']
      for (;;) {
        const rows = await reader.rows(driftSql(derived), [...after, pageRows])
        for (const [tenant, id, found = null, expected = null] of rows) {
          drifted++
          tell({
            resource: resource.name,
            column: derived.column,
            tenant: String(tenant),
            id: String(id),
            found,
            expected,
          })
        }
        if (repair && rows.length > 0) await repairRows(primary, repairSql(derived), rows)
        const last = rows.at(-1)
        if (!last || rows.length < pageRows) break
        after = [last[0] ?? '', last[1] ?? '']
      }
    }
  }
  const [queued] = await reader.rows('select count(*) from fanout', [])
  return { drifted, queued: Number(queued?.[0] ?? 0) }
}

async function repairRows(primary: Primary, sql: string, rows: readonly (readonly Value[])[]) {
  const steps = rows.map(([tenant = null, id = null]) => ({ sql, args: [tenant, id] }))
  const outcome = await primary.commit({ steps })
  if (outcome.kind !== 'committed') throw new CommandError(`The repair was not committed: ${JSON.stringify(outcome)}`)
}
