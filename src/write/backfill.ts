import type { Model } from '../schema/model.ts'
import type { Primary } from '../store/primary.ts'
import type { Reader } from '../store/reader.ts'
import { backfilled, backfillStepSql } from '../version/retiring-sql.ts'

/** A column that is being filled over to those that take its place. */
export interface Backfill {
  readonly resource: string
  readonly field: string
  /** The last record that a step has looked at. */
  readonly after: { readonly tenant: string; readonly id: string }
}

const unfinishedSql =
  'select resource, field, tenant, id from retiring where tenant is not null order by resource, field'

/** The columns whose place is not filled yet in every record. While there are any, reads would show less than there is. */
export async function unfinishedBackfills(reader: Reader): Promise<Backfill[]> {
  const rows = await reader.rows(unfinishedSql, [])
  return rows.map(([resource, field, tenant, id]) => ({
    ...{ resource: String(resource), field: String(field) },
    after: { tenant: String(tenant), id: String(id) },
  }))
}

/** Takes one bounded step of a backfill. Throws where the model does not have it. */
export async function stepBackfill(
  model: Model,
  { resource, field, after }: Backfill,
  primary: Primary,
): Promise<void> {
  const declared = model.resources.get(resource)
  const retirement = declared && backfilled(declared).get(field)
  if (!retirement) throw new Error(`${resource}.${field} retires in the database and not in the model`)
  const texts = backfillStepSql(resource, retirement)
  const outcome = await primary.commit({
    steps: texts.map((sql) => ({ sql, args: [resource, field, after.tenant, after.id] })),
  })
  if (outcome.kind !== 'committed')
    throw new Error(`a step of a backfill was not committed: ${JSON.stringify(outcome)}`)
}
