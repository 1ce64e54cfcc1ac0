import type { Model } from '../schema/model.ts'
import type { View } from '../version/view.ts'

export function openApiDocument(_model: Model, _view: View): string {
  return '{}'
}
