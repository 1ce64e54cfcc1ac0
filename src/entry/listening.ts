import type { Peers } from '../http/rate-limits.ts'
import type { Soon } from '../soon.ts'
import { type Settings, SettingsError } from './settings.ts'

export type Fetch = (request: Request, peers: Peers) => Soon<Response>

export interface Listening {
  readonly url: string
  readonly port: number
  /** Takes no more requests, and waits for those in flight, ten seconds at most. */
  stop(): Promise<void>
}

/** How long requests in flight may take to finish when the server stops. */
export const drainMsMax = 10_000

/** Answers HTTP at HOST and PORT with `fetch`; throws a SettingsError where they cannot be listened on. */
export type Listen = (at: Pick<Settings, 'host' | 'port'>, fetch: Fetch) => Listening

export function urlAt(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Why HOST and PORT cannot be listened on, as the runtime's error says it. */
export function unusable({ host, port }: Pick<Settings, 'host' | 'port'>, error: Error & { code?: string }) {
  if (error.code === 'EADDRINUSE')
    return new SettingsError(`PORT=${port} of HOST=${host} is in use: choose another PORT.`)
  return new SettingsError(
    `HOST=${host} with PORT=${port} cannot be listened on: ${error.message}. Choose an address of this machine and a port that is free to you.`,
  )
}
