import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { model } from '../../src/model/index.ts'
import { complaintsAbout } from '../support/accounting.ts'
import { type DataFolder, dataFolder, textsIn } from '../support/folder.ts'
import { spawnServer } from '../support/process.ts'
import { type Received, type Receiver, receiver } from '../support/receiver.ts'
import { call } from '../support/server.ts'

setDefaultTimeout(60_000)

const records = 12
const changesOfEach = 20
const kills = 4

let folder: DataFolder
let hooks: Receiver
beforeAll(async () => {
  folder = await dataFolder(['read', 'write', 'webhooks'])
  hooks = receiver()
})
afterAll(async () => {
  await hooks.stop()
  folder.remove()
})

const start = () => spawnServer({ dataDir: folder.path, env: { WEBHOOK_ORIGINS: hooks.origin } })

const idSql = "(select 'msg_' || value from meta where name = 'epoch') || '_' || seq"
const deliveries = (state: string) =>
  textsIn(folder.databaseFile, `select ${idSql} from deliveries where state = '${state}' order by seq`)

/** Lets so many requests be answered, and holds the others. */
class Gate {
  private most = 0
  private held: (() => void)[] = []

  async pass(count: number) {
    while (count > this.most) await new Promise<void>((resolve) => this.held.push(resolve))
  }

  open(most: number) {
    this.most = most
    for (const resolve of this.held.splice(0)) resolve()
  }
}

/** The versions of each record as they came; a later one before an earlier is a fault. */
function disorder(received: readonly Received[]): string[] {
  const byRecord = Map.groupBy(received, ({ payload }) => String(payload.data.id))
  return [...byRecord].flatMap(([id, list]) => {
    const versions = list.map(({ payload }) => Number(payload.data.version))
    return versions.every((version, i) => i === 0 || version >= (versions[i - 1] ?? 0)) ? [] : [`${id}: ${versions}`]
  })
}

test(`row 39: of ${records * changesOfEach} events none is lost in ${kills} kills of the server while it sends, and each record's come in order`, async () => {
  const { key } = folder
  const gate = new Gate()
  hooks.behave = async (_, count) => {
    await gate.pass(count)
    return new Response('thanks')
  }
  let server = await start()
  const made = await call(server.url, 'POST', '/webhooks', { key, body: { url: hooks.url, resources: ['tags'] } })
  expect(made.status).toBe(201)
  const writing = async (n: number) => {
    const created = await call(server.url, 'POST', '/tags', { key, body: { name: `tag ${n}` } })
    for (let i = 1; i < changesOfEach; i++)
      await call(server.url, 'PATCH', `/tags/${created.body.id}`, { key, body: { name: `tag ${n} at ${i}` } })
  }
  await Promise.all(Array.from({ length: records }, (_, n) => writing(n)))
  for (let kill = 1; kill <= kills; kill++) {
    // Each life of the server gets some of them out, and more are under way when it ends.
    const some = hooks.all.length + 25
    gate.open(some)
    await hooks.got(some + 1)
    expect(await server.end('SIGKILL')).toBe(null)
    expect(deliveries('pending').length).toBeGreaterThan(0)
    server = await start()
  }
  gate.open(Number.POSITIVE_INFINITY)
  while (deliveries('delivered').length < records * changesOfEach) await Bun.sleep(20)
  expect(await server.end('SIGTERM')).toBe(0)
  const logged = textsIn(folder.databaseFile, `select ${idSql} from changes where resource = 'tags' order by seq`)
  expect(logged).toHaveLength(records * changesOfEach)
  expect(deliveries('delivered')).toEqual(logged)
  const got = new Set(hooks.all.map(({ id }) => id))
  expect(logged.filter((id) => !got.has(id))).toEqual([])
  expect([...got].filter((id) => !logged.includes(id))).toEqual([])
  expect(disorder(hooks.all)).toEqual([])
  // The same message is the same bytes, whichever process sent it.
  const byId = Map.groupBy(hooks.all, ({ id }) => id)
  expect([...byId.values()].filter((list) => new Set(list.map(({ text }) => text)).size > 1)).toEqual([])
  expect(complaintsAbout(folder.databaseFile, model)).toEqual([])
})
