import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { answering, type Sqld, startSqld as spawnSqld } from '../../src/entry/sqld.ts'
import { sqldKeys } from '../../src/entry/sqld-keys.ts'
import { temporaryFolder } from './server.ts'

/** A real sqld on a free port, ended with the tests. */
export interface TestSqld {
  readonly url: string
  /** Its `--db-path`: the database is `dbs/default/data` under it. */
  readonly folder: string
  /** Tokens for an hour; without `auth` they are taken as well, and so is none. */
  readonly token: string
  readonly readOnlyToken: string
  readonly pid: number
  signal(signal: NodeJS.Signals): void
  /** Ends it with the signal, waits, and leaves its folder. */
  end(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** Starts it again, on the same port and folder, and waits until it answers. Ends it before where it runs. */
  restart(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** From its next start on it takes other tokens, and none of these. */
  renewKeys(): void
  /** Ends it and removes its folder. */
  remove(): Promise<void>
}

export interface TestSqldOptions {
  /** Where its database is, and stays; a temporary folder by default. */
  readonly folder?: string
  /** Whether requests need a token; true by default. */
  readonly auth?: boolean
}

/** A port that was free just now. */
export function freePort(): number {
  const server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = server
  server.stop(true)
  return port
}

/** Starts sqld with the flags of `bun run primary`; resolves when it answers. */
export async function startSqld({ folder, auth = true }: TestSqldOptions = {}): Promise<TestSqld> {
  const own = temporaryFolder()
  const keyFolder = join(own.path, 'keys')
  const keys = sqldKeys(keyFolder)
  const options = {
    folder: folder ?? join(own.path, 'sqld'),
    address: `127.0.0.1:${freePort()}`,
    keyFile: auth ? keys.publicFile : null,
  }
  let sqld: Sqld | null = null
  const start = async () => {
    sqld = spawnSqld(options)
    await answering(sqld, 10_000)
  }
  const end = async (signal: NodeJS.Signals = 'SIGTERM') => {
    sqld?.kill(signal)
    await sqld?.ended
    sqld = null
  }
  await start()
  return {
    url: `http://${options.address}`,
    folder: options.folder,
    token: keys.token('rw', 3_600),
    readOnlyToken: keys.token('ro', 3_600),
    get pid() {
      if (!sqld) throw new Error('sqld does not run')
      return sqld.pid
    },
    signal: (signal) => sqld?.kill(signal),
    end,
    async restart(signal) {
      await end(signal)
      await start()
    },
    renewKeys() {
      rmSync(keyFolder, { recursive: true })
      sqldKeys(keyFolder)
    },
    async remove() {
      await end('SIGKILL')
      own.remove()
    },
  }
}
