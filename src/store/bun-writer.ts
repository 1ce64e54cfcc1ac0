import { bunSqlite } from './bun-sqlite.ts'
import { type Port, writeFor } from './group-writer.ts'

declare const self: Port

writeFor(self, bunSqlite)
