import type { Expression } from '../schema/expression.ts'
import { toJson } from '../schema/field.ts'
import type { Lens } from '../schema/lens.ts'
import type { Model } from '../schema/model.ts'
import type { Shape } from '../schema/shape.ts'

/** One thing that changed at a version, in a sentence for those who use the API; names stand between backticks. */
export interface Change {
  /** What the resource is called from this version on. */
  readonly resource: string
  readonly kind: Lens['kind']
  readonly text: string
}

/** What changed at a version, by its date, from the version before; nothing at the first. */
export function changesAt({ versions }: Model, date: string): readonly Change[] {
  const at = versions.findIndex((version) => version.date === date)
  const [before, version] = [versions[at - 1], versions[at]]
  if (!before || !version) return []
  return Object.entries(version.lenses).flatMap(([table, lenses]) => {
    const [old, now] = [before.shapes.get(table), version.shapes.get(table)]
    return old && now ? lenses.map((lens) => changeOf(lens, old, now)) : []
  })
}

function changeOf(lens: Lens, old: Shape, now: Shape): Change {
  return { resource: now.name, kind: lens.kind, text: sentenceOf(lens, old, now) }
}

function sentenceOf(lens: Lens, old: Shape, now: Shape): string {
  switch (lens.kind) {
    case 'rename':
      return renamed(lens, old, now)
    case 'renameResource':
      return `\`${old.name}\` are now \`${now.name}\`, also in paths: \`/${now.name}\`.`
    case 'add':
      return `\`${lens.field}\` of ${now.name} is new. Older versions create records with ${json(lens.fresh)} in it.`
    case 'remove':
      return `\`${lens.field}\` of ${old.name} is gone. Older versions read ${json(lens.stands)} in it, whatever they send.`
    case 'mapValues':
      return mapped(lens, now)
    case 'convert':
      return converted(lens, now)
    case 'split':
      return `\`${lens.from}\` of ${old.name} is now ${named(lens.to)}, divided at the first ${separator(lens.at.separator)}.`
    case 'join':
      return `${named(lens.from)} of ${old.name} are now \`${lens.to}\`, with a ${separator(lens.at.separator)} between them.`
    case 'hoist':
      return `${named(lens.fields)} of ${now.name} ${lens.fields.length > 1 ? 'are no longer' : 'is no longer'} in \`${lens.from}\`, but beside the other fields.`
    case 'plunge':
      return `\`${lens.field}\` of ${old.name} is now in \`${lens.into}\`.`
    case 'wrap':
      return `\`${lens.from}\` of ${old.name} is now a list, \`${lens.to}\`. Older versions see and change its first.`
    case 'changeDefault':
      return `Where nothing is sent for \`${lens.field}\` of ${now.name}, it is no longer ${json(lens.from)}${defaultOf(now, lens.field)}.`
    case 'changeLimit':
      return limited(lens, now)
  }
}

type Of<K extends Lens['kind']> = Extract<Lens, { kind: K }>

function renamed({ from, to }: Of<'rename'>, old: Shape, now: Shape): string {
  const what = old.relations.has(from) || now.relations.has(to) ? 'The relation ' : ''
  return `${what}\`${from}\` of ${old.name} is now \`${to}\`${old.name === now.name ? '' : ` of ${now.name}`}.`
}

function mapped({ field, values, back }: Of<'mapValues'>, now: Shape): string {
  const forms = Object.entries(values).map(([was, is]) => `${json(was)} is now ${json(is)}`)
  const shown = Object.entries(back).map(([is, was]) => ` Older versions see ${json(is)} as ${json(was)}.`)
  return `In \`${field}\` of ${now.name}, ${forms.join(', ')}.${shown.join('')}`
}

function converted({ field, toOld, toNew, loses }: Of<'convert'>, now: Shape): string {
  const [made, shown] = [formula(toNew, field), formula(toOld, field)]
  return `\`${field}\` of ${now.name} is told in another way: what older versions have becomes \`${made}\`, and they are shown \`${shown}\`.${loses === null ? '' : ` ${loses}`}`
}

function limited({ of, from }: Of<'changeLimit'>, now: Shape): string {
  if (of === 'pageRowsMax')
    return `A page of ${now.name} has up to ${now.pageRowsMax} records; in older versions up to ${from}.`
  return `\`${of}\` of ${now.name} may be longer than ${from} characters. Older versions see the first ${from}.`
}

function defaultOf({ fields }: Shape, field: string): string {
  const found = fields.get(field)
  return found?.fallback === undefined ? '' : `, but ${json(toJson(found, found.fallback))}`
}

function named(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(' and ')
}

function json(value: unknown): string {
  return `\`${JSON.stringify(value)}\``
}

function separator(text: string): string {
  return text === ' ' ? 'space' : json(text)
}

/** An expression of a lens over one value, as one would write it. */
function formula(expression: Expression, value: string): string {
  const inside = (of: Expression) => formula(of, value)
  switch (expression.op) {
    case 'literal':
      return JSON.stringify(expression.value)
    case 'plus':
      return `(${inside(expression.of)} + ${expression.by})`
    case 'times':
      return `${inside(expression.of)} * ${expression.by}`
    case 'over':
      return `${inside(expression.of)} / ${expression.by}`
    case 'rounded':
    case 'lower':
    case 'upper':
      return `${expression.op}(${inside(expression.of)})`
    case 'prefixed':
      return `${JSON.stringify(expression.prefix)} before ${inside(expression.of)}`
    case 'unprefixed':
      return `${inside(expression.of)} without ${JSON.stringify(expression.prefix)} before it`
    case 'orElse':
      return `${inside(expression.of)}, ${JSON.stringify(expression.value)} for null`
    case 'match': {
      const cases = expression.cases.map(([from, to]) => `${JSON.stringify(to)} for ${JSON.stringify(from)}`)
      const rest = expression.otherwise === undefined ? inside(expression.of) : JSON.stringify(expression.otherwise)
      return [...cases, `else ${rest}`].join(', ')
    }
    default:
      return value
  }
}
