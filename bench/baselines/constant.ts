/** Bun.serve answering one text: the floor under everything that Bun serves. */
const headers = { 'Content-Type': 'application/json' }

const server = Bun.serve({
  port: Number(process.env.PORT),
  hostname: '127.0.0.1',
  development: false,
  fetch: () => new Response('{"hello":"world"}', { headers }),
})
console.log(`at http://127.0.0.1:${server.port}`)
