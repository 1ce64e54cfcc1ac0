import { z } from 'zod'
import { type Draft, LensMistake } from '../../src/schema/draft.ts'
import {
  add,
  atFirst,
  changeDefault,
  changeLimit,
  convert,
  hoist,
  join,
  lower,
  mapValues,
  match,
  over,
  plunge,
  plus,
  prefixed,
  remove,
  rename,
  renameResource,
  rounded,
  split,
  times,
  unprefixed,
  value,
  version,
  wrap,
} from '../../src/schema/index.ts'
import type { Lens, VersionDeclaration } from '../../src/schema/lens.ts'
import type { Resource } from '../../src/schema/model.ts'
import { applyOlder } from '../../src/schema/older.ts'
import { newestDraft, type ShapeField } from '../../src/schema/shape.ts'
import type { Json } from '../../src/value.ts'
import { type Draw, ids, memberNames, randomValue } from './random-model.ts'

/** Which lenses are drawn: `lossless` leaves out those that say what old clients lose. */
export interface LensChoice {
  readonly lossless: boolean
}

/** The versions of a random history that ends in these resources, two to four of them, with all kinds of lenses. */
export function randomVersions(
  draw: Draw,
  resources: ReadonlyMap<string, Resource>,
  choice: LensChoice,
): VersionDeclaration[] {
  const drafts = [...resources.values()].map((resource) => [resource.name, newestDraft(resource)] as const)
  const count = draw.int(2, 4)
  const versions: VersionDeclaration[] = []
  for (let i = count; i > 0; i--) {
    const lenses = drafts.map(([name, draft]) => [name, i === 1 ? [] : randomLenses(draw, draft, choice)] as const)
    const given = Object.fromEntries(lenses.filter(([, list]) => list.length > 0))
    versions.unshift(version(`2026-0${i}-01`, { alias: `v${i}`, notes: `Version ${i}.` }, given))
  }
  return versions
}

/** Lenses as they are declared, from old to new; the draft becomes that of the version before. */
function randomLenses(draw: Draw, draft: Draft, choice: LensChoice): Lens[] {
  const lenses: Lens[] = []
  const wanted = draw.int(0, 6)
  for (let tries = 0; lenses.length < wanted && tries < 40; tries++) {
    const lens = randomLens(draw, draft, choice)
    if (lens === null) continue
    const tried = { ...draft, puts: new Map(draft.puts) }
    try {
      applyOlder(tried, lens)
      lenses.unshift(lens)
      const { name, fields, relations, pageRowsMax } = tried
      Object.assign(draft, { name, fields, relations, pageRowsMax })
      for (const [column, expression] of tried.puts) draft.puts.set(column, expression)
    } catch (error) {
      // What does not fit this draft is another case's: that it is refused, the table of mistakes tests.
      if (!(error instanceof LensMistake)) throw error
    }
  }
  return lenses
}

const separators = [' ', '/', "'", '%', 'a', '\u2028']
let made = 0

function randomLens(draw: Draw, draft: Draft, { lossless }: LensChoice): Lens | null {
  const all = [...draft.fields.values()].filter(({ name }) => name !== 'id' && name !== 'version')
  const fields = all.filter((field) => field.members === null)
  const groups = all.filter((field) => field.members !== null)
  const of = (...kinds: readonly ShapeField['kind'][]) => fields.filter((field) => kinds.includes(field.kind))
  // A name that was let go may be another field's in an older version.
  const free = () => (draw.chance(30) ? draw.pick(['f0', 'f1', 'f2', 'ref0', 'createdAt']) : `x${made++}`)
  const atSeparator = () => atFirst(draw.pick(separators))
  const one = <T>(list: readonly T[], make: (each: T) => Lens | null) =>
    list.length > 0 ? make(draw.pick(list)) : null
  return draw.pick<() => Lens | null>([
    () => one([...all, ...groups], ({ name }) => rename(free(), name)),
    () => one([...draft.relations.keys()], (name) => rename(free(), name)),
    () => (draw.chance(30) ? renameResource(`res${made++}`) : null),
    () => one(fields, (field) => add(field.name, { fresh: valueFor(draw, field) })),
    () => randomRemove(draw, free()),
    () => one(of('enum'), (field) => randomMap(draw, field, lossless)),
    () => one(of('enum'), (field) => randomMap(draw, field, lossless)),
    () => one(of('text', 'integer', 'real', 'boolean', 'enum'), (field) => randomConvert(draw, field, lossless)),
    () => one(of('text', 'integer', 'real', 'boolean', 'enum'), (field) => randomConvert(draw, field, lossless)),
    () => {
      const [first, second] = draw.some(of('text'), 2).map(({ name }) => name)
      return first && second ? split(free(), [first, second], atSeparator()) : null
    },
    () => one(of('text'), ({ name }) => join([free(), free()], name, atSeparator())),
    () => one(of('text'), ({ name }) => join([free(), free()], name, atSeparator())),
    () =>
      hoist(
        free(),
        draw.some(fields, 3).map(({ name }) => name),
      ),
    () =>
      hoist(
        free(),
        draw.some(fields, 3).map(({ name }) => name),
      ),
    () => one(groups, ({ name, members }) => plunge(draw.pick(members ?? []).name, name, { kind: 'text' })),
    () => one(of('json'), ({ name }) => plunge(draw.pick(memberNames), name, { kind: plainKind(draw) })),
    () => one(of('json'), ({ name }) => plunge(draw.pick(memberNames), name, { kind: plainKind(draw) })),
    () => one(of('json'), ({ name }) => wrap(free(), name, { kind: draw.chance(20) ? 'json' : plainKind(draw) })),
    () => one(fields, (field) => changeDefault(field.name, { from: valueFor(draw, field) })),
    () => one(of('text'), ({ name }) => changeLimit(name, { from: draw.int(3, 300) })),
    () => changeLimit('pageRowsMax', { from: draw.int(20, 100) }),
  ])()
}

const plainKind = (draw: Draw) => draw.pick(['text', 'integer', 'real', 'boolean'] as const)

/** A value that the field takes. */
export function valueFor(draw: Draw, field: ShapeField): Json {
  for (let tries = 0; tries < 20; tries++) {
    const found = randomValue(draw, { ...field, to: null, filterable: false, sortable: false }, ids.slice(0, 1))
    const tame = typeof found === 'number' && field.kind === 'integer' ? tameInteger(found) : found
    if (tame === null ? field.nullable : field.schema.safeParse(tame).success) return tame as Json
    if (field.schema.safeParse({}).success) return {}
    if (field.schema.safeParse([]).success) return []
    if (typeof found === 'string' && field.schema.safeParse(`@${found}`).success) return `@${found}`
  }
  return null
}

/** A number that lenses may multiply and stay within what JSON numbers tell apart. */
export function tameInteger(number: number): number {
  return Math.max(-(10 ** 9), Math.min(10 ** 9, number))
}

function randomRemove(draw: Draw, name: string): Lens {
  const kind = draw.pick(['text', 'integer', 'real', 'boolean', 'json'] as const)
  const stands: Json = { text: "it's", integer: -7, real: 0.5, boolean: draw.chance(50), json: { a: [1, null] } }[kind]
  return remove(name, { kind, nullable: draw.chance(30) }, { stands })
}

/** Other names for some values; and where something may be lost, one old value that stands for several new ones. */
function randomMap(draw: Draw, field: ShapeField, lossless: boolean): Lens {
  const renamed = draw.some(field.values, 2)
  const [first] = renamed
  const values = Object.fromEntries(renamed.map((each) => [draw.pick([`old ${each}`, `${each}'`]), each]))
  if (lossless || first === undefined) return mapValues(field.name, values)
  const shown = Object.keys(values)[0] ?? ''
  const merged = field.values.find((each) => !renamed.includes(each))
  if (draw.chance(50) && merged !== undefined) return mapValues(field.name, values, { back: { [merged]: shown } })
  return mapValues(field.name, { ...values, other: first }, { back: { [first]: shown } })
}

function randomConvert(draw: Draw, field: ShapeField, lossless: boolean): Lens | null {
  const { name, kind, values } = field
  const loses = lossless ? {} : { loses: 'Old clients lose something.' }
  switch (kind) {
    case 'text': {
      if (!lossless && draw.chance(50))
        return convert(name, { kind: 'text' }, { toOld: lower(value), toNew: value, ...loses })
      const schema = z.string().regex(/^@/)
      return convert(name, { kind: 'text', schema }, { toOld: prefixed(value, '@'), toNew: unprefixed(value, '@') })
    }
    case 'integer':
      if (!lossless && draw.chance(50))
        return convert(
          name,
          { kind: 'integer' },
          { toOld: rounded(over(value, 60)), toNew: times(value, 60), ...loses },
        )
      return convert(name, { kind: 'integer' }, { toOld: plus(value, -5), toNew: plus(value, 5) })
    case 'real':
      return convert(name, { kind: 'real' }, { toOld: times(value, -4), toNew: over(value, -4) })
    case 'boolean': {
      const cases = [
        [true, 'yes'],
        [false, 'no'],
      ] as const
      return convert(
        name,
        { kind: 'enum', values: ['yes', 'no'] },
        {
          toOld: match(value, cases),
          toNew: match(
            value,
            cases.map(([a, b]) => [b, a] as const),
          ),
        },
      )
    }
    case 'enum': {
      const cases = values.map((each, i) => [each, i === 0] as const)
      if (lossless && values.length > 2) return null
      const back = values.map((each, i) => [i === 0, each] as const).slice(0, 2)
      return convert(name, { kind: 'boolean' }, { toOld: match(value, cases), toNew: match(value, back), ...loses })
    }
    default:
      return null
  }
}
