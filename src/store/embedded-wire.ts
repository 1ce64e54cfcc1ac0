import type { Value } from '../value.ts'
import type { Outcome } from './primary.ts'

/** Texts are sent once and then named by number. */
export interface GroupMessage {
  readonly kind: 'group'
  /** The texts named before are forgotten first. */
  readonly forget: boolean
  readonly texts: readonly string[]
  readonly batches: readonly WireBatch[]
}
export type WireCall = readonly [text: number, args: readonly Value[]]
export interface WireBatch {
  readonly context: readonly [actor: string, request: string, time: string] | null
  readonly claimed: WireCall | null
  readonly steps: readonly WireStep[]
}
/** A call, whether it is guarded and whether it answers (bits 1 and 2), and what explains its refusal. */
export type WireStep = readonly [...WireCall, use: number, explain: WireCall | null]
export const guardedBit = 1
export const answersBit = 2
export type WriterMessage = GroupMessage | { readonly kind: 'open'; readonly file: string } | { readonly kind: 'close' }
export type WriterAnswer =
  | { readonly kind: 'opened' | 'closed' }
  | { readonly kind: 'outcomes'; readonly outcomes: readonly Outcome[] }
