import { DurableObject } from 'cloudflare:workers'
import type { Entry } from '../cache/cache.ts'
import type { Row } from '../store/reader.ts'
import { ReplicaNode } from './replica-node.ts'
import type { WorkerEnv } from './worker-env.ts'

/**
 * The copy of one region, in the SQLite database of a Durable Object: it follows the primary's log, and answers requests
 * as an edge does. Its name is its region.
 */
export class ReplicaObject extends DurableObject<WorkerEnv> {
  private node: Promise<ReplicaNode> | undefined

  /** Answers a request that came to the Worker. */
  override async fetch(request: Request): Promise<Response> {
    return (await this.opened()).fetch(request)
  }

  override async alarm(): Promise<void> {
    await (await this.opened()).follow()
  }

  /** The primary, or whoever wrote there, says where it stands, with a token of it. */
  async nudge(token: string): Promise<void> {
    await (await this.opened()).nudge(token)
  }

  /** Who the database is that it is a copy of, as its `meta` tells; null while there is no copy. */
  async identity(): Promise<Row[] | null> {
    return (await this.opened()).identity()
  }

  /** Keeps a public answer in KV, where it is still true. */
  async keep(key: string, entry: Entry<string>): Promise<void> {
    await (await this.opened()).keep(key, entry)
  }

  private opened(): Promise<ReplicaNode> {
    const { ctx, env } = this
    this.node ??= import('../model/index.ts').then(({ model }) => new ReplicaNode(ctx, env, model))
    return this.node
  }
}
