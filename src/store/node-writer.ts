import { type Port, writeFor } from './group-writer.ts'
import { nodeSqlite } from './node-sqlite.ts'

declare const self: Port

writeFor(self, nodeSqlite)
