import type { ProblemCode } from '../../problem.ts'
import type { ResourceView } from '../../version/view.ts'

/** What any request may be answered: the guards before the router, and a fault of ours. */
export const ofAnyRequest = [
  'invalid-host',
  'uri-too-long',
  'rate-limited',
  'internal-error',
] as const satisfies readonly ProblemCode[]

/** Of what an edge sends to the primary. */
const ofAnyEdge = ['primary-unreachable', 'overloaded', 'loop-detected'] as const satisfies readonly ProblemCode[]

const ofAnyRead = [
  ...ofAnyRequest,
  'unauthorized',
  'forbidden',
  'unknown-version',
  'version-sunset',
  'invalid-header',
  'invalid-consistency-token',
  'token-from-another-epoch',
  'position-not-reached',
  ...ofAnyEdge,
  'not-ready',
] as const satisfies readonly ProblemCode[]

const ofAnyWrite = [
  ...ofAnyRequest,
  'unauthorized',
  'forbidden',
  'unknown-version',
  'version-sunset',
  'unknown-parameter',
  'invalid-idempotency-key',
  'idempotency-key-reused',
  ...ofAnyEdge,
  'storage-error',
  'outcome-unknown',
  'storage-full',
] as const satisfies readonly ProblemCode[]

const ofAnyBody = [
  'unsupported-media-type',
  'unsupported-content-encoding',
  'content-too-large',
  'invalid-json',
  'unknown-field',
  'invalid-value',
] as const satisfies readonly ProblemCode[]

const ofOne = ['invalid-header', 'invalid-id', 'precondition-failed'] as const satisfies readonly ProblemCode[]

/** The problems that each kind of operation answers. */
export const problemsByKind = {
  list: [
    ...ofAnyRead,
    'invalid-parameter',
    'invalid-cursor',
    'unknown-field',
    'unknown-parameter',
    'invalid-value',
    'filter-too-complex',
    'past-not-kept',
  ],
  read: [
    ...ofAnyRead,
    'invalid-id',
    'invalid-parameter',
    'not-found',
    'unknown-field',
    'unknown-parameter',
    'filter-too-complex',
    'past-not-kept',
  ],
  history: [...ofAnyRead, 'invalid-id', 'invalid-parameter', 'invalid-cursor', 'not-found', 'unknown-parameter'],
  changes: [...ofAnyRead, 'invalid-parameter', 'unknown-parameter', 'unknown-field', 'invalid-value', 'must-refetch'],
  create: [...ofAnyWrite, ...ofAnyBody, 'invalid-header'],
  replace: [...ofAnyWrite, ...ofAnyBody, ...ofOne],
  patch: [...ofAnyWrite, ...ofAnyBody, ...ofOne, 'not-found'],
  delete: [...ofAnyWrite, ...ofOne, 'not-found'],
  batch: [
    ...ofAnyWrite,
    ...ofAnyBody,
    'invalid-command',
    'not-found',
    'already-exists',
    'still-referenced',
    'precondition-failed',
  ],
} as const satisfies Record<string, readonly ProblemCode[]>

const ofWebhook = ['invalid-header', 'invalid-id', 'not-found'] as const satisfies readonly ProblemCode[]

/** The problems of the operations on webhooks. */
export const webhookProblems = {
  list: [...ofAnyRead, 'unknown-parameter'],
  create: [...ofAnyWrite, ...ofAnyBody, 'invalid-header', 'webhook-url-refused', 'too-many-webhooks'],
  read: [...ofAnyRead, 'invalid-id', 'not-found', 'unknown-parameter'],
  patch: [...ofAnyWrite, ...ofAnyBody, ...ofWebhook, 'webhook-url-refused'],
  delete: [...ofAnyWrite, ...ofWebhook],
  rotate: [...ofAnyWrite, ...ofWebhook],
  deliveries: [...ofAnyRead, 'invalid-id', 'not-found', 'unknown-parameter', 'invalid-parameter', 'invalid-cursor'],
  redeliver: [...ofAnyWrite, ...ofAnyBody, ...ofWebhook],
} as const satisfies Record<string, readonly ProblemCode[]>

export type OperationKind = keyof typeof problemsByKind

/**
 * The problems of an operation on one resource: only a record with a unique value besides its id can exist already, and
 * one to which none can refer is never still referenced.
 */
export function problemsOf(kind: OperationKind, { resource }: ResourceView): readonly ProblemCode[] {
  const isUnique = resource.indexes.some(({ unique, columns }) => unique && columns.join() !== 'id')
  const isHeld = resource.referencedBy.some(({ onDelete }) => ['restrict', 'no action'].includes(onDelete))
  if (kind === 'delete' && isHeld) return [...problemsByKind.delete, 'still-referenced']
  const writesValues = kind === 'create' || kind === 'replace' || kind === 'patch'
  return writesValues && isUnique ? [...problemsByKind[kind], 'already-exists'] : problemsByKind[kind]
}
