import { Database } from 'bun:sqlite'
import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import { evaluate } from '../../src/schema/evaluate.ts'
import type { Case, Expression, Leaf } from '../../src/schema/expression.ts'
import { type FieldKind, toStored } from '../../src/schema/field.ts'
import type { Json } from '../../src/value.ts'
import { asJson, expressionSql, formOf, type LeafSql } from '../../src/version/expression-sql.ts'
import { type Draw, withRandomChoices } from '../support/random-model.ts'

// Bun takes this for one file at a time.
setDefaultTimeout(60_000)

const database = new Database(':memory:', { strict: true })
afterAll(() => database.close())

type Kind = 'text' | 'integer' | 'real' | 'boolean' | 'json'

/** The columns of a row, two of each kind, and the values that a write binds. */
const columns = (['text', 'integer', 'real', 'boolean', 'json'] as const).flatMap((kind) =>
  [1, 2].map((i) => ({ name: `${kind}${i}`, kind })),
)
database.run(
  'create table rows(text1 text, text2 text, integer1 integer, integer2 integer, real1 real, real2 real, boolean1 integer, boolean2 integer, json1 text, json2 text) strict',
)
const insert = database.prepare(`insert into rows values (${columns.map(() => '?').join(', ')})`)

const integers = [0, 1, -1, 2, 7, 59, 60, -61, 2 ** 31, -(2 ** 31) - 1, 2 ** 53 - 1, 1 - 2 ** 53]
const reals = [0, 0.5, -0.5, 1.5, -2.5, 0.499999999999999, 0.1, 1e-7, -1e15, 4503599627370.5, 1e21, 1e308, -1e308]
const factors = [1, -1, 2, -60, 60, 0.5, -0.25, 1e21, 1e-7, 1e300]
const separators = [' ', '/', "'", '"', '%', '\\', 'a', 'é', '\u2028']
const names = ['a', 'language', 'x1']

function randomJson(draw: Draw, kind: Kind): Json {
  if (draw.chance(15)) return null
  switch (kind) {
    case 'text':
      return draw.chance(40) ? draw.text() + draw.pick(separators) + draw.text() : draw.text()
    case 'integer':
      return draw.pick(integers)
    case 'real':
      return draw.pick(reals)
    case 'boolean':
      return draw.chance(50)
    case 'json':
      return randomDocument(draw)
  }
}

/** A document that the names of members and the first of lists are often in. */
function randomDocument(draw: Draw): Json {
  const inside = (): Json =>
    draw.chance(30) ? (draw.json() as Json) : randomJson(draw, draw.pick(['text', 'integer', 'real', 'boolean']))
  const kind = draw.int(1, 4)
  if (kind === 1) return Array.from({ length: draw.int(0, 3) }, inside)
  if (kind === 2) return draw.json() as Json
  return Object.fromEntries(draw.some([...names, 'b', "it's", 'ключ', '7'], 4).map((name) => [name, inside()]))
}

function randomExpression(draw: Draw, kind: Kind, depth: number): Expression {
  if (depth === 0 || draw.chance(20)) return randomLeaf(draw, kind)
  const of = (inner: Kind) => randomExpression(draw, inner, depth - 1)
  const [name, separator] = [draw.pick(names), draw.pick(separators)]
  switch (kind) {
    case 'text':
      return draw.pick<() => Expression>([
        () => ({ op: draw.pick(['lower', 'upper'] as const), of: of('text') }),
        () => ({ op: draw.pick(['prefixed', 'unprefixed'] as const), of: of('text'), prefix: draw.text() }),
        () => ({ op: 'cut', of: of('text'), chars: draw.int(1, 4) }),
        () => ({ op: 'joined', first: of('text'), second: of('text'), separator }),
        () => ({ op: draw.pick(['before', 'after'] as const), of: of('text'), separator }),
        () => ({ op: draw.pick(['member'] as const), of: of('json'), name, kind: 'text' }),
        () => ({ op: 'first', of: of('json'), kind: 'text' }),
        () => common(draw, kind, of),
      ])()
    case 'integer':
    case 'real':
      return draw.pick<() => Expression>([
        () => ({ op: 'rounded', of: of(kind) }),
        () => ({
          op: draw.pick(['plus', 'times', 'over'] as const),
          of: randomLeaf(draw, kind),
          by: draw.pick(factors),
        }),
        () => ({ op: 'member', of: of('json'), name, kind }),
        () => ({ op: 'first', of: of('json'), kind }),
        () => common(draw, kind, of),
      ])()
    case 'boolean':
      return draw.pick<() => Expression>([
        () => ({ op: 'member', of: of('json'), name, kind }),
        () => ({ op: 'first', of: of('json'), kind }),
        () => common(draw, kind, of),
      ])()
    case 'json':
      return randomStructure(draw, name, of)
  }
}

function randomStructure(draw: Draw, name: string, of: (kind: Kind) => Expression): Expression {
  const any = () => draw.pick(['text', 'integer', 'real', 'boolean'] as const)
  return draw.pick<() => Expression>([
    () => ({ op: 'object', members: draw.some(names, 3).map((each) => [each, of(any())] as const) }),
    () => ({ op: 'first', of: of('json'), kind: 'json' }),
    () => ({ op: 'without', of: of('json'), name }),
    () => ({ op: 'withMember', of: of('json'), name, value: of(any()) }),
    () => ({ op: 'withFirst', of: of('json'), value: of(draw.chance(80) ? any() : 'json') }),
    // As a write has it: what is no object is not merged but put in the place of what is there.
    () => ({ op: 'merged', of: of('json'), patch: { op: 'literal', value: { [name]: randomDocument(draw) } } }),
    () => keptOf(draw, 'json', of),
  ])()
}

function common(draw: Draw, kind: Exclude<Kind, 'json'>, of: (kind: Kind) => Expression): Expression {
  const value = (each: Kind) => randomJson(draw, each) ?? (each === 'boolean' ? true : each === 'text' ? '' : 0)
  const scalar = (each: Kind) => value(each) as string | number | boolean
  const from = draw.pick(['text', 'integer', 'boolean'] as const)
  const cases = (): Case[] => Array.from({ length: draw.int(1, 3) }, () => [scalar(from), scalar(kind)])
  return draw.pick<() => Expression>([
    () => ({ op: 'orElse', of: of(kind), value: scalar(kind) }),
    () => ({ op: 'match', of: of(from), cases: cases(), otherwise: scalar(kind) }),
    () => ({ op: 'match', of: of(kind), cases: [[scalar(kind), scalar(kind)]] }),
    () => keptOf(draw, kind, of),
  ])()
}

function keptOf(draw: Draw, kind: Kind, of: (kind: Kind) => Expression): Expression {
  const pairs = Array.from({ length: draw.int(1, 2) }, () => {
    const each = draw.pick(['text', 'integer', 'real', 'boolean', 'json'] as const)
    const left = randomLeaf(draw, each)
    return [left, draw.chance(60) ? shuffled(left) : randomLeaf(draw, each)] as const
  })
  return { op: 'kept', field: of(kind), same: pairs, otherwise: of(kind) }
}

/** The same value; a document with its members in another order. */
function shuffled(leaf: Expression): Expression {
  const turn = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(turn)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([name, each]) => [name, turn(each as Json)]),
    )
  }
  return leaf.op === 'literal' ? { op: 'literal', value: turn(leaf.value) } : leaf
}

function randomLeaf(draw: Draw, kind: Kind): Expression {
  const literal = randomJson(draw, kind)
  const isPlain = kind !== 'json' || typeof literal === 'object'
  if (draw.chance(20) && isPlain) return { op: 'literal', value: literal }
  if (draw.chance(30)) return { op: 'bound', index: columns.findIndex((each) => each.kind === kind), kind }
  return { op: 'column', name: draw.pick(columns.filter((each) => each.kind === kind)).name, kind }
}

/** A number that took one more rounding on its way is the same number. */
function isNear(a: unknown, b: unknown): boolean {
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= Math.abs(a) * 2 ** -50
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((each, i) => isNear(each, b[i]))
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  const names = Object.keys(a)
  const at = (value: object, name: string) => (value as Record<string, unknown>)[name]
  return (
    Array.isArray(a) === Array.isArray(b) &&
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && isNear(at(a, name), at(b, name)))
  )
}

test('an expression comes to the same over JSON and in SQLite, whatever is in the row', async () => {
  await withRandomChoices(
    async (draw) => {
      const row = columns.map(({ kind }) => randomJson(draw, kind))
      const bound = columns.map(({ kind }) => randomJson(draw, kind))
      const stored = (values: readonly Json[]) =>
        values.map((value, i) => (value === null ? null : toStored({ kind: columns[i]?.kind as FieldKind }, value)))
      database.run('delete from rows')
      insert.run(...stored(row))
      const value = (leaf: Leaf): Json => {
        if (leaf.op === 'bound') return bound[leaf.index] ?? null
        if (leaf.op === 'column') return row[columns.findIndex(({ name }) => name === leaf.name)] ?? null
        throw new Error(`a row has no ${leaf.op}`)
      }
      const sql: LeafSql = (leaf) => {
        if (leaf.op === 'bound') return { sql: `?${leaf.index + 1}`, form: formOf(leaf.kind) }
        if (leaf.op === 'column') return { sql: `r.${leaf.name}`, form: formOf(leaf.kind) }
        throw new Error(`a row has no ${leaf.op}`)
      }
      for (let i = 0; i < 20; i++) {
        const expression = randomExpression(draw, draw.pick(['text', 'integer', 'real', 'boolean', 'json']), 3)
        const shown = `json_array(${asJson(expressionSql(expression, sql))})`
        // Each parameter is named, so that all of them may be bound.
        const text = `select ${shown}, ?${columns.length} from rows r`
        const found = JSON.parse(String(database.query(text).values(...stored(bound))[0]?.[0]))[0]
        const expected = evaluate(expression, value)
        if (!isNear(expected, found))
          expect({ expression, row, bound, found }).toEqual({ expression, row, bound, found: expected })
      }
      expect(row.length).toBe(columns.length)
    },
    { runs: 200 },
  )
})
