import { setDefaultTimeout } from 'bun:test'

/** Tests start real servers and processes; this is how long one may take before it is called stuck. */
setDefaultTimeout(60_000)
