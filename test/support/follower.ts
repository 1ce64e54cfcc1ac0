import { Database } from 'bun:sqlite'

/** What followers have in common. */
export interface Followed {
  readonly urls: readonly string[]
  /** An API key. */
  readonly key: string
  readonly random: () => number
}

interface Kept {
  readonly version: number
  /** Null once it is deleted. */
  readonly record: string | null
}

const resources = ['tags', 'comments'] as const
const pauseMs = 50

/**
 * Holds what a database has of some resources, from a snapshot and the changes after it, read as a stream from whichever
 * node takes it. Goes on where it was cut off; begins anew only where it is told to.
 */
export class LogFollower {
  /** What it was told that it should not have been. */
  readonly complaints: string[] = []
  snapshots = 0
  streams = 0
  events = 0
  private readonly followed: Followed
  private readonly kept = new Map<string, Kept>()
  private position: string | null = null
  private cutter = new AbortController()
  private isOver = false

  constructor(followed: Followed) {
    this.followed = followed
  }

  /** Follows until `stop`. */
  async run(): Promise<void> {
    while (!this.isOver) {
      try {
        if (this.position === null) await this.takeSnapshot()
        await this.readStream()
      } catch (error) {
        if (error instanceof TypeError && !/fetch|network|socket|connect|closed|terminated/i.test(error.message))
          throw error
      }
      if (!this.isOver) await Bun.sleep(pauseMs)
    }
  }

  stop() {
    this.isOver = true
    this.cutter.abort()
  }

  /** Whether it has read everything up to a position of its epoch. */
  hasReached(epoch: string, position: number): boolean {
    const [own, seq] = (this.position ?? '').split('.')
    return own === epoch && Number(seq) >= position
  }

  /** What a database holds and the follower does not, or the other way around, as sentences. */
  differencesFrom(file: string): string[] {
    using database = new Database(file, { readonly: true })
    return resources.flatMap((name) => {
      const rows = database
        .query<{ id: string; version: number }, []>(`select id, version from "${name}" where tenant = 'demo'`)
        .all()
      const there = new Map(rows.map(({ id, version }) => [`${name}/${id}`, version]))
      const held = new Map([...this.kept].filter(([key, { record }]) => key.startsWith(`${name}/`) && record !== null))
      const missing = [...there].filter(([key, version]) => held.get(key)?.version !== version).map(([key]) => key)
      const more = [...held.keys()].filter((key) => !there.has(key))
      return [
        ...missing.map(
          (key) => `the follower has ${key} at version ${held.get(key)?.version ?? 'none'}, not ${there.get(key)}`,
        ),
        ...more.map((key) => `the follower still has ${key}`),
      ]
    })
  }

  private anyUrl(): string {
    const { urls, random } = this.followed
    return urls[Math.floor(random() * urls.length)] ?? ''
  }

  private headers(more: Record<string, string>) {
    return { Authorization: `Bearer ${this.followed.key}`, ...more }
  }

  private async takeSnapshot() {
    const url = this.anyUrl()
    this.cutter = new AbortController()
    const read = async (path: string, headers: Record<string, string> = {}) => {
      const answer = await fetch(url + path, { headers: this.headers(headers), signal: AbortSignal.timeout(5_000) })
      if (answer.status !== 200) throw new Error(`${path} is answered ${answer.status}`)
      const body = (await answer.json()) as { data: Record<string, unknown>[]; next: string | null }
      return { body, token: answer.headers.get('consistency-token') ?? '' }
    }
    const { token } = await read('/tags?limit=1')
    this.kept.clear()
    for (const name of resources) {
      for (let next: string | null = ''; next !== null; ) {
        const page = await read(`/${name}?limit=100${next && `&after=${next}`}`, { 'Consistency-Token': token })
        for (const record of page.body.data) this.take(name, String(record.id), Number(record.version), record)
        next = page.body.next
      }
    }
    this.position = token
    this.snapshots++
  }

  private async readStream() {
    const { position } = this
    this.cutter = new AbortController()
    const path = `${this.anyUrl()}/changes`
    const accept = { Accept: 'text/event-stream', 'Last-Event-ID': position ?? '' }
    const answer = await fetch(path, { headers: this.headers(accept), signal: this.cutter.signal })
    if (answer.status !== 200 || !answer.body) throw new Error(`the stream is answered ${answer.status}`)
    this.streams++
    let text = ''
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + chunk).split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) if (!this.takeBlock(block)) return
    }
  }

  /** Takes in one event; answers whether to go on. */
  private takeBlock(block: string): boolean {
    const line = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]
    if (line('event') === 'reset') {
      this.position = null
      return false
    }
    const [id, data] = [line('id'), line('data')]
    const [before, after] = [this.position, id].map((token) => Number(token?.split('.')[1] ?? 0))
    if (data !== undefined) {
      const { seq, resource, id: record, version, record: value } = JSON.parse(data)
      if (seq <= (before ?? 0)) this.complaints.push(`change ${seq} is told again after ${before}`)
      this.events++
      if (resources.includes(resource)) this.take(resource, record, version, value)
    }
    if (id !== undefined) {
      if ((after ?? 0) < (before ?? 0)) this.complaints.push(`the stream goes back from ${before} to ${after}`)
      this.position = id
    }
    return true
  }

  private take(resource: string, id: string, version: number, record: unknown) {
    const key = `${resource}/${id}`
    // The snapshot may be newer than the changes that follow from its first page.
    if ((this.kept.get(key)?.version ?? 0) >= version) return
    this.kept.set(key, { version, record: record === null ? null : JSON.stringify(record) })
  }
}
