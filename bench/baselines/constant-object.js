/** A Worker that has a Durable Object answer one text: the floor under everything that is read from a copy in one. */
import { DurableObject } from 'cloudflare:workers'

const headers = { 'Content-Type': 'application/json' }

export class ConstantObject extends DurableObject {
  fetch() {
    return new Response('{"hello":"world"}', { headers })
  }
}

export default {
  fetch: (request, { REPLICA }) => REPLICA.get(REPLICA.idFromName('one')).fetch(request),
}
