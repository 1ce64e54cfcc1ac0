import { createApp } from '../http/app.ts'
import { AppWire } from '../http/app-wire.ts'
import type { Wire } from '../http/forward.ts'
import type { AppOptions } from '../http/service.ts'
import type { Model } from '../schema/model.ts'
import { openLibsql } from '../store/libsql.ts'
import type { Reader } from '../store/reader.ts'
import { identityOf, identitySql } from './identity.ts'
import { portableHashing } from './portable-hashing.ts'
import type { LibsqlSettings } from './settings.ts'
import { writeQueue } from './write-queue.ts'

interface WorkerPrimaryOptions {
  readonly libsql: LibsqlSettings
  readonly model: Model
  /** Of the primary's database. */
  readonly reader: Reader
  /** What its edge gives its own app. */
  readonly parts: () => Omit<AppOptions, 'reader' | 'epoch' | 'sealer' | 'sign' | 'digest' | 'newId'>
}

/**
 * What takes the place of a primary node where there is none: it commits to libSQL over HTTP, each group in one guarded
 * batch, and reads there what must be the newest. Nothing else that a primary does is done: whoever wants webhooks, read
 * models and a log that is compacted runs a primary node on the same database.
 */
export class WorkerPrimary {
  readonly wire: Wire

  constructor(options: WorkerPrimaryOptions) {
    this.wire = new AppWire(async () => {
      const { libsql, model, reader, parts } = options
      const identity = identityOf(await reader.rows(identitySql, []), portableHashing)
      const primary = openLibsql({ ...libsql, durable: null, queue: writeQueue })
      const { through: _through, rateLimits: _rateLimits, ...rest } = parts()
      return createApp({ ...rest, ...identity, model, reader, primary, unready: () => null })
    })
  }
}
