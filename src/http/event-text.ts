import type { ChangeEvent } from '../read/feed.ts'

/** How events are written: in the feed's own shape, or as CloudEvents (1.0.2, JSON format). */
export type EventFormat = 'plain' | 'cloudevents'

/** An event as JSON. `token` is its position. */
export function eventText(event: ChangeEvent, token: string, format: EventFormat): string {
  const { seq, time, resource, id, operation, version, changed, actor, request, record } = event
  if (format === 'plain') return JSON.stringify({ position: token, ...event })
  return JSON.stringify({
    ...{ specversion: '1.0', id: String(seq), source: '/changes', type: `perigee.${resource}.${operation}` },
    ...{ subject: `${resource}/${id}`, time, datacontenttype: 'application/json' },
    data: { position: token, version, changed, actor, request, record },
  })
}

const encoder = new TextEncoder()

/** An event as it goes over a stream of server-sent events (WHATWG HTML, section 9.2). */
export function eventBlock(event: ChangeEvent, token: string, format: EventFormat): Uint8Array {
  return encoder.encode(`id: ${token}\nevent: change\ndata: ${eventText(event, token, format)}\n\n`)
}

/** How far the log was read: a client that comes back does not start before it. A client sees no event in it. */
export function positionBlock(token: string): Uint8Array {
  return encoder.encode(`id: ${token}\n\n`)
}
