/** A value as SQLite keeps it and as it is bound: booleans are 0 and 1, JSON is its text. */
export type Value = string | number | null

/** A value as JSON carries it. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json }
