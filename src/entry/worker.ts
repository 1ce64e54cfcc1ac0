import type { WorkerEnv } from './worker-env.ts'

export { ReplicaObject } from './replica-object.ts'

/** The Worker: answers from KV what is kept there, and has the region's copy answer the rest. */
export default {
  async fetch(request, env, context): Promise<Response> {
    const { front } = await import('./worker-front.ts')
    return front(env).fetch(request, context)
  },
} satisfies ExportedHandler<WorkerEnv>
