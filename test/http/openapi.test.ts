import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { foreignKey, index, integer, primaryKey, real, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import fc from 'fast-check'
import { z } from 'zod'
import { openApiDocument } from '../../src/http/openapi.ts'
import { model as published } from '../../src/model/index.ts'
import { Problem } from '../../src/problem.ts'
import { parseListQuery } from '../../src/read/query.ts'
import {
  allOf,
  anyOf,
  anyone,
  belongsTo,
  buildModel,
  hasMany,
  identity,
  instant,
  owner,
  resource,
  scope,
  service,
  version,
  when,
} from '../../src/schema/index.ts'
import { buildViews } from '../../src/version/view.ts'
import { BodyFaults, parseInput } from '../../src/write/input.ts'
import { Contract, type Json } from '../support/contract.ts'
import { exceptionsFor, redocly, spectral } from '../support/lint.ts'

/** The linters walk through the whole document. */
setDefaultTimeout(60_000)

/** A resource of which callers may write nothing, and which refers to nothing. */
const markers = sqliteTable('markers', { ...identity }, (t) => [primaryKey({ columns: [t.tenant, t.id] })])

/** Every kind of field, with and without null and default, and schemas that JSON Schema can and cannot say. */
const gadgets = sqliteTable(
  'gadgets',
  {
    ...identity,
    parentId: text(),
    label: text({ length: 40 }).notNull().default('none'),
    code: text().notNull(),
    word: text().notNull(),
    flagged: text().notNull(),
    site: text(),
    kind: text({ enum: ['round', 'a"b'] }),
    size: real().notNull().default(1.5),
    step: integer().notNull(),
    odd: integer(),
    isOn: integer({ mode: 'boolean' }).notNull().default(true),
    isOff: integer({ mode: 'boolean' }),
    seenAt: instant().notNull(),
    dueAt: instant(),
    free: text({ mode: 'json' }),
    list: text({ mode: 'json' }).notNull().default([]),
  },
  (t) => [
    primaryKey({ columns: [t.tenant, t.id] }),
    foreignKey({ columns: [t.tenant, t.parentId], foreignColumns: [markers.tenant, markers.id] }),
    uniqueIndex('gadgets_by_code').on(t.tenant, t.code),
    ...(['kind', 'size', 'isOn', 'seenAt', 'dueAt', 'odd', 'parentId'] as const).map((field) =>
      index(`gadgets_by_${field}`).on(t.tenant, t[field], t.id),
    ),
  ],
)

const model = buildModel({
  title: 'Odds & <ends>',
  resources: [
    resource('markers', markers, {
      description: 'Marks.',
      relations: { gadgets: hasMany(() => gadgets, 'parentId') },
      access: { read: service, write: allOf(scope('a'), anyOf(scope('b'), service)) },
    }),
    resource('gadgets', gadgets, {
      description: 'Things.',
      relations: { parent: belongsTo(() => markers, 'parentId') },
      filter: ['code', 'kind', 'size', 'isOn', 'seenAt', 'dueAt', 'odd', 'parentId'],
      sort: ['size', 'seenAt'],
      validate: {
        label: z.string().min(3),
        code: z
          .string()
          .regex(/^[A-Z]{3}-\d{4}$/)
          .meta({ examples: ['ABC-1234'] }),
        word: z.custom<string>((value) => value === 'one'),
        flagged: z.string().regex(/^a\/b$/i),
        site: z.url({ protocol: /^ftp$/ }),
        step: z.int().multipleOf(5).min(5).max(50),
        odd: z
          .int()
          .gt(-10)
          .lt(10)
          .refine((value) => value % 2 !== 0),
        list: z.array(z.string().max(5)).max(3),
        free: z.object({ count: z.int(), tags: z.array(z.string()).optional() }),
      },
      access: { read: anyOf(when('kind', 'round'), owner('parentId')), write: anyone },
    }),
  ],
  versions: [
    version('2020-01-01', { alias: 'v1', notes: 'Old.' }),
    version('2021-01-01', { alias: 'v2', notes: 'New.' }),
  ],
  defaultVersion: '2021-01-01',
})

describe('the document of another model', () => {
  let contract: Contract
  let schemas: Json
  beforeAll(() => {
    const view = buildViews(model).get('v2')
    contract = new Contract(JSON.parse(openApiDocument(model, view!)))
    schemas = contract.document.components.schemas
  })

  test('keeps the rules of both linters as well', async () => {
    expect(await redocly(contract.document)).toEqual([])
    expect((await spectral(contract.document)).filter((each) => exceptionsFor(each).length === 0)).toEqual([])
  })

  test('has examples that its own schemas and those of the model take', () => {
    const { value } = contract.said('POST', '/gadgets').requestBody.content['application/json'].examples.record
    expect(contract.mistakes({ $ref: '#/components/schemas/GadgetsInput' }, value)).toEqual([])
    const taken = buildViews(model)
      .get(model.defaultVersion.date)
      ?.resources.get('gadgets')
      ?.createSchema.omit({ word: true, flagged: true })
    expect(taken?.safeParse(value).error?.issues ?? []).toEqual([])
    expect([value.code, value.step, value.odd]).toEqual(['ABC-1234', 10, 3])
  })

  test.each([
    ['label', { type: 'string', minLength: 3, maxLength: 1_048_576, pattern: '^[^\\u0000]*$' }],
    ['code', { pattern: '^[A-Z]{3}-\\d{4}$', type: 'string' }],
    ['word', { type: 'string', pattern: '^[^\\u0000]*$' }],
    ['flagged', { pattern: '^[^\\u0000]*$' }],
    ['site', { type: ['string', 'null'], format: 'uri' }],
    ['kind', { type: ['string', 'null'], enum: ['round', 'a"b', null] }],
    ['size', { type: 'number' }],
    ['step', { type: 'integer', minimum: 5, maximum: 50 }],
    ['odd', { type: ['integer', 'null'], exclusiveMinimum: -10, exclusiveMaximum: 10 }],
    ['isOn', { type: 'boolean' }],
    ['isOff', { type: ['boolean', 'null'] }],
    ['list', { type: 'array', maxItems: 3, items: { type: 'string', maxLength: 5, pattern: '^[^\\u0000]*$' } }],
    ['free', { properties: { tags: { maxItems: 20_000, items: { maxLength: 1_048_576 } } }, required: ['count'] }],
    ['parentId', { type: ['string', 'null'], format: 'uuid' }],
  ] as const)('says of the field %s what is known of it', (name, expected) => {
    expect(schemas.GadgetsRecord.properties[name]).toMatchObject(expected as object)
  })

  test('names the protocols that a URL in a body may have', () => {
    expect(schemas.GadgetsInput.properties.site).toMatchObject({ format: 'uri', pattern: '^(ftp):' })
  })

  test('names the defaults of its fields, and requires those without', () => {
    const { properties, required } = schemas.GadgetsInput
    const defaults = Object.fromEntries(
      Object.entries<Json>(properties).flatMap(([name, { default: value }]) =>
        value === undefined ? [] : [[name, value]],
      ),
    )
    expect(defaults).toMatchObject({ label: 'none', size: 1.5, isOn: true, isOff: null, list: [], dueAt: null })
    expect(required.sort()).toEqual(['code', 'flagged', 'seenAt', 'step', 'word'])
  })

  test('lets a field be compared as its kind can be, and only where the model says so', () => {
    const names = contract.said('GET', '/gadgets').parameters.map((each: Json) => each.name)
    const of = (field: string) => names.filter((name: string | undefined) => name?.startsWith(`${field}[`)).sort()
    expect(of('isOn')).toEqual(['isOn[ne]'])
    expect(of('kind')).toEqual(['kind[in]', 'kind[ne]', 'kind[null]'])
    expect(of('dueAt')).toEqual(['gt', 'gte', 'in', 'lt', 'lte', 'ne', 'null'].map((each) => `dueAt[${each}]`))
    expect(of('code')).toContain('code[prefix]')
    expect(of('label')).toEqual([])
  })

  test('says who may read and write, and which reads need no key', () => {
    const list = contract.said('GET', '/gadgets')
    expect(list.description).toContain('Read by anyone where `kind` is `round`, or the user in `parentId`.')
    expect(list.security).toEqual([{ apiKey: ['read'] }, {}])
    expect(contract.said('GET', '/markers').security).toEqual([{ apiKey: ['read'] }])
    expect(contract.said('GET', '/markers').description).toContain('keys with the scope `a` and (keys with')
    expect(contract.document.info.description).toContain('There are 2020-01-01, 2021-01-01.')
  })

  test('has a conflict of unique values where a resource has some besides the id', () => {
    const unique = [...model.resources.values()].filter(({ indexes }) =>
      indexes.some((each) => each.unique && each.columns.join() !== 'id'),
    )
    for (const { name } of model.resources.values()) {
      const conflicts =
        contract.said('POST', `/${name}`).responses['409'] === undefined
          ? []
          : contract.problemTypes('POST', `/${name}`, 409)
      expect([name, conflicts]).toEqual([
        name,
        unique.some((each) => each.name === name) ? ['/problems/already-exists'] : [],
      ])
    }
    expect([unique.length > 0, unique.length < model.resources.size]).toEqual([true, true])
  })

  test('has no conflict on deletion where nothing can refer to the record', () => {
    expect(contract.said('DELETE', '/gadgets/x').responses['409']).toBeUndefined()
    expect(contract.problemTypes('DELETE', '/markers/x', 409)).toEqual(['/problems/still-referenced'])
  })
})

describe.each(['v1', 'v2', 'v3'])('the document of %s and the server agree', (alias) => {
  const view = buildViews(published).get(alias)!
  // Each version has a few fields of its own, which a few runs try; the newest stands for the rest.
  const numRuns = alias === 'v3' ? 200 : 40
  const contract = new Contract(JSON.parse(openApiDocument(published, view)))
  const text = fc.oneof(
    fc.string(),
    fc.uuid({ version: 7 }),
    fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,99}$/),
    fc.webUrl(),
    fc.emailAddress(),
    fc.integer({ min: 0, max: 400 }).map((chars) => 'x'.repeat(chars)),
    fc.constantFrom(
      'draft',
      'published',
      'http://localhost',
      'ftp://localhost',
      'true',
      'false',
      '',
      '007',
      '-0',
      '1e3',
    ),
    fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    fc.constantFrom('2026-01-31', '2026-01-31T10:00Z', '2026-01-31T10:00:00.123+02:00', '2026-13-01T10', '26-01-01'),
    fc.maxSafeInteger().map(String),
    fc.double().map(String),
  )
  const value = fc.oneof(
    text,
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.array(fc.integer()),
    fc.object({ maxDepth: 2 }),
  )
  const bodies = [...view.resources].flatMap(([name, resource]) =>
    Object.keys(resource.createSchema.shape).flatMap((field) => [
      [name, 'Input', field, resource] as const,
      [name, 'Patch', field, resource] as const,
    ]),
  )

  test.each(bodies)('on which values %s take in the %s for %s', (name, kind, field, resource) => {
    const component = `${name.charAt(0).toUpperCase()}${name.slice(1)}${kind}`
    const documented = { $ref: `#/components/schemas/${component}/properties/${field}` }
    fc.assert(
      fc.property(value, (given) => {
        const sent = JSON.parse(JSON.stringify(given))
        // The body's parser refuses NUL before any field sees it, and a name that documents lose is no matter of schemas.
        fc.pre(!/\\u0000|__proto__/.test(JSON.stringify(sent)))
        const faults = new BodyFaults()
        parseInput(resource, kind === 'Input' ? 'create' : 'patch', { [field]: sent }, '', faults)
        const taken = !faults.list.some((fault) => 'pointer' in fault && `${fault.pointer}/`.startsWith(`/${field}/`))
        expect([sent, contract.mistakes(documented, sent).length === 0]).toEqual([sent, taken])
      }),
      { numRuns },
    )
  })

  const parameters = [...view.resources.values()].flatMap((resource) =>
    (contract.said('GET', `/${resource.name}`).parameters as Json[])
      .filter((each) => each.in === 'query' && each.name !== 'after' && each.name !== 'before')
      .map((each) => [resource.name, each.name as string, each.schema, resource] as const),
  )

  test.each(parameters)('on which values a list of %s takes for %s', (_name, parameter, schema, resource) => {
    fc.assert(
      fc.property(fc.oneof(text, fc.array(text, { maxLength: 3 }).map(String)), (sent) => {
        const query = `?${encodeURIComponent(parameter)}=${encodeURIComponent(sent)}`
        // No pattern says which whole numbers of 16 digits are under 2^53.
        fc.pre(!sent.includes('\0') && !(parameter.endsWith('[in]') && /\d{16}/.test(sent)))
        const taken = accepts(() => parseListQuery(resource, query))
        // The grammar of includes says more than its pattern, which takes everything that the grammar does.
        const documented = contract.mistakes(schema, spoken(schema, sent)).length === 0
        if (parameter === 'include') expect(taken && !documented).toBe(false)
        else expect([sent, documented]).toEqual([sent, taken])
      }),
      { numRuns },
    )
  })

  /** The value that a text of a query string stands for, by its schema. */
  function spoken(schema: Json, sent: string): unknown {
    if (schema.type === 'integer' && /^-?\d+$/.test(sent)) return Number(sent)
    if (schema.type === 'boolean' && /^(true|false)$/.test(sent)) return sent === 'true'
    return sent
  }

  function accepts(parse: () => unknown): boolean {
    try {
      parse()
      return true
    } catch (error) {
      expect(error).toBeInstanceOf(Problem)
      return false
    }
  }
})
