import type { Contract, ResourceContract } from './contract.ts'
import { lensFor, literal } from './mend.ts'
import { changesOf, type SchemaChange, type Use } from './schema-changes.ts'

/** One promise of a published contract that is no longer kept. */
export interface Break {
  /** What it is of, by the names of the version: `posts.body`. */
  readonly place: string
  readonly version: string
  /** What became of it, and what mends it, in sentences. */
  readonly text: string
}

/** Where a lens would be declared that mends a break. */
export interface LensPlace {
  /** The newest version, where it is not published yet; else null: there must be a new one. */
  readonly version: string | null
  /** The name in the tables of a resource of the version as it is now; undefined where it has none of this name. */
  readonly tableOf: (resource: string) => string | undefined
}

/**
 * In what the present contract of a version breaks the published one. What is added breaks nothing: fields, resources,
 * filters, sorts, includes, methods, and wider bounds of what is taken.
 */
export function* breaksOf(published: Contract, present: Contract, at: LensPlace): Generator<Break> {
  const { version, alias } = published
  const tell = (place: string, text: string): Break => ({ place, version, text })
  if (present.alias !== alias)
    yield tell(`/${alias}`, `its paths begin with /${present.alias} now. Keep the alias ${literal(alias)}.`)
  const gone = Object.keys(published.resources).filter((name) => !present.resources[name])
  for (const name of gone) yield tell(name, `the resource is gone. ${mendResource(name, published, present, at)}`)
  for (const [name, was] of Object.entries(published.resources)) {
    const is = present.resources[name]
    if (is) for (const each of resourceBreaks(name, was, is, at)) yield tell(...each)
  }
  for (const [path, methods] of Object.entries(published.paths)) {
    if (gone.some((name) => path === `/${name}` || path.startsWith(`/${name}/`))) continue
    const lost = methods.filter((method) => !present.paths[path]?.includes(method))
    if (lost.length > 0)
      yield tell(path, `it no longer answers ${lost.join(', ').toUpperCase()}. No lens mends this: keep answering it.`)
  }
}

type Told = readonly [place: string, text: string]

function* resourceBreaks(name: string, was: ResourceContract, is: ResourceContract, at: LensPlace): Generator<Told> {
  const [seen, lenses] = [new Set<string>(), new Set<string>()]
  for (const [use, part] of [
    ['read', 'record'],
    ['sent', 'input'],
    ['sent', 'patch'],
  ] as const) {
    for (const change of changesOf(use, was[part], is[part])) {
      const path = change.path.join('.')
      const isWhole = change.kind === 'gone' || change.kind === 'type'
      const what = `${path} ${use} ${change.kind === 'keyword' ? change.keyword : change.kind}`
      // What is gone or of another type is told once, where it is read; what a patch takes, with what a create takes.
      if (seen.has(path) || seen.has(what)) continue
      seen.add(isWhole ? path : what)
      const lens = lensFor(change, was, is)
      // What is new in the place of what is gone is mended with it.
      if (change.kind === 'needed' && [...lenses].some((each) => each.includes(literal(change.path[0])))) continue
      if (change.kind === 'gone' && lens) lenses.add(lens)
      yield [`${name}.${path}`, `${words(use, change)} ${lens ? declare(name, lens, at) : keep(change)}`]
    }
  }
  yield* listBreaks(name, was, is, at)
}

function* listBreaks(name: string, was: ResourceContract, is: ResourceContract, at: LensPlace): Generator<Told> {
  const isThere = (field: string) => Object.hasOwn((is.record.properties ?? {}) as object, field)
  for (const [field, operators] of Object.entries(was.filters)) {
    const lost = operators.filter((each) => !is.filters[field]?.includes(each))
    if (lost.length === 0 || !isThere(field)) continue
    const what = is.filters[field] ? `filters no longer take ${lost.join(', ')}` : 'lists cannot be filtered by it'
    yield [`${name}.${field}`, `${what}. No lens mends this: keep it in "filter", its column as it was.`]
  }
  for (const field of was.sorts) {
    if (isThere(field) && !is.sorts.includes(field))
      yield [
        `${name}.${field}`,
        'lists cannot be sorted by it. No lens mends this: keep it in "sort", its column as it was.',
      ]
  }
  for (const [relation, include] of Object.entries(was.includes)) {
    const now = is.includes[relation]
    const place = `${name}.${relation}`
    if (!now) yield [place, `it cannot be included any more. ${mendInclude(name, relation, was, is, at)}`]
    else if (now.many !== include.many)
      yield [place, `it includes ${now.many ? 'a list' : 'one record'} now. No lens mends this: keep the relation.`]
    else if (now.of !== include.of && at.tableOf(include.of) !== undefined)
      yield [place, `it includes records of ${now.of} now, not ${include.of}. No lens mends this: keep the relation.`]
  }
  if (is.pageRowsMax < was.pageRowsMax) {
    const lens = `changeLimit("pageRowsMax", { from: ${was.pageRowsMax} })`
    yield [name, `a page has at most ${is.pageRowsMax} records now, not ${was.pageRowsMax}. ${declare(name, lens, at)}`]
  }
}

function mendResource(name: string, published: Contract, present: Contract, at: LensPlace): string {
  const fieldsOf = ({ record }: ResourceContract) => Object.keys((record.properties ?? {}) as object)
  const own = published.resources[name]
  const wanted = new Set(own ? fieldsOf(own) : [])
  const shared = (each: ResourceContract) => fieldsOf(each).filter((field) => wanted.has(field)).length
  const [likest] = Object.entries(present.resources)
    .filter(([each]) => !published.resources[each])
    .sort(([, a], [, b]) => shared(b) - shared(a))
  return likest
    ? declare(likest[0], `renameResource(${literal(name)})`, at)
    : 'No lens mends this: keep it in the model.'
}

function mendInclude(
  name: string,
  relation: string,
  was: ResourceContract,
  is: ResourceContract,
  at: LensPlace,
): string {
  const old = was.includes[relation]
  const found = Object.entries(is.includes).find(
    ([each, { of, many }]) => !was.includes[each] && of === old?.of && many === old.many,
  )
  return found
    ? declare(name, `rename(${literal(relation)}, ${literal(found[0])})`, at)
    : 'No lens mends this: keep the relation.'
}

function declare(resource: string, lens: string, { version, tableOf }: LensPlace): string {
  return `Declare ${tableOf(resource) ?? resource}: [${lens}] in ${version === null ? 'a new version' : `version ${version}`}.`
}

/** What a break is that no lens mends. */
function keep(change: SchemaChange): string {
  return change.kind === 'gone'
    ? 'No lens mends this: keep it as it was.'
    : 'No lens mends this: keep it as it was, or make the change in a field of another name.'
}

function words(use: Use, change: SchemaChange): string {
  switch (change.kind) {
    case 'gone':
      return use === 'read' ? 'the field is gone.' : 'it is no longer taken, it can only be read.'
    case 'missing':
      return 'it may be missing now.'
    case 'required':
      return 'it is required now.'
    case 'needed':
      return 'it is new and required.'
    case 'nullable':
      return 'it may be null now.'
    case 'notNullable':
      return 'null is no longer taken.'
    case 'type':
      return `it was ${change.was} and is ${change.is}.`
    case 'values':
      return `${use === 'read' ? 'it may be' : 'it no longer takes'} ${change.values.map((each) => JSON.stringify(each)).join(', ')}${use === 'read' ? ' now' : ''}.`
    case 'keyword':
      return keywordWords(use, change)
  }
}

function keywordWords(use: Use, { keyword, was, is }: Extract<SchemaChange, { kind: 'keyword' }>): string {
  const told = (value: unknown) => (value === undefined ? 'none' : JSON.stringify(value))
  if (keyword === 'default') return `its default is ${told(is)} now, not ${told(was)}.`
  return `its ${keyword} was ${told(was)} and is ${told(is)}${use === 'read' ? '' : ', so less is taken'}.`
}
