import { createKey } from '../../src/entry/keys.ts'
import { openNode, type Store } from '../../src/entry/node.ts'
import type { Epoch, Seq } from '../../src/log/position.ts'
import { model } from '../../src/model/index.ts'
import type { Primary } from '../../src/store/primary.ts'

/** Whose key it is, what it may, for which user, and which version it is pinned to. */
export interface KeyOptions {
  readonly tenant?: string
  readonly scopes?: readonly string[]
  readonly subject?: string | null
  readonly version?: string | null
}

/** A key of the tenant `demo` that may read and write; or of another tenant, with other scopes, for a user, pinned to a version. */
export async function newKey(primary: Primary, options: KeyOptions = {}): Promise<string> {
  const { tenant = 'demo', scopes = ['read', 'write'], subject = null, version = null } = options
  return (await createKey(primary, { tenant, scopes, subject, version })).key
}

/** What only the owner of a database can make, beside the nodes that serve it. */
export interface Owner {
  key(options?: KeyOptions): Promise<string>
  /** A Consistency-Token of an epoch that the database does not have, such as clients keep over a restore. */
  tokenFromBefore(): Promise<string>
}

/** The database is opened for each thing that is made, as `bun run keys create` does, so that nodes may come and go. */
export function ownerOf(store: Store): Owner {
  const within = async <T>(work: (node: Awaited<ReturnType<typeof openNode>>) => T | Promise<T>): Promise<T> => {
    const node = await openNode(store, model, (error) => {
      throw error
    })
    try {
      return await work(node)
    } finally {
      await node.close()
    }
  }
  return {
    key: (options) => within((node) => newKey(node.primary, options)),
    tokenFromBefore: () => within(({ sealer }) => sealer.seal({ epoch: 'before' as Epoch, seq: 1 as Seq })),
  }
}
