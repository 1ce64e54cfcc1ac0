import { type Trigger, tableTriggers } from '../log/triggers.ts'
import { triggerParts } from '../schema/derived.ts'
import { jsonObjectSql } from '../schema/field.ts'
import type { Model } from '../schema/model.ts'
import { guardTrigger } from '../store/guard.ts'

/** Every trigger that the model asks for: the log's and the derived columns', one per table and event, and the guard. */
export function modelTriggers(model: Model): Trigger[] {
  const resources = [...model.resources.values()]
  const derived = resources.flatMap((resource) => [...resource.derived.values()])
  const kept = resources.flatMap((resource) => {
    const fields = [...resource.fields.values()]
    return tableTriggers({
      table: resource.name,
      fields: fields.map((field) => field.name),
      corrected: [...resource.derived.keys()],
      image: (alias) => jsonObjectSql(fields, alias),
      parts: (event) => triggerParts(derived, resource.name, event),
    })
  })
  return [...kept, guardTrigger]
}
