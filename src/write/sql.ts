import * as z from 'zod'
import { assert } from '../problem.ts'
import { type Caller, callerShape, predicateSql, resolve } from '../schema/access.ts'
import type { Derived } from '../schema/derived.ts'
import { quoted } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { Resource } from '../schema/model.ts'
import type { Reference } from '../schema/table.ts'
import { commitTimeSql } from '../store/primary.ts'
import { ShapeCache, type Text } from '../store/text.ts'
import { expressionSql, formOf, type LeafSql } from '../version/expression-sql.ts'
import { leavingValues } from '../version/retiring-sql.ts'
import { compileAnswer, compilePutAside, compileStoredAnswer } from './answer.ts'
import type { Command } from './command.ts'
import type { Assignment } from './input.ts'
import { type Bound, WriteParameters } from './parameters.ts'

/** The one place where writes become SQL. A text depends on the command's shape alone and is made once for it. */
export interface CommandSql {
  /** Changes exactly one row, or the command is refused. */
  readonly write: Text<Bound>
  /** Why a write was refused: `[visible version, version, ok per reference..., fits per text..., used per incoming reference...]`. */
  readonly explain: Text<Bound>
  /** The command's result in a batch, put aside until the batch answers. */
  readonly putAside: Text<Bound>
  /** The answer of a single command: status, version, record, position. */
  readonly answer: Text<Bound>
  /** The same, stored under the idempotency key first. */
  readonly storedAnswer: Text<Bound>
}

const compiled = new ShapeCache<CommandSql>()

/** The statements of a command, compiled once for its shape. */
export function compileCommand(command: Command, caller: Caller): CommandSql {
  const { kind, view, condition, input } = command
  const changed = kind === 'patch' || kind === 'replace' ? input.map(changeShape).join() : ''
  const shape = `${kind} ${condition.kind} ${callerShape(caller)} ${changed}`
  return compiled.get(view, shape, () => ({
    write: compileWrite(command, caller),
    explain: compileExplain(command, caller),
    putAside: compilePutAside(command, caller),
    answer: compileAnswer(command, caller),
    storedAnswer: compileStoredAnswer(command, caller),
  }))
}

function changeShape({ column, change }: Assignment): string {
  return change.kind === 'compute' ? `${column.name} ${change.shape}` : `${column.name} ${change.kind}`
}

/** A text that is made of what the record has, so that only the database can tell how long it is. */
export interface Measured {
  readonly assignment: Assignment
  readonly index: number
  readonly least: number
  readonly most: number
}

/** The texts of a command that have a length to keep, in the order in which `explain` answers them. */
export function measuredTexts({ input }: Command): Measured[] {
  return input.flatMap((assignment, index) => {
    const { schema } = assignment.column
    if (assignment.change.kind !== 'compute' || !(schema instanceof z.ZodString)) return []
    const { minLength, maxLength } = schema
    if (minLength === null && maxLength === null) return []
    return [{ assignment, index, least: minLength ?? 0, most: maxLength ?? limits.bodyBytesMax }]
  })
}

function lengthCondition({ assignment, index, least, most }: Measured, row: string, p: WriteParameters): string {
  return `coalesce(length(${changeSql(assignment, index, row, p)}) between ${least} and ${most}, 1)`
}

/** What a change makes of a column of the row `row`. */
function changeSql({ change, column }: Assignment, index: number, row: string, p: WriteParameters): string {
  if (change.kind !== 'compute') return p.input(index)
  const { sql, form } = expressionSql(change.expression, (leaf) => {
    if (leaf.op === 'bound') return { sql: p.change(index, leaf.index), form: formOf(leaf.kind) }
    if (leaf.op === 'column') return { sql: `${row}${quoted(leaf.name)}`, form: formOf(leaf.kind) }
    throw new Error(`broken invariant: a change is of a row and of what is bound, and there is ${leaf.op}`)
  })
  assert((form === 'json') === (column.kind === 'json'), 'a document is made for a json column')
  return sql
}

function compileWrite(command: Command, caller: Caller): Text<Bound> {
  switch (command.kind) {
    case 'create':
      return compileInsert(command, caller, 'refuse')
    case 'replace':
      if (command.condition.kind === 'none') return compileInsert(command, caller, 'update')
      return command.condition.kind === 'absent'
        ? compileInsert(command, caller, 'nothing')
        : compileUpdate(command, caller)
    case 'patch':
      return compileUpdate(command, caller)
    case 'delete': {
      const p = new WriteParameters(caller)
      const where = [...identityConditions(command, p), oldRowCondition(command.view.resource, p)]
      return p.text(`delete from ${quoted(command.view.resource.name)} where ${where.join(' and ')}`)
    }
  }
}

/**
 * A new record. Where its id was there before, the log's trigger goes on from its last version. Guards stand in the
 * `where` of its `select`, over the values that it would have.
 */
function compileInsert(command: Command, caller: Caller, onConflict: 'refuse' | 'update' | 'nothing'): Text<Bound> {
  const p = new WriteParameters(caller)
  const { resource } = command.view
  const table = quoted(resource.name)
  const values = new Map<string, string>([
    ['tenant', p.tenant],
    ['id', p.id],
    ['version', '1'],
    ['createdAt', commitTimeSql],
    ['updatedAt', commitTimeSql],
  ])
  for (const [index, { column }] of command.input.entries()) values.set(column.name, p.input(index))
  for (const derived of resource.derived.values()) {
    if (derived.kind === 'copy') values.set(derived.column, copyTruth(derived, values, p))
  }
  const value = (field: string) => values.get(field) ?? fallbackSql(resource, field)
  for (const [column, sql] of leavingValues(resource, valueLeaf(value))) values.set(column, sql)
  const columns = [...values.keys()].map(quoted).join(', ')
  const guards = newRowConditions(command, value, resource.references, p)
  const insert = `insert into ${table}(${columns}) select ${[...values.values()].join(', ')} where ${guards.join(' and ')}`
  if (onConflict === 'refuse') return p.text(insert)
  if (onConflict === 'nothing') return p.text(`${insert} on conflict(tenant, id) do nothing`)
  const sets = [...command.input.entries()]
    .filter(([, { change }]) => change.kind !== 'keep')
    .map(([index, each]) => {
      const name = quoted(each.column.name)
      return `${name} = ${each.change.kind === 'set' ? `excluded.${name}` : changeSql(each, index, `${table}.`, p)}`
    })
  const old = predicateSql(resolve(resource.access.write, caller), (field) => `${table}.${quoted(field)}`, p.subject)
  const where = [old, ...measuredTexts(command).map((each) => lengthCondition(each, `${table}.`, p))]
  return p.text(
    `${insert} on conflict(tenant, id) do update set ${[...sets, updatedAtSql(table)].join(', ')}, version = ${table}.version + 1 where ${where.join(' and ')}`,
  )
}

/** The values of a new row as leaves. */
function valueLeaf(value: (column: string) => string): LeafSql {
  return (leaf) => {
    assert(leaf.op === 'column', 'a column that retires is read from columns')
    return { sql: value(leaf.name), form: formOf(leaf.kind) }
  }
}

function copyTruth(derived: Derived, values: ReadonlyMap<string, string>, p: WriteParameters): string {
  const link = values.get(derived.link) ?? 'null'
  return `(select s.${quoted(derived.field ?? '')} from ${quoted(derived.source)} s where s.tenant = ${p.tenant} and s.id = ${link})`
}

function fallbackSql(resource: Resource, name: string): string {
  const fallback = resource.fields.get(name)?.fallback ?? null
  return typeof fallback === 'string' ? `'${fallback.replaceAll("'", "''")}'` : String(fallback)
}

function compileUpdate(command: Command, caller: Caller): Text<Bound> {
  const p = new WriteParameters(caller)
  const { resource } = command.view
  const valueByField = new Map<string, string>()
  for (const [index, each] of command.input.entries()) {
    if (each.change.kind !== 'keep') valueByField.set(each.column.name, changeSql(each, index, '', p))
  }
  const sets = [...valueByField].map(([name, value]) => `${quoted(name)} = ${value}`)
  const moved = resource.references.filter((reference) => valueByField.has(reference.column))
  const where = [
    ...identityConditions(command, p),
    oldRowCondition(resource, p),
    ...newRowConditions(command, (field) => valueByField.get(field) ?? quoted(field), moved, p),
    ...measuredTexts(command).map((each) => lengthCondition(each, '', p)),
  ]
  return p.text(
    `update ${quoted(resource.name)} set ${[...sets, updatedAtSql(quoted(resource.name))].join(', ')}, version = version + 1 where ${where.join(' and ')}`,
  )
}

/**
 * The time of a write to a record that is there: always later than that of the write before, also within one
 * millisecond and where the clock went back, so that no write leaves the record as it was and the log without it.
 */
function updatedAtSql(table: string): string {
  const last = `${table}."updatedAt"`
  const next = `strftime('%Y-%m-%dT%H:%M:%fZ', ${last}, '+0.001 seconds')`
  return `updatedAt = iif(${last} < ${commitTimeSql}, ${commitTimeSql}, coalesce(${next}, ${commitTimeSql}))`
}

function identityConditions(command: Command, p: WriteParameters): string[] {
  const conditions = [`tenant = ${p.tenant}`, `id = ${p.id}`]
  if (command.condition.kind === 'absent') conditions.push('0')
  if (command.condition.kind !== 'versions') return conditions
  const versions = p.once('versions', ({ command: { condition } }) =>
    condition.kind === 'versions' ? JSON.stringify(condition.versions) : null,
  )
  return [...conditions, `version in (select value from json_each(${versions}))`]
}

function oldRowCondition(resource: Resource, p: WriteParameters): string {
  return predicateSql(resolve(resource.access.write, p.caller), quoted, p.subject)
}

/**
 * What must hold of the row as it will be: the caller may write it, and may read whatever it refers to. A reference
 * that every caller of this shape may read is left to its foreign key.
 */
function newRowConditions(
  command: Command,
  value: (field: string) => string,
  references: readonly Reference[],
  p: WriteParameters,
): string[] {
  const allowed = predicateSql(resolve(command.view.resource.access.write, p.caller), value, p.subject)
  const guarded = references.filter((each) => resolve(readRule(command, each), p.caller).kind !== 'always')
  return [allowed, ...guarded.map((each) => referenceCondition(command, each, value(each.column), p))]
}

function readRule(command: Command, reference: Reference) {
  return command.view.other(reference.to).resource.access.read
}

/** The record that a reference names exists and the caller may read it, or the reference is null. */
function referenceCondition(command: Command, reference: Reference, value: string, p: WriteParameters): string {
  const visible = resolve(readRule(command, reference), p.caller)
  const readable = predicateSql(visible, (field) => `x.${quoted(field)}`, p.subject)
  return `(${value} is null or exists (select 1 from ${quoted(reference.to)} x where x.tenant = ${p.tenant} and x.id = ${value} and ${readable}))`
}

function compileExplain(command: Command, caller: Caller): Text<Bound> {
  const p = new WriteParameters(caller)
  const { resource } = command.view
  const table = quoted(resource.name)
  const visible = predicateSql(resolve(resource.access.read, caller), (field) => `t.${quoted(field)}`, p.subject)
  const version = (condition: string) =>
    `(select t.version from ${table} t where t.tenant = ${p.tenant} and t.id = ${p.id} and ${condition})`
  const references = explainedReferences(command).map((reference) => {
    const index = command.input.findIndex(({ column }) => column.name === reference.column)
    return referenceCondition(command, reference, p.input(index), p)
  })
  const users = resource.referencedBy.map(
    (reference) =>
      `exists (select 1 from ${quoted(reference.from)} x where x.tenant = ${p.tenant} and x.${quoted(reference.column)} = ${p.id})`,
  )
  const lengths = measuredTexts(command).map((each) => {
    const fits = lengthCondition(each, 't.', p)
    return `(select ${fits} from ${table} t where t.tenant = ${p.tenant} and t.id = ${p.id})`
  })
  const facts = [version(visible), version('1'), ...references, ...lengths, ...(command.kind === 'delete' ? users : [])]
  return p.text(`select ${facts.join(', ')}`)
}

/** The references that a command sets, in the order in which `explain` answers them. */
export function explainedReferences(command: Command): Reference[] {
  return command.view.resource.references.filter((reference) =>
    command.input.some(({ column, change }) => column.name === reference.column && change.kind === 'set'),
  )
}
