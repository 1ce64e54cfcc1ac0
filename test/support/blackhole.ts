import { dlopen, FFIType, ptr } from 'bun:ffi'
import { connect } from 'node:net'

/** An address of this machine that answers no SYN: a listener whose queue is full and which accepts nobody. */
export interface Blackhole {
  readonly origin: string
  close(): void
}

const { i32, ptr: pointer } = FFIType

/** Linux only: other systems refuse where a queue is full. */
export async function blackhole(): Promise<Blackhole> {
  const { symbols } = dlopen('libc.so.6', {
    socket: { args: [i32, i32, i32], returns: i32 },
    bind: { args: [i32, pointer, i32], returns: i32 },
    listen: { args: [i32, i32], returns: i32 },
    getsockname: { args: [i32, pointer, pointer], returns: i32 },
    close: { args: [i32], returns: i32 },
  })
  const listener = symbols.socket(2, 1, 0)
  const address = new Uint8Array([2, 0, 0, 0, 127, 0, 0, 1, ...new Uint8Array(8)])
  const size = new Uint32Array([address.length])
  if (symbols.bind(listener, ptr(address), address.length) !== 0 || symbols.listen(listener, 0) !== 0)
    throw new Error('a socket of 127.0.0.1 can listen')
  symbols.getsockname(listener, ptr(address), ptr(size))
  const port = new DataView(address.buffer).getUint16(2)
  const filler = connect(port, '127.0.0.1')
  await new Promise<void>((connected) => filler.once('connect', connected))
  return {
    origin: `http://127.0.0.1:${port}`,
    close() {
      filler.destroy()
      symbols.close(listener)
    },
  }
}
