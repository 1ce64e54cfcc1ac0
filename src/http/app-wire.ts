import type { App } from './app.ts'
import type { Exchange, Message, Wire } from './forward.ts'

/** Where the primary is: in this process, for a node that has none to send to and commits itself. */
const host = 'primary.internal'

/** The wire to an app of this process, which is opened when something is first sent. */
export class AppWire implements Wire {
  private readonly open: () => Promise<App>
  private app: Promise<App> | null = null
  isUp = true

  constructor(open: () => Promise<App>) {
    this.open = open
  }

  async attempt({ method, path, headers, body }: Message): Promise<Exchange> {
    const isRead = method === 'GET' || method === 'HEAD'
    const app = await this.opened()
    if (app === null) return { kind: 'unsent' }
    const request = new Request(`http://${host}${path}`, {
      method,
      headers: { ...headers, host },
      body: isRead ? null : (body as Uint8Array<ArrayBuffer>),
    })
    const response = await app.fetch(request)
    const bytes = new Uint8Array(await response.arrayBuffer())
    return { kind: 'answered', status: response.status, headers: [...response.headers], body: bytes }
  }

  close() {}

  /** Null where what it needs is away; the next message tries again. */
  private async opened(): Promise<App | null> {
    try {
      this.app ??= this.open()
      const app = await this.app
      this.isUp = true
      return app
    } catch {
      this.app = null
      this.isUp = false
      return null
    }
  }
}
