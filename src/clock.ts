/** The clocks of a process, both in milliseconds: an entry makes them, everyone else is handed them. */
export interface Clock {
  /** Since 1970. It may jump, either way. */
  now(): number
  /** Of this process, for durations: it never goes back. */
  elapsed(): number
}
