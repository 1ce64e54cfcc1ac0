import type { AppOptions } from '../http/service.ts'

/** Draws the documents in this process, by parts that are loaded when one is first asked for. */
export const openApi: AppOptions['openApi'] = async (model, view) => {
  const { openApiDocument } = await import('../http/openapi.ts')
  return openApiDocument(model, view)
}
