import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import fc from 'fast-check'
import { Problem } from '../../src/problem.ts'
import { limits } from '../../src/schema/limits.ts'
import { parseJson } from '../../src/write/json.ts'
import { anyText, hostileTexts } from '../support/texts.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const encode = (text: string) => new TextEncoder().encode(text)

type Parsed = { readonly value: unknown } | { readonly refused: string }

function parse(bytes: Uint8Array): Parsed {
  try {
    return { value: parseJson(bytes) }
  } catch (error) {
    expect(error).toBeInstanceOf(Problem)
    const { code, details } = error as Problem
    expect(code).toBe('invalid-json')
    return { refused: details.errors?.[0]?.code ?? '' }
  }
}

/** Why a text that is JSON is refused all the same, worked out from its tokens; null where it is taken. */
function reasonAgainst(text: string): string | null {
  const open: { readonly keys: Set<string> | null; empty: boolean }[] = []
  let members = 0
  let deepest = 0
  const reasons = new Set<string>()
  const tokens = text.match(/"(?:[^"\\]|\\.)*"\s*:?|[{}[\]]|-?\d[\d.eE+-]*|true|false|null/g) ?? []
  for (const token of tokens) {
    const inside = open.at(-1)
    const isKey = token.startsWith('"') && token.endsWith(':')
    if (token === '}' || token === ']') {
      open.pop()
      continue
    }
    if (inside && (isKey || inside.keys === null)) members++
    if (token === '{' || token === '[') open.push({ keys: token === '{' ? new Set() : null, empty: true })
    if (token.startsWith('"')) {
      const value: string = JSON.parse(isKey ? token.slice(0, -1) : token)
      if (value.includes('\0')) reasons.add('nul')
      if (!value.isWellFormed()) reasons.add('surrogate')
      if (isKey && inside?.keys?.has(value)) reasons.add('duplicate-key')
      if (isKey) inside?.keys?.add(value)
    } else if (/^[-\d]/.test(token) && (token.length > limits.jsonNumberCharsMax || !Number.isFinite(Number(token)))) {
      reasons.add('number')
    }
    deepest = Math.max(deepest, open.length)
  }
  if (deepest > limits.jsonDepthMax) reasons.add('depth')
  if (members > limits.jsonMembersMax) reasons.add('members')
  return reasons.size === 0 ? null : [...reasons].join(' ')
}

/** The parser and JSON.parse agree on the text, but for what is refused for a documented reason. */
function expectAgreement(text: string) {
  const parsed = parse(encode(text))
  // TextEncoder turns half a pair into U+FFFD, as a client's would.
  const sent = text.toWellFormed()
  let value: unknown
  try {
    value = JSON.parse(sent)
  } catch {
    expect(parsed).toHaveProperty('refused')
    return
  }
  const reason = reasonAgainst(sent)
  if (reason === null) expect(parsed).toEqual({ value })
  else expect(reason.split(' ')).toContain((parsed as { refused?: string }).refused ?? 'taken')
}

/** A JSON text, its white space and its escapes chosen freely; keys come from few, so that some come twice. */
const jsonText: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => {
  const space = fc.constantFrom('', '', '', ' ', '\n', '\t\r ')
  const scalar = fc.oneof(
    fc.constantFrom('true', 'false', 'null', '0', '-0', '1e5', '-1.5E-3', '1e308', '1e400', '-1e309', '1e-400'),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc.constant('1'.repeat(limits.jsonNumberCharsMax)),
    fc.constant('1'.repeat(limits.jsonNumberCharsMax + 1)),
    anyText.chain(escaped),
    fc.constantFrom('"\\ud83d\\ude42"', '"\\ud83d"', '"\\ude42\\ud83d"', '"\\u0000"', '"a\\u0000b"', '"\\\\u0000"'),
  )
  const key = fc.constantFrom(
    '"a"',
    '"\\u0061"',
    '"b"',
    '"\\\\"',
    '"\\""',
    '"__proto__"',
    '""',
    '"\\u0000"',
    '"\\ud800"',
  )
  const around = (list: string[], brackets: string) => `${brackets[0]}${list.join(',')}${brackets[1]}`
  const padded = (text: fc.Arbitrary<string>) => fc.tuple(space, text, space).map((parts) => parts.join(''))
  const array = fc.array(tie('value'), { maxLength: 4 }).map((list) => around(list, '[]'))
  const member = fc.tuple(padded(key), tie('value')).map(([name, value]) => `${name}:${value}`)
  const object = fc.array(member, { maxLength: 4 }).map((list) => around(list, '{}'))
  return { value: padded(fc.oneof({ maxDepth: 5, depthSize: 'small' }, scalar, array, object)) }
}).value

/** A JSON string of the text, some of its characters as escapes that need not be. */
function escaped(text: string): fc.Arbitrary<string> {
  return fc.func(fc.boolean()).map((choose) => {
    const units = Array.from({ length: text.length }, (_, i) => {
      const code = `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`
      return choose(i) ? code : JSON.stringify(text[i]).slice(1, -1)
    })
    return `"${units.join('')}"`
  })
}

describe('a body', () => {
  test('that is JSON is taken as JSON.parse takes it, unless it is refused for a named reason', () => {
    fc.assert(fc.property(jsonText, expectAgreement), { numRuns: 4_000 })
    fc.assert(fc.property(fc.json({ stringUnit: 'binary' }), expectAgreement))
  })

  test('that is nearly JSON is refused exactly where JSON.parse refuses it', () => {
    const place = fc.double({ min: 0, max: 1, noNaN: true })
    const piece = fc.constantFrom(
      '',
      '"',
      '\\',
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '0',
      '-',
      '.',
      'e',
      'nul',
      ' ',
      '\u0001',
      '/',
    )
    const broken = fc.tuple(jsonText, place, fc.nat(2), piece).map(([text, where, cut, put]) => {
      const at = Math.floor(where * text.length)
      return text.slice(0, at) + put + text.slice(at + cut)
    })
    fc.assert(fc.property(broken, expectAgreement), { numRuns: 4_000 })
  })

  test('that is any text at all is refused exactly where JSON.parse refuses it', () => {
    const characters = fc.constantFrom(...'{}[]",:\\u0123e+-. tfn\n'.split(''))
    fc.assert(fc.property(fc.string({ unit: characters, maxLength: 12 }), expectAgreement), { numRuns: 4_000 })
    for (const text of hostileTexts) expectAgreement(text)
  })

  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  const { jsonDepthMax, jsonMembersMax, jsonNumberCharsMax } = limits
  const object = (members: number) => `{${Array.from({ length: members }, (_, i) => `"k${i}":1`).join()}}`
  const array = (members: number, each = '1') => `[${Array(members).fill(each).join()}]`

  test.each([
    ['as deep as the limit', nested(jsonDepthMax), null],
    ['deeper than the limit', nested(jsonDepthMax + 1), 'depth'],
    ['150,000 levels deep', nested(150_000), 'depth'],
    ['150,000 levels deep in objects', `${'{"a":'.repeat(150_000)}1${'}'.repeat(150_000)}`, 'depth'],
    ['with as many members as the limit, in an array', array(jsonMembersMax), null],
    ['with more members than the limit, in an array', array(jsonMembersMax + 1), 'members'],
    ['with as many members as the limit, in an object', object(jsonMembersMax), null],
    ['with more members than the limit, in an object', object(jsonMembersMax + 1), 'members'],
    ['with as many empty arrays as the limit', array(jsonMembersMax, '[]'), null],
    ['with more empty objects than the limit', array(jsonMembersMax + 1, '{ }'), 'members'],
    ['with members in members, as many as the limit', array(jsonMembersMax / 2, '[1]'), null],
    ['with members in members, more than the limit', array(jsonMembersMax / 2 + 1, '[1]'), 'members'],
    ['with a million keys', object(1_000_000), 'members'],
    ['with a number as long as the limit', '1'.repeat(jsonNumberCharsMax), null],
    ['with a number longer than the limit', `0.${'1'.repeat(jsonNumberCharsMax)}`, 'number'],
    ['with a number of 100,000 digits', '1'.repeat(100_000), 'number'],
    ['with a number out of range', '{"a":1e999}', 'number'],
    ['with a key twice', '{"a":1,"b":{"a":1},"a":2}', 'duplicate-key'],
    ['with a key twice, once escaped', '{"a":1,"\\u0061":2}', 'duplicate-key'],
    ['with a key again inside', '{"a":{"a":[{"a":1},{"a":2}]}}', null],
    ['with a key as a value', '{"a":"a","b":["a","a"]}', null],
    ['with half a pair', '"\\ud83d"', 'surrogate'],
    ['with half a pair in a key', '{"\\ude42":1}', 'surrogate'],
    ['with a whole pair', '"\\ud83d\\ude42"', null],
    ['with NUL', '["\\u0000"]', 'nul'],
    ['with NUL in a key', '{"a\\u0000":1}', 'nul'],
    ['with a raw NUL', '"\0"', 'syntax'],
    ['empty', '', 'syntax'],
    ['with a mark of byte order', '\ufeff{}', 'syntax'],
    ['with a comment', '{}//', 'syntax'],
    ['with a trailing comma', '{"a":1,}', 'syntax'],
    ['with single quotes', "{'a':1}", 'syntax'],
    ['with NaN', '[NaN]', 'syntax'],
    ['two values', '1 2', 'syntax'],
  ] as const)('%s is refused by the name of its fault, or taken', (_, text, fault) => {
    const parsed = parse(encode(text))
    expect(parsed).toEqual(fault === null ? { value: JSON.parse(text) } : { refused: fault })
  })

  test.each([
    ['a lone continuation byte', [0x22, 0x80, 0x22]],
    ['an overlong form', [0x22, 0xc0, 0xaf, 0x22]],
    ['half a pair in bytes', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a cut character', [0x22, 0xf0, 0x9f, 0x99]],
    ['a byte past Unicode', [0x22, 0xf5, 0x80, 0x80, 0x80, 0x22]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]],
  ])('with %s is refused as no UTF-8', (_, bytes) => {
    expect(parse(Uint8Array.from(bytes))).toEqual({ refused: 'utf-8' })
  })
})
