import { Database } from 'bun:sqlite'
import { model } from '../../src/model/index.ts'
import type { Reader } from '../../src/store/reader.ts'
import { lagsOf } from '../../src/write/projection.ts'

/** Waits until the read models have read all that they follow. */
export async function caughtUp(reader: Reader): Promise<void> {
  const isBehind = async () =>
    (await lagsOf(model.projections, reader)).some(({ phase, changes }) => phase !== 'follow' || changes > 0)
  while (await isBehind()) await Bun.sleep(5)
}

const rowsSql =
  "select tenant || ' ' || authorId || ' ' || day || ' ' || posts || ' ' || words || ' ' || comments from authorActivity order by 1"
const truthSql = `select tenant || ' ' || authorId || ' ' || day || ' ' || sum(posts) || ' ' || sum(words) || ' ' || sum(comments) from (
  select tenant, authorId, substr(createdAt, 1, 10) as day, 1 as posts, words, 0 as comments from posts where status = 'published'
  union all select tenant, authorId, substr(createdAt, 1, 10), 0, 0, 1 from comments) group by tenant, authorId, day order by 1`

/** What the read model of the default model has, and what it must have once it has caught up. */
export function activityIn(databaseFile: string): { found: unknown[]; truth: unknown[] } {
  using database = new Database(databaseFile, { readonly: true })
  const [found = [], truth = []] = [rowsSql, truthSql].map((sql) => database.query(sql).values().flat())
  return { found, truth }
}
