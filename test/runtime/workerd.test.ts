import { expect, setDefaultTimeout } from 'bun:test'
import { replicated, until } from '../support/replicated.ts'
import { bundle, startWorker } from '../support/worker.ts'
import { conforms } from './conformance.ts'
import { ownerAt, storyEnv } from './target.ts'

setDefaultTimeout(60_000)

conforms({
  name: 'workerd edge',
  skips: {},
  async start() {
    await bundle()
    const primary = await replicated()
    const worker = await startWorker({
      folder: primary.newFolder(),
      env: {
        ...{ PRIMARY_ORIGIN: primary.origin, LIBSQL_URL: primary.sqld.url },
        ...{ LIBSQL_TOKEN: primary.sqld.readOnlyToken, ...storyEnv },
      },
    })
    const isReady = async () => (await worker.call('GET', '/readyz', { key: null })).status === 200
    await until(isReady, () => `the Worker has no copy: ${worker.complaints()}`)
    // A Worker that sent everything on would tell the story as well.
    expect((await worker.call('GET', '/tags', { key: primary.key })).headers.get('replica-age')).toBeString()
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
