import { type Fault, Problem } from '../problem.ts'
import type { Refused } from '../store/primary.ts'
import type { Row } from '../store/reader.ts'
import type { Command } from './command.ts'
import { explainedReferences, type Measured, measuredTexts } from './sql.ts'

type Cell = Row[number] | undefined

/** Why a command was refused, for its caller. */
export function refusal(command: Command, refused: Refused): Problem {
  const [visible, version, ...facts] = refused.explanation ?? []
  const references = explainedReferences(command)
  const missing = references.filter((_, i) => facts[i] === 0)
  const wanted = refusedByState(command, visible ?? null, version ?? null)
  if (wanted) return wanted
  if (missing.length > 0) return missingReferences(command, missing)
  const unfit = measuredTexts(command).filter((_, i) => facts[references.length + i] === 0)
  if (unfit.length > 0) return wrongLengths(command, unfit)
  if (refused.cause === 'unique') return alreadyExists(command, refused.message)
  if (refused.cause === 'foreign-key') return stillReferenced(command, facts)
  if (refused.cause === 'guard') {
    const detail = `This key may not ${command.kind} this record of ${command.view.name}.`
    return new Problem('forbidden', { detail, ...at(command, 'forbidden', detail) })
  }
  const detail = `The database refuses the record: ${refused.message}.`
  return new Problem('invalid-value', {
    detail,
    errors: [{ pointer: command.pointer, code: refused.cause, message: detail }],
  })
}

/** Whether the record's presence or version already says no. */
function refusedByState(command: Command, visible: Cell, version: Cell): Problem | null {
  const { kind, condition } = command
  if (kind === 'create') return null
  if (condition.kind === 'absent') {
    return version === null
      ? null
      : stale(command, visible, 'A record with this id exists, and the request expects none.')
  }
  const expected = condition.kind === 'versions' ? condition.versions.join(', ') : null
  if (visible === null && kind === 'replace' && expected === null && condition.kind !== 'present') return null
  if (visible === null && kind === 'replace')
    return stale(command, visible, 'There is no such record, and the request expects one.')
  if (visible === null) {
    const detail = `There is no ${command.view.name} with this id.`
    return new Problem('not-found', { detail, ...at(command, 'not-found', detail) })
  }
  if (expected === null || (condition.kind === 'versions' && condition.versions.includes(Number(version)))) return null
  return stale(
    command,
    visible,
    `The record is at version ${visible}; the request expects ${expected}. Read it again and repeat the change.`,
  )
}

function stale(command: Command, visible: Cell, detail: string): Problem {
  const headers =
    typeof visible === 'number' && command.pointer === '' ? { ETag: `"${visible}-${command.view.alias}"` } : {}
  return new Problem('precondition-failed', { detail, headers, ...at(command, 'stale-version', detail) })
}

/** In a batch, says which command it was. */
function at(command: Command, code: string, message: string): { errors?: readonly Fault[] } {
  return command.pointer === '' ? {} : { errors: [{ pointer: command.pointer, code, message }] }
}

function bodyPointer(command: Command): string {
  return command.pointer === '' ? '' : `${command.pointer}/body`
}

/** A column as the caller knows it: by the field that it sent. */
function pathOf({ input, view }: Command, column: string): string {
  return input.find((each) => each.column.name === column)?.path ?? view.pathOf(column)
}

/** The same in a sentence. */
function nameOf(command: Command, column: string): string {
  return pathOf(command, column).replace('/', '.')
}

function missingReferences(command: Command, missing: ReturnType<typeof explainedReferences>): Problem {
  const errors = missing.map((reference) => ({
    pointer: `${bodyPointer(command)}/${pathOf(command, reference.column)}`,
    code: 'no-such-record',
    message: `"${nameOf(command, reference.column)}": there is no record of ${command.view.other(reference.to).name} with this id.`,
  }))
  return new Problem('invalid-value', { detail: errors[0]?.message ?? '', errors })
}

function wrongLengths(command: Command, unfit: readonly Measured[]): Problem {
  const errors = unfit.map(({ assignment: { column }, least, most }) => ({
    pointer: `${bodyPointer(command)}/${pathOf(command, column.name)}`,
    code: 'wrong-length',
    message: `"${nameOf(command, column.name)}": with what the record has it makes a text that is not of ${least} to ${most} characters.`,
  }))
  return new Problem('invalid-value', { detail: errors[0]?.message ?? '', errors })
}

function alreadyExists(command: Command, message: string): Problem {
  const columns = [...message.matchAll(/\w+\.(\w+)/g)]
    .map((match) => match[1] ?? '')
    .filter((column) => column !== 'tenant')
  const errors = columns.map((column) => ({
    pointer: `${bodyPointer(command)}/${pathOf(command, column)}`,
    code: 'not-unique',
    message: `Another record of ${command.view.name} has this ${columns.map((each) => nameOf(command, each)).join(' and ')}.`,
  }))
  return new Problem('already-exists', { detail: errors[0]?.message ?? '', errors })
}

function stillReferenced(command: Command, facts: readonly Cell[]): Problem {
  const { view } = command
  const { referencedBy } = view.resource
  const users = referencedBy.filter((reference, i) => facts[i] === 1 && reference.onDelete !== 'cascade')
  const names = [...new Set(users.map((reference) => view.other(reference.from).name))].join(' and ')
  const detail = `Records of ${names || 'other resources'} still refer to this one of ${view.name}. Delete or move them first.`
  return new Problem('still-referenced', { detail, ...at(command, 'still-referenced', detail) })
}
