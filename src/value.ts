/** A value as SQLite keeps it and as it is bound: booleans are 0 and 1, JSON is its text. */
export type Value = string | number | null
