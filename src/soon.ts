/**
 * A value that is here already or will be. The hot path of a read runs without one promise where the database answers
 * at once; each `await` of a value that is here costs a turn of the microtask queue.
 */
export type Soon<T> = T | Promise<T>

/** Goes on with the value, at once where it is here. */
export function andThen<T, U>(value: Soon<T>, go: (value: T) => Soon<U>): Soon<U> {
  return value instanceof Promise ? value.then(go) : go(value)
}
