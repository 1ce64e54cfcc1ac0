/** What a model is written with. */
export { allOf, anyOf, anyone, owner, scope, service, when } from './access.ts'
export { identity, instant, lengthBetween, oneOf } from './columns.ts'
export { copy, count, max, sum } from './derived.ts'
export { lower, match, orElse, over, plus, prefixed, rounded, times, unprefixed, upper, value } from './expression.ts'
export {
  add,
  atFirst,
  atFirstSpace,
  changeDefault,
  changeLimit,
  convert,
  hoist,
  join,
  mapValues,
  plunge,
  remove,
  rename,
  renameResource,
  split,
  version,
  wrap,
} from './lens.ts'
export { buildModel } from './model.ts'
export { fold, projection } from './projection.ts'
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
