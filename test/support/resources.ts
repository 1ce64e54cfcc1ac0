import { model } from '../../src/model/index.ts'

/** The resources of the model, by their names in the tables: those that callers write, and its read models. */
export const writable = [...model.resources.values()].filter((each) => !each.isReadOnly).map(({ name }) => name)
export const readModels = [...model.resources.values()].filter((each) => each.isReadOnly).map(({ name }) => name)
