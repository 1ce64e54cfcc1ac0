import type { Epoch, Seq } from '../log/position.ts'
import type { ChangeEvent } from '../read/feed.ts'

/** What `webhook-id` says of a change: the same at every try, and of one epoch, so that a receiver knows it again. */
export function messageId(epoch: Epoch, seq: number): string {
  return `msg_${epoch}_${seq}`
}

/** The change of a message; null where it is none of this epoch. */
export function seqOfMessage(epoch: Epoch, id: string): Seq | null {
  const [, of, seq] = /^msg_([a-z0-9]{1,16})_(\d{1,15})$/.exec(id) ?? []
  return of === epoch ? (Number(seq) as Seq) : null
}

/** The payload of an event: its `data` is what the feed tells, so that who has it can follow from there. */
export function payloadOf(event: ChangeEvent, position: string): string {
  const type = `${event.resource}.${event.operation}`
  return JSON.stringify({ type, timestamp: event.time, data: { position, ...event } })
}
