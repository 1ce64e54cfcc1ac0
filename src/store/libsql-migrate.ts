import { BatchCond, type BatchStep, type HttpClient, openHttp } from '@libsql/hrana-client'
import { bindable, fetchWithin, type LibsqlAddress, rowOf } from './libsql-link.ts'
import { applyMigrations, type MigratedDatabase, type Migration, pendingIn } from './migrations.ts'

/** How long one migration may take over HTTP, in milliseconds. */
const migrationMsMax = 600_000

/** The migrations that the database has not had yet. */
export function pendingLibsqlMigrations(address: LibsqlAddress, folder: string): Promise<Migration[]> {
  return connected(address, (database) => pendingIn(database, folder))
}

/** Brings the database to the newest migration, as `applyMigrations` does, with a request for each migration. */
export function migrateLibsql(address: LibsqlAddress, folder: string): Promise<void> {
  return connected(address, (database) => applyMigrations(database, folder))
}

async function connected<T>({ url, token }: LibsqlAddress, work: (database: MigratedDatabase) => Promise<T>) {
  const client = openHttp(url, token ?? undefined, fetchWithin(migrationMsMax))
  client.intMode = 'number'
  try {
    return await work(connection(client))
  } finally {
    client.close()
  }
}

/** One stream of the protocol is one connection to the database, over as many requests as it takes. */
function connection(client: HttpClient): MigratedDatabase {
  const stream = client.openStream()
  return {
    async run(statements) {
      const batch = stream.batch()
      let last: BatchStep | undefined
      const ends = statements.map(({ sql, args }) => {
        const step = batch.step()
        if (last) step.condition(BatchCond.ok(last))
        last = step
        return step.run([sql, bindable(args)])
      })
      await Promise.all([batch.execute(), ...ends])
    },
    rows: async (sql) => (await stream.query(sql)).rows.map(rowOf),
    // The server rolls back what a stream leaves open.
    undo: () => stream.close(),
  }
}
