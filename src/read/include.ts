import { limits } from '../schema/limits.ts'
import type { Relation } from '../schema/model.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { ResourceView } from '../version/view.ts'
import { type Faults, parseFields, parseSort, refuseUnknown, type SortKey, withId } from './names.ts'

/** One related resource that comes with each record. */
export interface Include {
  readonly name: string
  readonly relation: Relation
  readonly view: ResourceView
  /** Records of a to-many relation at most. */
  readonly limit: number
  /** The order of a to-many relation, the id as its last key. */
  readonly sort: readonly SortKey[]
  readonly fields: readonly ShapeField[] | null
  readonly includes: readonly Include[]
}

type Building = Omit<Include, 'limit' | 'sort' | 'fields' | 'includes'> & {
  limit: number
  sort: SortKey[]
  fields: ShapeField[] | null
  includes: Building[]
}

/**
 * `author,comments(limit:3,sort:-id,fields:id|body),comments.author`: relations between commas, dots for depth,
 * options in brackets. `rows` is the page's limit, which the includes multiply.
 */
export function parseIncludes(view: ResourceView, text: string | undefined, rows: number, faults: Faults): Include[] {
  if (text === undefined) return []
  const roots: Building[] = []
  for (const path of splitOutsideBrackets(text, ',')) addPath(view, path, roots, faults)
  const { nodes, rowsPerRecord } = weigh(roots)
  if (nodes > limits.includeNodesMax) {
    faults.add(
      'filter-too-complex',
      'include',
      'too-many-includes',
      `A query takes at most ${limits.includeNodesMax} includes.`,
    )
  }
  if (rows * rowsPerRecord > limits.pageIncludedRowsMax) {
    const message = `A page of ${rows} with these includes may hold ${rows * rowsPerRecord} records; at most ${limits.pageIncludedRowsMax} are allowed. Lower a limit.`
    faults.add('filter-too-complex', 'include', 'too-many-rows', message)
  }
  return roots.map(ordered)
}

/** Gives every include its whole order, so that its records are always the same ones. */
function ordered(include: Building): Include {
  return { ...include, sort: withId(include.sort), includes: include.includes.map(ordered) }
}

function addPath(view: ResourceView, path: string, roots: Building[], faults: Faults) {
  const parts = splitOutsideBrackets(path, '.')
  if (parts.length > limits.includeDepthMax) {
    faults.add(
      'filter-too-complex',
      'include',
      'too-deep',
      `An include is at most ${limits.includeDepthMax} relations deep.`,
    )
    return
  }
  let siblings = roots
  let at = view
  for (const part of parts) {
    const match = /^([^(]*)(?:\(([^()]*)\))?$/.exec(part)
    const name = match?.[1] ?? part
    const relation = at.relations.get(name)
    if (!match || !relation) {
      refuseUnknown(name, at.relations.keys(), 'unknown-field', faults, 'include')
      return
    }
    let include = siblings.find((each) => each.name === name)
    if (!include) {
      include = {
        name,
        relation,
        view: at.other(relation.target),
        limit: limits.includeRowsDefault,
        sort: [],
        fields: null,
        includes: [],
      }
      siblings.push(include)
    }
    if (match[2] !== undefined) setOptions(include, match[2], faults)
    siblings = include.includes
    at = include.view
  }
}

function setOptions(include: Building, text: string, faults: Faults) {
  for (const option of text.split(',')) {
    const at = option.indexOf(':')
    const [name, value] = [option.slice(0, at), option.slice(at + 1)]
    if (at < 0)
      faults.add(
        'invalid-parameter',
        'include',
        'invalid-value',
        `An option of an include is name:value, such as limit:3; "${option}" is not.`,
      )
    else if (name === 'fields') include.fields = parseFields(include.view, value, '|', 'include', faults)
    else if (include.relation.kind === 'belongsTo')
      faults.add(
        'invalid-parameter',
        'include',
        'invalid-value',
        `"${include.name}" is one record; it takes the option fields only.`,
      )
    else if (name === 'sort') include.sort = parseSort(include.view, value.replaceAll('|', ','), 'include', faults)
    else if (name === 'limit') include.limit = includeLimit(value, faults)
    else refuseUnknown(name, ['limit', 'sort', 'fields'], 'unknown-parameter', faults, 'include')
  }
}

function includeLimit(text: string, faults: Faults): number {
  const rows = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (rows >= 1 && rows <= limits.pageRowsMax) return rows
  faults.add(
    'invalid-parameter',
    'include',
    'invalid-value',
    `The limit of an include is from 1 to ${limits.pageRowsMax}.`,
  )
  return 1
}

function weigh(includes: readonly Building[]): { nodes: number; rowsPerRecord: number } {
  let nodes = 0
  let rowsPerRecord = 0
  for (const include of includes) {
    const inner = weigh(include.includes)
    nodes += 1 + inner.nodes
    rowsPerRecord += (include.relation.kind === 'belongsTo' ? 1 : include.limit) * (1 + inner.rowsPerRecord)
  }
  return { nodes, rowsPerRecord }
}

function splitOutsideBrackets(text: string, separator: string): string[] {
  const parts: string[] = []
  let depth = 0
  let start = 0
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++
    else if (text[i] === ')') depth--
    else if (text[i] === separator && depth === 0) {
      parts.push(text.slice(start, i))
      start = i + 1
    }
  }
  return [...parts, text.slice(start)]
}

/** Every resource that the includes read, by its name in the tables. */
export function includedResources(includes: readonly Include[]): string[] {
  return includes.flatMap((include) => [
    include.view.resource.name,
    ...(include.relation.kind === 'manyToMany' ? [include.relation.through] : []),
    ...includedResources(include.includes),
  ])
}
