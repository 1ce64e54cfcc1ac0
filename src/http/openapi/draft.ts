import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Model } from '../../schema/model.ts'
import type { View } from '../../version/view.ts'

export type Registry = OpenAPIHono['openAPIRegistry']
export type Route = Parameters<Registry['registerPath']>[0]

/** What the document is drawn from, and where its parts are gathered. */
export interface Draft {
  readonly model: Model
  readonly view: View
  readonly registry: Registry
}

/** The dates of all versions of the model, oldest first. */
export function versionDates({ model }: Draft): string[] {
  return model.versions.map((version) => version.date)
}
