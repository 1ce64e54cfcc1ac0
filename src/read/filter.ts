import { type Field, parseInstant, roundedReal, uuidv7 } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { Value } from '../value.ts'
import { filterColumn, type Operator, operators, valueOperators } from '../version/asking.ts'
import type { ResourceView } from '../version/view.ts'
import { type Faults, refuseUnknown } from './names.ts'

/** What a filter compares: the column that a field of the caller's version is in. */
export interface Term {
  readonly field: Field
  readonly operator: Operator
  /** The field itself, which its values are of. */
  readonly of: ShapeField
}

/** One term of a filter. `value` is bound, as the column has it: for `in` a JSON array of values, for `null` 1 or 0. */
export interface Filter extends Term {
  readonly value: Value
}

/** Parameters of a list that are no filters. */
export const listParameters = ['sort', 'limit', 'after', 'before', 'include', 'fields', 'count', 'as-of']

/** One term of a query, or null where it is wrong, which `faults` then tell. */
export function parseFilter(view: ResourceView, name: string, text: string, faults: Faults): Filter | null {
  const match = /^([^[\]]*)(?:\[([^[\]]*)\])?$/.exec(name)
  const fieldName = match?.[1] ?? name
  const operator = (match?.[2] ?? 'eq') as Operator
  const field = view.fields.get(fieldName)
  const filterable = [...view.fields.values()].filter((each) => filterColumn(view, each)).map((each) => each.name)
  if (!match || !field) {
    refuseUnknown(fieldName, [...filterable, ...listParameters], 'unknown-field', faults, name)
    return null
  }
  const column = filterColumn(view, field)
  if (!column) {
    faults.add(
      'unknown-field',
      name,
      'not-filterable',
      `"${fieldName}" cannot be filtered by; these can: ${filterable.join(', ')}.`,
    )
    return null
  }
  if (!operators.includes(operator)) {
    refuseUnknown(operator, operators, 'invalid-parameter', faults, name)
    return null
  }
  if (!column.isSame && !valueOperators.includes(operator)) {
    const message = `"${fieldName}" takes ${valueOperators.join(', ')} only in this version of the API.`
    faults.add('invalid-parameter', name, 'not-ordered', message)
    return null
  }
  const value = filterValue(field, operator, text)
  if (value !== undefined) return { field: column.field, operator, of: field, value }
  faults.add(
    'invalid-value',
    name,
    'invalid-value',
    `"${text.slice(0, 100)}" is not a value of ${name}: expected ${expected(field, operator)}.`,
  )
  return null
}

/** The value of a term as its column has it; undefined where the text is none. */
export function filterValue(field: ShapeField, operator: Operator, text: string): Value | undefined {
  if (operator === 'null') return text === 'true' ? 1 : text === 'false' ? 0 : undefined
  if (operator === 'in') {
    const values = text.split(',').map((each) => columnValue(field, each))
    const whole = values.length <= limits.inValuesMax && !values.includes(undefined)
    return whole ? JSON.stringify(values) : undefined
  }
  const textual = operator === 'contains' || operator === 'prefix'
  if (textual && field.kind !== 'text') return undefined
  if (textual && text === '') return undefined
  return columnValue(field, text)
}

function columnValue(field: ShapeField, text: string): Value | undefined {
  const value = parseValue(field, text)
  return value === undefined || field.column === null ? undefined : field.column.toColumn(value)
}

function parseValue(field: Field, text: string): Value | undefined {
  switch (field.kind) {
    case 'id':
      return uuidv7.test(text) ? text : undefined
    case 'integer':
      return /^-?\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined
    case 'real':
      return /^-?\d{1,30}(\.\d{1,30})?$/.test(text) ? roundedReal(Number(text)) : undefined
    case 'boolean':
      return text === 'true' ? 1 : text === 'false' ? 0 : undefined
    case 'instant':
      return parseInstant(text) ?? undefined
    case 'enum':
      return field.values.includes(text) ? text : undefined
    case 'text':
      return text.length <= 1_000 ? text : undefined
    case 'json':
      return undefined
  }
}

function expected(field: Field, operator: Operator): string {
  if (operator === 'null') return 'true or false'
  if ((operator === 'contains' || operator === 'prefix') && field.kind !== 'text')
    return 'a text field for this operator'
  const one: Record<Field['kind'], string> = {
    id: 'a UUID of version 7',
    integer: 'a whole number',
    real: 'a number',
    boolean: 'true or false',
    instant: 'a date-time such as 2026-01-31T12:00:00Z',
    enum: `one of ${field.values.join(', ')}`,
    text: 'a text of at most 1000 characters',
    json: 'nothing, json fields cannot be filtered by',
  }
  return operator === 'in'
    ? `up to ${limits.inValuesMax} values between commas, each ${one[field.kind]}`
    : one[field.kind]
}
