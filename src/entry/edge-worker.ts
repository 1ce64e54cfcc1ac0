/** One more server process of an edge, on the port of the process that started it, which tells it of the replica. */
import { model } from '../model/index.ts'
import { assert } from '../problem.ts'
import type { Facts } from '../replica/following.ts'
import { EdgeServer } from './edge-server.ts'
import { ready } from './edge-workers.ts'
import { listen } from './listen.ts'
import { readEdgeSettings } from './settings.ts'
import { openShared } from './shared.ts'

const settings = readEdgeSettings(process.env)
assert(settings, 'a worker is started with the settings of an edge')
const server = new EdgeServer(settings, model, await openShared(settings), (news) => process.send?.(news))
const listening = listen(settings, server.fetch, true)

let isStopping = false
async function stop() {
  if (isStopping) return
  isStopping = true
  server.beginStop()
  await listening.stop()
  server.close()
  process.exit(0)
}

process.on('SIGTERM', stop)
process.on('SIGINT', stop)
process.on('disconnect', stop)
process.on('message', (facts: Facts) => {
  server.learn(facts)
  process.send?.(ready)
})
process.send?.(ready)
