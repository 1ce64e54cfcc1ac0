/**
 * A process of the fan-out tests: takes the steps of whatever is queued in the data folder named by its argument, prints
 * "step N" after each is durable and "done" when the queue is empty. A test kills it between or within steps.
 */

import { fileStore } from '../../src/entry/file-store.ts'
import { openNode } from '../../src/entry/node.ts'
import { model } from '../../src/model/index.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { stepFanout } from '../../src/write/maintenance.ts'

const node = await openNode(fileStore(process.argv[2] ?? '', bunSqlite), model, (error) => {
  throw error
})
for (let step = 1; await stepFanout(model, node.reader, node.primary); step++) console.log(`step ${step}`)
console.log('done')
await node.close()
