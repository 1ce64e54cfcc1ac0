import { version } from '../schema/index.ts'

/** The published versions of the API, oldest first. A request that names none gets the newest. */
export const versions = [version('2026-11-01', { alias: 'v1', notes: 'The first version.' })]
