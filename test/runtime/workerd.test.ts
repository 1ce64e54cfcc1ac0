import { expect, setDefaultTimeout } from 'bun:test'
import { replicated } from '../support/replicated.ts'
import { bundle } from '../support/worker.ts'
import { workerEdge } from '../support/worker-edge.ts'
import { conforms } from './conformance.ts'
import { ownerAt, storyEnv } from './target.ts'

setDefaultTimeout(60_000)

conforms({
  name: 'workerd edge',
  skips: {},
  async start() {
    await bundle()
    const primary = await replicated()
    const worker = await workerEdge(primary, storyEnv)
    await worker.ready()
    // A Worker that sent everything on would tell the story as well.
    expect((await worker.call('GET', '/tags')).headers.get('replica-age')).toBeString()
    return {
      url: worker.url,
      ...ownerAt(worker.url, primary.owner),
      async stop() {
        await worker.stop()
        expect(worker.complaints()).toBe('')
        await primary.stop()
      },
    }
  },
})
