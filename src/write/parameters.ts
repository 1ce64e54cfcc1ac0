import type { Caller } from '../schema/access.ts'
import { Parameters } from '../store/text.ts'
import type { Command, WriteRequest } from './command.ts'

/** Where the values of a command's statements come from. `index` is the command's place in its batch. */
export interface Bound {
  readonly command: Command
  readonly request: WriteRequest
  readonly index: number
  /** The claim that the answer is stored with, where the request has a key. */
  readonly stored?: StoredWith | null
}

export interface StoredWith {
  readonly tenant: string
  readonly key: string
  readonly fingerprint: string
  readonly now: string
  /** Claims made before this time have expired. */
  readonly expiry: string
}

/** The parameters of a write. `caller` stands for every caller of its shape. */
export class WriteParameters extends Parameters<Bound> {
  readonly caller: Caller

  constructor(caller: Caller) {
    super()
    this.caller = caller
  }

  get tenant() {
    return this.once('tenant', ({ request }) => request.caller.tenant)
  }
  get id() {
    return this.once('id', ({ command }) => command.id)
  }
  get now() {
    return this.once('now', ({ request }) => request.now)
  }
  stored(name: 'key' | 'fingerprint' | 'expiry') {
    return this.once(name, ({ stored }) => stored?.[name] ?? null)
  }
  input(index: number) {
    return this.once(`input ${index}`, ({ command }) => command.input[index]?.value ?? null)
  }
  /** One of the values that a change computes with. */
  change(index: number, value: number) {
    return this.once(`change ${index} ${value}`, ({ command }) => {
      const change = command.input[index]?.change
      return change?.kind === 'compute' ? (change.values[value] ?? null) : null
    })
  }
  readonly subject = () =>
    this.once('subject', ({ request: { caller } }) => (caller.kind === 'user' ? caller.subject : null))
}
