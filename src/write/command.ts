import { Problem } from '../problem.ts'
import type { Caller } from '../schema/access.ts'
import { uuidv7 } from '../schema/field.ts'
import { limits } from '../schema/limits.ts'
import type { ShapeField } from '../schema/shape.ts'
import type { ResourceView, View } from '../version/view.ts'
import { type Assignment, BodyFaults, escapePointer, parseInput } from './input.ts'

/** What a write expects of the record as it is now (RFC 9110 section 13). */
export type Condition =
  | { readonly kind: 'none' }
  /** If-Match with versions. */
  | { readonly kind: 'versions'; readonly versions: readonly number[] }
  /** If-Match: * */
  | { readonly kind: 'present' }
  /** If-None-Match: * */
  | { readonly kind: 'absent' }

export type CommandKind = 'create' | 'replace' | 'patch' | 'delete'

/** One write of one record, its input valid and as SQLite keeps it. */
export interface Command {
  readonly kind: CommandKind
  readonly view: ResourceView
  readonly id: string
  /** Every writable column of a create or replace; those of the named fields of a patch; none of a delete. */
  readonly input: readonly Assignment[]
  readonly condition: Condition
  /** The JSON pointer of this command in the body: empty, or `/commands/3`. */
  readonly pointer: string
}

/** Whose request it is that writes, under which key, and when. */
export interface WriteSource {
  readonly caller: Caller
  readonly key: { readonly key: string; readonly fingerprint: string } | null
  readonly requestId: string
  /** The time of the request, as an instant. */
  readonly now: string
}

/** Commands that commit together, from one request of one caller. */
export interface WriteRequest extends WriteSource {
  readonly commands: readonly Command[]
  /** Whether the answer is one record or the list of a batch. */
  readonly single: boolean
}

export function parseId(text: unknown): string {
  if (typeof text === 'string' && uuidv7.test(text)) return text
  throw new Problem('invalid-id', {
    detail: 'An id is a UUID of version 7 in lower case, such as 019a3f00-0000-7000-8000-000000000001.',
  })
}

/**
 * The commands of `POST /batch`: `{ "commands": [{ "do", "resource", "id"?, "as"?, "ifVersion"?, "body"? }] }`. An id
 * that an earlier command named with `as` stands as `{ "$ref": name }` wherever an id may.
 */
export function parseBatch(view: View, body: unknown, newId: () => string): Command[] {
  const list = (body as { commands?: unknown } | null)?.commands
  if (!Array.isArray(list) || list.length === 0 || Object.keys(body as object).length !== 1) {
    throw new Problem('invalid-command', {
      detail: 'The body of a batch is { "commands": [ ... ] } with at least one command.',
    })
  }
  if (list.length > limits.batchCommandsMax) {
    throw new Problem('invalid-command', {
      detail: `A batch has at most ${limits.batchCommandsMax} commands; this one has ${list.length}.`,
    })
  }
  const faults = new BodyFaults()
  const idByName = new Map<string, string>()
  const commands = list.map((each, i) => parseCommand(view, each, `/commands/${i}`, idByName, newId, faults))
  faults.throwIfAny()
  return commands.filter((command) => command !== null)
}

const commandMembers = ['do', 'resource', 'id', 'as', 'ifVersion', 'body']
const kinds: readonly string[] = ['create', 'replace', 'patch', 'delete'] satisfies CommandKind[]

function parseCommand(
  view: View,
  value: unknown,
  pointer: string,
  idByName: Map<string, string>,
  newId: () => string,
  faults: BodyFaults,
): Command | null {
  const given: Record<string, unknown> = typeof value === 'object' && value !== null ? { ...value } : {}
  const unknown = Object.keys(given).find((name) => !commandMembers.includes(name))
  const resource = typeof given.resource === 'string' ? view.resources.get(given.resource) : undefined
  const kind = given.do as CommandKind
  if (unknown)
    return refuse(
      `/${escapePointer(unknown)}`,
      `A command has no member "${unknown.slice(0, 100)}"; it has ${commandMembers.join(', ')}.`,
    )
  if (!kinds.includes(kind)) return refuse('/do', `"do" is one of ${kinds.join(', ')}.`)
  if (resource?.resource.isReadOnly)
    return refuse('/resource', `${resource.name} is a read model, which follows the records that it is made of.`)
  if (!resource) return refuse('/resource', `"resource" is one of ${writableNames(view).join(', ')}.`)
  const as = given.as
  if (as !== undefined && (typeof as !== 'string' || !/^[\w-]{1,64}$/.test(as)))
    return refuse('/as', '"as" is 1 to 64 letters, digits, _ and -.')
  const named = resolveReferences(resource, given, idByName)
  if (typeof named === 'string') return refuse('', `No earlier command is named "${named.slice(0, 64)}".`)
  const id = kind === 'create' ? (named.id ?? newId()) : named.id
  if (typeof id !== 'string' || !uuidv7.test(id))
    return refuse('/id', '"id" is a UUID of version 7 in lower case, or a { "$ref": name }.')
  if (kind === 'create' && named.id !== undefined)
    return refuse('/id', 'A create gets its id from Perigee; use "replace" to choose it.')
  if (as !== undefined) idByName.set(as, id)
  const condition = parseIfVersion(given.ifVersion, kind)
  if (!condition)
    return refuse(
      '/ifVersion',
      '"ifVersion" is a version, a whole number from 1; or 0 on a "replace", where there must be no record yet; and nothing on a "create".',
    )
  const input = kind === 'delete' ? [] : parseInput(resource, kind, named.body, `${pointer}/body`, faults)
  return { kind, view: resource, id, input, condition, pointer }

  function refuse(at: string, message: string): null {
    faults.add('invalid-command', pointer + at, 'invalid-command', message)
    return null
  }
}

function writableNames(view: View): string[] {
  return [...view.resources.values()].filter(({ resource }) => !resource.isReadOnly).map(({ name }) => name)
}

function parseIfVersion(value: unknown, kind: CommandKind): Condition | null {
  if (value === undefined) return { kind: 'none' }
  if (!Number.isSafeInteger(value) || Number(value) < 0) return null
  if (kind === 'create' || (value === 0 && kind !== 'replace')) return null
  return value === 0 ? { kind: 'absent' } : { kind: 'versions', versions: [Number(value)] }
}

/** A name in a reference that no earlier command has. */
class MissingName {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

/** The command's id and body with references resolved, or the name that no earlier command has. */
function resolveReferences(
  view: ResourceView,
  given: Record<string, unknown>,
  idByName: ReadonlyMap<string, string>,
): { id: unknown; body: unknown } | string {
  const resolve = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, '$ref')) return value
    const { $ref } = value as { $ref: unknown }
    // What is no text is told as JSON: as a text it would be what its own member toString makes of it.
    if (typeof $ref !== 'string') return new MissingName(JSON.stringify($ref))
    return idByName.get($ref) ?? new MissingName($ref)
  }
  const id = resolve(given.id)
  if (id instanceof MissingName) return id.name
  const { body } = given
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return { id, body }
  let missing: MissingName | null = null
  const resolveIn = (values: object, fields: ReadonlyMap<string, ShapeField>): object => {
    const entries = Object.entries(values).map(([name, value]): [string, unknown] => {
      const field = fields.get(name)
      if (field?.members && typeof value === 'object' && value !== null && !Array.isArray(value))
        return [name, resolveIn(value, new Map(field.members.map((each) => [each.name, each])))]
      const resolved = field?.kind === 'id' ? resolve(value) : value
      if (resolved instanceof MissingName) missing ??= resolved
      return [name, resolved]
    })
    return Object.fromEntries(entries)
  }
  const resolved = resolveIn(body, view.fields)
  return missing === null ? { id, body: resolved } : (missing as MissingName).name
}
