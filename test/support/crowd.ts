import { head } from './socket.ts'

/** Many clients that each follow the changes over a connection of their own, and keep nothing but which they were told. */
export interface Crowd {
  /** The numbers of the changes that each was told, in the order of their coming. */
  readonly told: readonly (readonly number[])[]
  /** Resolves when each has been told `count` changes. */
  each(count: number): Promise<void>
  /** Cuts all connections without a word. */
  leave(): void
}

/** Resolves when each has been told where it starts. */
export async function crowd(url: string, path: string, size: number, key: string | null = null): Promise<Crowd> {
  const { hostname, port } = new URL(url)
  const headers = ['Accept: text/event-stream', ...(key === null ? [] : [`Authorization: Bearer ${key}`])]
  const told: number[][] = []
  const sockets: { terminate(): void }[] = []
  let heard = () => {}
  const join = async () => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const seqs: number[] = []
    told.push(seqs)
    let text = ''
    const data = (_: unknown, bytes: Uint8Array) => {
      text += new TextDecoder().decode(bytes)
      const end = text.lastIndexOf('\n\n')
      if (end < 0) return
      for (const [, seq] of text.slice(0, end).matchAll(/^data: .*?"seq":(\d+)/gm)) seqs.push(Number(seq))
      if (/^id: /m.test(text)) resolve()
      text = text.slice(end + 2)
      heard()
    }
    const socket = { data, error: reject, close: () => reject(new Error(`a client was cut off after ${seqs}`)) }
    const client = await Bun.connect({ hostname, port: Number(port), socket })
    sockets.push(client)
    client.write(head(`GET ${path}`, ...headers))
    await promise
  }
  for (let n = 0; n < size; n += 100) await Promise.all(Array.from({ length: Math.min(100, size - n) }, join))
  return {
    told,
    async each(count) {
      while (told.some((seqs) => seqs.length < count)) {
        await new Promise<void>((resolve) => {
          heard = resolve
        })
      }
    },
    leave() {
      for (const socket of sockets) socket.terminate()
    },
  }
}
