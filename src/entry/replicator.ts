/**
 * A process of its own: follows the database that LIBSQL_URL and LIBSQL_TOKEN name with the copy in the file that its
 * argument names. Whatever it is sent is news of a change; it sends what became of each sync. It ends with the process
 * that started it.
 */
import { dirname, join } from 'node:path'
import { assert } from '../problem.ts'
import { createReplicator, type Report } from '../replica/replicator.ts'
import { openCopy } from '../store/libsql-replica.ts'
import { takeLock } from '../store/lock.ts'
import { readSettings } from './settings.ts'

process.on('disconnect', () => process.exit(0))

const [, , file] = process.argv
const { libsql } = readSettings(process.env, null)
assert(file && libsql, 'a replicator is started with a file and a database')
const clock = { now: Date.now, elapsed: () => performance.now() }
const report = (each: Report) => process.send?.(each)

// One whose parent was killed may still be inside a sync, and two that write one file would destroy it.
if (takeLock(join(dirname(file), 'lock'))) {
  const replicator = createReplicator(openCopy({ file, url: libsql.url, token: libsql.token }), clock, report)
  process.on('message', () => replicator.nudge())
  await replicator.run()
} else {
  report({ kind: 'failed', fault: 'passing', message: 'Another replicator has the copy.', began: clock.now() })
  process.disconnect?.()
}
