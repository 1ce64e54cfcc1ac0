import { expect, setDefaultTimeout } from 'bun:test'
import { replicated } from '../support/replicated.ts'
import { bundle } from '../support/worker.ts'
import { workerEdge } from '../support/worker-edge.ts'
import { conforms } from './conformance.ts'
import { ownerAt, storyEnv, type Target } from './target.ts'

setDefaultTimeout(60_000)

/** A Worker over the database of a primary node, which keeps its read models; with settings that follow from that. */
const edgeOf =
  (env: (primary: { readonly token: string }) => Record<string, string | null>): Target['start'] =>
  async () => {
    await bundle()
    const primary = await replicated()
    const worker = await workerEdge(primary, { ...storyEnv, ...env(primary.sqld) })
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
  }

conforms({ name: 'workerd edge', skips: {}, start: edgeOf(() => ({})) })

conforms({
  name: 'workerd edge that commits to libSQL itself',
  skips: {},
  start: edgeOf(({ token }) => ({ PRIMARY_ORIGIN: null, LIBSQL_TOKEN: token })),
})
