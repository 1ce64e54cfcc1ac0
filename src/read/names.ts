import { type Fault, nearest, Problem, type ProblemCode } from '../problem.ts'
import { limits } from '../schema/limits.ts'
import type { ShapeField } from '../schema/shape.ts'
import { sortColumn } from '../version/asking.ts'
import type { ResourceView } from '../version/view.ts'

/** Gathers everything wrong with a query, so that one answer names all of it. */
export class Faults {
  private code: ProblemCode | undefined
  private readonly list: Fault[] = []

  add(problem: ProblemCode, parameter: string, code: string, message: string) {
    this.code ??= problem
    if (this.list.length < limits.faultsMax) this.list.push({ parameter, code, message })
  }

  throwIfAny() {
    if (this.code) throw new Problem(this.code, { detail: this.list[0]?.message ?? '', errors: this.list })
  }
}

export function refuseUnknown(
  name: string,
  valid: Iterable<string>,
  problem: ProblemCode,
  faults: Faults,
  parameter = name,
) {
  const known = [...valid]
  const near = nearest(name, known)
  const hint = near ? `did you mean "${near}"?` : `there are ${known.join(', ')}.`
  faults.add(problem, parameter, problem, `There is no "${name.slice(0, 100)}"; ${hint}`)
}

/** One key of a sort, by the field's name in the tables. */
export interface SortKey {
  readonly field: string
  readonly descending: boolean
}

export function parseSort(view: ResourceView, text: string | undefined, parameter: string, faults: Faults): SortKey[] {
  const keys: SortKey[] = []
  for (const part of text === undefined ? [] : text.split(',')) {
    const descending = part.startsWith('-')
    const name = descending ? part.slice(1) : part
    const field = view.fields.get(name)
    const column = field && sortColumn(view, field)
    const sortable = [...view.fields.values()].filter((each) => sortColumn(view, each)).map((each) => each.name)
    if (!field) refuseUnknown(name, sortable, 'unknown-field', faults, parameter)
    else if (!column) {
      faults.add(
        'unknown-field',
        parameter,
        'not-sortable',
        `"${name}" cannot be sorted by; these can: ${sortable.join(', ')}.`,
      )
    } else if (keys.some((key) => key.field === column)) {
      faults.add('invalid-parameter', parameter, 'repeated', `The sort names "${name}" twice.`)
    } else keys.push({ field: column, descending })
  }
  if (keys.length > limits.sortKeysMax) {
    faults.add('filter-too-complex', parameter, 'too-many-keys', `A sort takes at most ${limits.sortKeysMax} keys.`)
  }
  return keys
}

export function parseFields(
  view: ResourceView,
  text: string | undefined,
  separator: string,
  parameter: string,
  faults: Faults,
): ShapeField[] | null {
  if (text === undefined) return null
  const fields = new Set<ShapeField>()
  for (const name of text.split(separator)) {
    const field = view.fields.get(name)
    if (field) fields.add(field)
    else refuseUnknown(name, view.fields.keys(), 'unknown-field', faults, parameter)
  }
  return [...fields]
}

/** Ends the sort with the id, in the direction of the key before it, so that no two records are in one place. */
export function withId(sort: readonly SortKey[]): SortKey[] {
  if (sort.some((key) => key.field === 'id')) return sort.slice(0, sort.findIndex((key) => key.field === 'id') + 1)
  return [...sort, { field: 'id', descending: sort.at(-1)?.descending ?? false }]
}
