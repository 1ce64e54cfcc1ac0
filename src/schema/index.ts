/** What a model is written with. */
export { allOf, anyOf, anyone, owner, scope, service, when } from './access.ts'
export { identity, instant, lengthBetween, oneOf } from './columns.ts'
export { copy, count, max, sum } from './derived.ts'
export { buildModel, version } from './model.ts'
export { belongsTo, hasMany, manyToMany } from './relation.ts'
export {
  type FilterOf,
  type IncludeOf,
  type InputOf,
  type PatchOf,
  type RecordOf,
  resource,
  type SortOf,
} from './resource.ts'
