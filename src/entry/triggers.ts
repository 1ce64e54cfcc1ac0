import { type Trigger, tableTriggers } from '../log/triggers.ts'
import { type Derived, type TriggerEvent, triggerParts } from '../schema/derived.ts'
import { jsonObjectSql } from '../schema/field.ts'
import type { Model, Resource } from '../schema/model.ts'
import { guardTrigger, retiringTrigger } from '../store/guard.ts'
import { keyTriggers } from '../store/key-changes.ts'
import { correctedColumns, retiringParts } from '../version/retiring-sql.ts'

/** Every trigger that the model asks for: one per table and event, which keep all that is kept, and the engine's own. */
export function modelTriggers(model: Model): Trigger[] {
  const resources = [...model.resources.values()]
  const derived = resources.flatMap((resource) => [...resource.derived.values()])
  const kept = resources.flatMap((resource) => {
    const fields = [...resource.fields.values(), ...resource.retiring.values()]
    return tableTriggers({
      table: resource.name,
      fields: fields.map((field) => field.name),
      corrected: [...resource.derived.keys(), ...correctedColumns(resource)],
      image: (alias) => jsonObjectSql(fields, alias),
      parts: (event) => partsOf(resource, derived, event),
    })
  })
  return [...kept, guardTrigger, retiringTrigger, ...keyTriggers]
}

/** What a row must have itself comes first, then its derived columns, then what follows those. */
function partsOf(resource: Resource, derived: readonly Derived[], event: TriggerEvent) {
  const { correct, spread } = triggerParts(derived, resource.name, event)
  if (event === 'delete') return { settle: [], correct, spread }
  const { first, last, settled } = retiringParts(resource, event)
  const rest = { spread: spread.map(settled) }
  if (event === 'insert') return { ...rest, settle: [...first, ...last], correct: correct.map(settled) }
  return { ...rest, settle: [], correct: [...first, ...correct.map(settled), ...last] }
}
