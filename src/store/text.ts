import type { Value } from '../value.ts'
import type { Call } from './primary.ts'

/** An SQL text and how to bind it: the text is made once for a shape, the values come from each request. */
export interface Text<In> {
  readonly sql: string
  bind(input: In): Value[]
}

/** Numbers the parameters of a text while it is written. `In` is where their values come from. */
export class Parameters<In> {
  private readonly slots: ((input: In) => Value)[] = []
  private readonly placeholders = new Map<string, string>()

  /** A new parameter. */
  add(slot: (input: In) => Value): string {
    this.slots.push(slot)
    return `?${this.slots.length}`
  }

  /** The parameter of this name, bound once however often the text has it. */
  once(name: string, slot: (input: In) => Value): string {
    const known = this.placeholders.get(name)
    if (known) return known
    const placeholder = this.add(slot)
    this.placeholders.set(name, placeholder)
    return placeholder
  }

  text(sql: string): Text<In> {
    const { slots } = this
    return { sql, bind: (input) => slots.map((slot) => slot(input)) }
  }
}

/** Takes a value and answers the parameter that stands for it. */
export type Bind = (value: Value) => string

/** A statement with its values, of which none stands in the text. */
export function callOf(write: (bind: Bind) => string): Call {
  const args: Value[] = []
  const sql = write((value) => `?${args.push(value)}`)
  return { sql, args }
}

/**
 * What was made for a shape of something of `owner`, the oldest dropped when there are too many. A shape names fields,
 * and what the names mean is known to the owner alone, so two models of one process never share a text.
 */
export class ShapeCache<T> {
  private readonly madeByOwner = new WeakMap<object, Map<string, T>>()
  private readonly most: number

  constructor(most = 300) {
    this.most = most
  }

  get(owner: object, shape: string, make: () => T): T {
    let made = this.madeByOwner.get(owner)
    if (!made) {
      made = new Map()
      this.madeByOwner.set(owner, made)
    }
    const known = made.get(shape)
    if (known !== undefined) return known
    if (made.size >= this.most) made.delete(made.keys().next().value ?? '')
    const value = make()
    made.set(shape, value)
    return value
  }
}
