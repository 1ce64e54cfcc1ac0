import type { Value } from '../value.ts'

/**
 * Who may read and write what. A rule is data. For one caller it resolves to a yes, a no, or a predicate over the
 * record's own columns, which is compiled into the SQL of reads and into the guards of writes.
 */
export type TenantId = string & { readonly brand: 'TenantId' }

/**
 * Who asks. `anonymous`: no key, the public tenant. `service`: a key without a subject, which acts for the whole
 * tenant, so owner rules do not bind it. `user`: a key with a subject, the id of the record that owner rules compare.
 */
export type Caller = {
  readonly tenant: TenantId
  readonly scopes: ReadonlySet<string>
  readonly actor: string
  /** The id of its key, and the date of the API version that the key is pinned to. */
  readonly key?: string
  readonly version?: string
} & ({ readonly kind: 'anonymous' | 'service' } | { readonly kind: 'user'; readonly subject: string })

export type Rule<F extends string = string> =
  | { readonly kind: 'anyone' }
  | { readonly kind: 'service' }
  | { readonly kind: 'scope'; readonly scope: string }
  | { readonly kind: 'owner'; readonly field: F }
  | { readonly kind: 'when'; readonly field: F; readonly equals: string | number }
  | { readonly kind: 'anyOf' | 'allOf'; readonly rules: readonly Rule<F>[] }

/** Every caller, also without a key where the tenant is the public one. */
export const anyone = { kind: 'anyone' } as const satisfies Rule
/** Keys without a subject: the tenant's own back ends. */
export const service = { kind: 'service' } as const satisfies Rule
/** Callers whose key has the scope. */
export const scope = (name: string) => ({ kind: 'scope', scope: name }) as const
/** The user whose id is in the field; and keys without a subject, which act for the whole tenant. */
export const owner = <const F extends string>(field: F) => ({ kind: 'owner', field }) as const
/** Records whose field has this value, for every caller. */
export const when = <const F extends string>(field: F, equals: string | number) =>
  ({ kind: 'when', field, equals }) as const
export const anyOf = <const F extends string>(...rules: readonly Rule<F>[]): Rule<F> => ({ kind: 'anyOf', rules })
export const allOf = <const F extends string>(...rules: readonly Rule<F>[]): Rule<F> => ({ kind: 'allOf', rules })

/** What a rule leaves to be asked of the record once the caller is known. */
export type Predicate =
  | { readonly kind: 'always' | 'never' }
  | { readonly kind: 'equals'; readonly field: string; readonly value: string | number }
  | { readonly kind: 'subject'; readonly field: string }
  | { readonly kind: 'or' | 'and'; readonly parts: readonly Predicate[] }

const always: Predicate = { kind: 'always' }
const never: Predicate = { kind: 'never' }

/** Resolves a rule for a caller; the subject itself stays a placeholder, so that one plan serves every user. */
export function resolve(rule: Rule, caller: Caller): Predicate {
  switch (rule.kind) {
    case 'anyone':
      return always
    case 'service':
      return caller.kind === 'service' ? always : never
    case 'scope':
      return caller.scopes.has(rule.scope) ? always : never
    case 'owner':
      if (caller.kind === 'user') return { kind: 'subject', field: rule.field }
      return caller.kind === 'service' ? always : never
    case 'when':
      return { kind: 'equals', field: rule.field, value: rule.equals }
    case 'anyOf':
    case 'allOf':
      return combined(rule, caller)
  }
}

type Combination = Extract<Rule, { kind: 'anyOf' | 'allOf' }>

/** Callers are kept while their key is trusted, and resolve the same few rules at every request. */
const predicatesByCaller = new WeakMap<Caller, Map<Combination, Predicate>>()

function combined(rule: Combination, caller: Caller): Predicate {
  const predicates = predicatesByCaller.get(caller) ?? new Map<Combination, Predicate>()
  const known = predicates.get(rule)
  if (known) return known
  const predicate = combine(rule.kind === 'anyOf' ? 'or' : 'and', rule.rules, caller)
  predicatesByCaller.set(caller, predicates.set(rule, predicate))
  return predicate
}

function combine(kind: 'or' | 'and', rules: readonly Rule[], caller: Caller): Predicate {
  const [winning, neutral] = kind === 'or' ? ['always', 'never'] : ['never', 'always']
  const parts = rules.map((rule) => resolve(rule, caller)).filter((part) => part.kind !== neutral)
  const winner = parts.find((part) => part.kind === winning)
  const [first] = parts
  if (winner) return winner
  if (!first) return kind === 'or' ? never : always
  return parts.length === 1 ? first : { kind, parts }
}

/** The fields that a rule looks at. */
export function ruleFields(rule: Rule): string[] {
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') return rule.rules.flatMap(ruleFields)
  return rule.kind === 'owner' || rule.kind === 'when' ? [rule.field] : []
}

/**
 * What of a caller decides the shape of a plan: the kind and the scopes, never the tenant or the subject, which are
 * bound as values. Plans are cached by it.
 */
export function callerShape(caller: Caller): string {
  const known = shapeByCaller.get(caller)
  if (known) return known
  const shape = `${caller.kind}:${[...caller.scopes].sort().join(' ')}`
  shapeByCaller.set(caller, shape)
  return shape
}

/** Everything of a caller that decides what it may see, and how: answers to callers of one identity are the same. */
export function callerIdentity(caller: Caller): string {
  const known = identityByCaller.get(caller)
  if (known) return known
  const identity = `${caller.tenant} ${caller.kind === 'user' ? caller.subject : ''} ${callerShape(caller)} ${caller.version ?? ''}`
  identityByCaller.set(caller, identity)
  return identity
}

const identityByCaller = new WeakMap<Caller, string>()

/** Callers are kept while their key is trusted, and asked for their shape at every request. */
const shapeByCaller = new WeakMap<Caller, string>()

/** The condition of a predicate. `column` says where a field's value is; `subject` binds the caller's. */
export function predicateSql(predicate: Predicate, column: (field: string) => string, subject: () => string): string {
  switch (predicate.kind) {
    case 'always':
      return '1'
    case 'never':
      return '0'
    case 'equals': {
      const value = predicate.value
      return `${column(predicate.field)} = ${typeof value === 'number' ? value : `'${value.replaceAll("'", "''")}'`}`
    }
    case 'subject':
      return `${column(predicate.field)} = ${subject()}`
    case 'or':
    case 'and':
      return `(${predicate.parts.map((part) => predicateSql(part, column, subject)).join(` ${predicate.kind} `)})`
  }
}

/** Whether a predicate holds for a record whose fields, as SQLite keeps them, `value` tells. Null is never equal. */
export function predicateHolds(predicate: Predicate, value: (field: string) => Value, subject: string | null): boolean {
  switch (predicate.kind) {
    case 'always':
      return true
    case 'never':
      return false
    case 'equals':
      return value(predicate.field) === predicate.value
    case 'subject':
      return subject !== null && value(predicate.field) === subject
    case 'or':
      return predicate.parts.some((part) => predicateHolds(part, value, subject))
    case 'and':
      return predicate.parts.every((part) => predicateHolds(part, value, subject))
  }
}

/** The fields that a predicate looks at. */
export function predicateFields(predicate: Predicate): string[] {
  if (predicate.kind === 'or' || predicate.kind === 'and') return predicate.parts.flatMap(predicateFields)
  return 'field' in predicate ? [predicate.field] : []
}
