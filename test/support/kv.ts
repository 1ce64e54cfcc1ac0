import { Database } from 'bun:sqlite'
import { Miniflare } from 'miniflare'
import type { Cache } from '../../src/cache/cache.ts'
import { KvKeeper, type KvKeeperOptions, type KvWriter } from '../../src/cache/kv-keeper.ts'
import { type KvReader, workersKvCache } from '../../src/cache/workers-kv.ts'

/** A real Workers KV, in a workerd of its own. */
export interface TestKv {
  readonly kv: KvReader & KvWriter
  /** What is kept, by its keys. */
  entries(): Promise<Map<string, string>>
  clear(): Promise<void>
  /** A new cache and its keeper, in which whatever was read last is true, and time goes on between two fills. */
  cache(): Cache<string>
  stop(): Promise<void>
}

export async function startKv(): Promise<TestKv> {
  const script = 'export default { fetch: () => new Response() }'
  const miniflare = new Miniflare({ modules: true, script, kvNamespaces: ['CACHE'], compatibilityDate: '2026-04-26' })
  const namespace = await miniflare.getKVNamespace('CACHE')
  const kv: TestKv['kv'] = {
    get: (key, options) => namespace.get(key, { ...options, type: 'text' }) as Promise<string | null>,
    put: (key, text, options) => namespace.put(key, text, options),
    delete: (key) => namespace.delete(key),
  }
  const names = async () => (await namespace.list()).keys.map(({ name }) => name)
  let caches = 0
  return {
    kv,
    async entries() {
      const texts = (await names()).map(async (name) => [name, await kv.get(name, { cacheTtl: 60 })] as const)
      return new Map((await Promise.all(texts)).map(([name, text]) => [name, text ?? '']))
    },
    async clear() {
      for (const name of await names()) await kv.delete(name)
    },
    cache() {
      const prefix = `cache ${caches++} `
      let seconds = 1_000
      let newest = 0
      const keeper = keeperOf(prefixed(kv, prefix), { lastChange: () => newest, now: () => 1_000 * seconds })
      const keep: KvKeeper['keep'] = async (key, entry) => {
        seconds += 2
        newest = Math.max(newest, entry.seq)
        await keeper.keep(key, entry)
      }
      return workersKvCache({ kv, prefix, keep, now: () => 1_000 * seconds })
    },
    stop: () => miniflare.dispose(),
  }
}

function prefixed(kv: KvWriter, prefix: string): KvWriter {
  return {
    put: (key, text, options) => kv.put(prefix + key, text, options),
    delete: (key) => kv.delete(prefix + key),
  }
}

/** A keeper with a database of its own, of a history in which nothing changes unless `options` say so. */
export function keeperOf(
  kv: KvWriter,
  options: Partial<KvKeeperOptions> = {},
  { database = new Database(':memory:'), position = 0 } = {},
): KvKeeper {
  return new KvKeeper(
    {
      ...{ kv, history: 'epoch', entryMsMax: 600_000, now: Date.now },
      database: { rows: (sql, args) => database.query(sql).values(...args) as (string | number | null)[][] },
      lastChange: () => 0,
      changedAfter: (seq) => ({ names: [], to: seq }),
      ...options,
    },
    position,
  )
}
