/**
 * @libsql/client alone, as its manual shows it: a `batch()` in write mode for each create. A batch claims the
 * idempotency key with the answer that it stands for, inserts the row and its row in the log, into tables of its own
 * with Perigee's keys and no triggers. No server is before it, nothing is validated, and nothing is put on the disk: what
 * it takes is what one HTTP request to sqld for each write takes. sqld takes four connections, so that many are sent at
 * once; what is refused all the same is counted.
 */
import { createClient } from '@libsql/client'

interface Job {
  readonly url: string
  readonly token: string
  readonly clients: number
  readonly seconds: number
  readonly name: string
}

const job = (await Bun.stdin.json()) as Job
const database = createClient({ url: job.url, authToken: job.token, concurrency: 4 })

await database.batch(
  [
    'create table if not exists batchUsers(tenant text, id text, version integer, createdAt text, updatedAt text, handle text, name text, homepage text, primary key (tenant, id)) without rowid',
    'create unique index if not exists batchUsersHandle on batchUsers(tenant, handle)',
    'create table if not exists batchChanges(seq integer primary key autoincrement, time text, tenant text, resource text, id text, operation text, version integer, image text, actor text, request text)',
    'create table if not exists batchIdempotency(tenant text, key text, fingerprint text, createdAt text, status integer, id text, version integer, body text, primary key (tenant, key)) without rowid',
  ],
  'write',
)

async function create(handle: string) {
  const [id, now, request] = [Bun.randomUUIDv7(), new Date().toISOString(), Bun.randomUUIDv7()]
  const body = JSON.stringify({ id, version: 1, createdAt: now, updatedAt: now, handle, name: 'Somebody New' })
  await database.batch(
    [
      {
        sql: "insert into batchIdempotency values ('demo', ?, ?, ?, 201, ?, 1, ?)",
        args: [handle, Bun.hash(body).toString(), now, id, body],
      },
      {
        sql: "insert into batchUsers values ('demo', ?, 1, ?, ?, ?, 'Somebody New', null)",
        args: [id, now, now, handle],
      },
      {
        sql: "insert into batchChanges(time, tenant, resource, id, operation, version, image, actor, request) values (?, 'demo', 'users', ?, 'create', 1, ?, 'bench', ?)",
        args: [now, id, body, request],
      },
    ],
    'write',
  )
}

let count = 0
let failed = 0
const start = performance.now()
async function client(number: number) {
  for (let i = 0; performance.now() - start < job.seconds * 1000; i++) {
    try {
      await create(`${job.name}-${number}-${i}`)
      count++
    } catch {
      failed++
    }
  }
}
await Promise.all(Array.from({ length: job.clients }, (_, number) => client(number)))
console.log(JSON.stringify({ perSecond: (count * 1000) / (performance.now() - start), failed }))
process.exit(0)
