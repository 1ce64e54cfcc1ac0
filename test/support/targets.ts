import { Targets } from '../../src/webhook/target.ts'

/** For apps that no webhook is saved with: no host has an address. */
export const noTargets = new Targets(() => Promise.reject(new Error('there are no hosts')), new Set())
