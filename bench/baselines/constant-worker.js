/** A Worker answering one text: the floor under everything that workerd serves. */
const headers = { 'Content-Type': 'application/json' }

export default {
  fetch: () => new Response('{"hello":"world"}', { headers }),
}
