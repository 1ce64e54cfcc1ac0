import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { openApiDocument } from '../../src/http/openapi.ts'
import { model } from '../../src/model/index.ts'
import { buildViews } from '../../src/version/view.ts'
import { testApp } from '../support/app.ts'
import { Contract, type Json } from '../support/contract.ts'
import { exceptionsFor, redocly, spectral } from '../support/lint.ts'
import { type Answer, type CallOptions, type TestServer, testServer } from '../support/server.ts'

/** The linters walk through each document. */
setDefaultTimeout(60_000)

const origin = 'https://app.example.com'

describe.each(model.versions.map(({ alias, date, deprecated }) => ({ alias, date, deprecated })))(
  'the document of $alias',
  ({ alias, date, deprecated }) => {
    const views = [...buildViews(model).get(alias)!.resources.values()]
    const names = views.map(({ name }) => name)
    const written = views.filter(({ resource }) => !resource.isReadOnly).map(({ name }) => name)
    let server: TestServer
    let contract: Contract
    beforeAll(async () => {
      server = await testServer({ allowedOrigins: [origin] })
      contract = new Contract((await server.call('GET', `/${alias}/openapi.json`)).body)
    })
    afterAll(() => server.stop())

    /** A request at this version, whose answer must be as the document says; and the answer. */
    async function ask(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
      const answer = await server.call(method, `/${alias}${path}`, options)
      expect(contract.breaches(method, path, answer)).toEqual([])
      expect(answer.headers.get('api-version')).toBe(date)
      return answer
    }

    function exampleId(place: number): string {
      const { parameters } = contract.said('GET', `/${names[place]}/x`)
      return parameters.find((each: Json) => each.name === 'id').example
    }

    test('is what the path and what the header ask for, and names its version', async () => {
      const [byPath, byDate] = await Promise.all([
        ask('GET', '/openapi.json', { key: null }),
        server.call('GET', '/openapi.json', { headers: { 'API-Version': date } }),
      ])
      expect(byPath.text).toBe(byDate.text)
      expect(byPath.body.info.version).toBe(date)
      expect(byPath.body.tags.map((tag: Json) => tag.name)).toEqual([...names, 'batch', 'changes', 'webhooks', 'node'])
    })

    test('keeps the rules of both linters', async () => {
      expect(await redocly(contract.document)).toEqual([])
      expect((await spectral(contract.document)).filter((each) => exceptionsFor(each).length === 0)).toEqual([])
    })

    test('marks each operation on records as deprecated where the version is, and no other', () => {
      const marked = contract.operations.filter(({ value }) => value.deprecated).map(({ value }) => value.operationId)
      const ofRecords = contract.operations.filter(({ value }) => value.tags[0] !== 'node')
      expect(ofRecords.length).toBeGreaterThan(7 * written.length + 3 * (names.length - written.length) + 2)
      expect(marked).toEqual(deprecated === null ? [] : ofRecords.map(({ value }) => value.operationId))
      expect(contract.document.info.description.includes('It is deprecated from')).toBe(deprecated !== null)
    })

    /** The examples of the body that an operation takes. */
    function bodyExamples(method: string, path: string): Json[] {
      const content = contract.said(method, path).requestBody.content
      return Object.values<Json>(content).flatMap((type: Json) =>
        Object.values(type.examples).map((each: Json) => each.value),
      )
    }

    function schemaOf(resource: string, kind: string): Json {
      return contract.document.components.schemas[resource.charAt(0).toUpperCase() + resource.slice(1) + kind]
    }

    describe.each(written.map((name, place) => [name, place] as const))('a record of %s', (name, place) => {
      test('is created, read, changed and deleted with the examples, and every answer is as documented', async () => {
        const path = `/${name}/${exampleId(place)}`
        for (const body of bodyExamples('POST', `/${name}`)) {
          const headers = { 'Idempotency-Key': `"${crypto.randomUUID()}"`, Origin: origin }
          const created = await ask('POST', `/${name}`, { body, headers })
          expect(created.status).toBe(201)
          expect(Object.keys(created.body).sort()).toEqual(Object.keys(schemaOf(name, 'Record').properties).sort())
          expect((await ask('POST', `/${name}`, { body, headers })).headers.get('idempotency-replayed')).toBe('true')
          expect((await ask('DELETE', `/${name}/${created.body.id}`)).status).toBe(204)
        }
        const [replacement] = bodyExamples('PUT', path)
        expect((await ask('PUT', path, { body: replacement, headers: { 'If-None-Match': '*' } })).status).toBe(201)
        expect((await ask('PUT', path, { body: replacement, headers: { 'If-Match': '"1"' } })).status).toBe(200)
        for (const body of bodyExamples('PATCH', path)) expect((await ask('PATCH', path, { body })).status).toBe(200)
        const read = await ask('GET', path, { headers: { Origin: origin } })
        const tag = read.headers.get('etag') ?? ''
        expect((await ask('GET', path, { headers: { 'If-None-Match': tag } })).status).toBe(304)
        const history = await ask('GET', `${path}/history`)
        expect(history.body.data.map((change: Json) => change.operation)).toEqual(['update', 'update', 'create'])
        expect((await ask('GET', `${path}/history?limit=1`)).body.next).toBeString()
      })

      test('may be read in part and with all its relations, as documented', async () => {
        const relations = Object.keys(schemaOf(name, 'Selection').properties).filter(
          (each) => !schemaOf(name, 'Record').properties[each],
        )
        const record = await ask('GET', `/${name}/${exampleId(place)}?fields=id&include=${relations.join()}`)
        expect(Object.keys(record.body)).toEqual(['id', ...relations])
        const page = await ask('GET', `/${name}?include=${relations.join()}&count=exact`)
        expect(page.body.data.length).toBe(page.body.count)
        const whole = { ...schemaOf(name, 'Record').properties, ...schemaOf(name, 'Selection').properties }
        expect(Object.keys(page.body.data[0]).sort()).toEqual(Object.keys(whole).sort())
      })

      test('is found by every documented parameter with its example', async () => {
        const given = (contract.said('GET', `/${name}`).parameters as Json[]).filter(
          (each) => each.in === 'query' && each.name !== 'after' && each.name !== 'before',
        )
        expect(given.length).toBeGreaterThanOrEqual(5)
        for (const { name: parameter, examples } of given) {
          const url = `/${name}?${encodeURIComponent(parameter)}=${encodeURIComponent(examples.default.value)}`
          expect([url, (await ask('GET', url)).status]).toEqual([url, 200])
        }
      })

      test('comes in pages of the documented sizes and no larger', async () => {
        const { minimum, maximum, default: usual } = parameter(`/${name}`, 'limit').schema
        expect(usual).toBeLessThanOrEqual(maximum)
        for (const limit of [minimum, maximum]) expect((await ask('GET', `/${name}?limit=${limit}`)).status).toBe(200)
        for (const limit of [minimum - 1, maximum + 1])
          expect((await ask('GET', `/${name}?limit=${limit}`)).status).toBe(400)
      })

      test('is filtered by no field that the document has no filter for', async () => {
        const filters = (contract.said('GET', `/${name}`).parameters as Json[]).map((each) => each.name)
        const fields = Object.keys(schemaOf(name, 'Record').properties).filter((field) => !filters.includes(field))
        expect(fields).toContain('updatedAt')
        for (const field of fields) {
          const answer = await ask('GET', `/${name}?${field}=1`)
          expect([field, answer.status, answer.body.type]).toEqual([field, 422, '/problems/unknown-field'])
        }
      })
    })

    function parameter(path: string, name: string): Json {
      return contract.said('GET', path).parameters.find((each: Json) => each.name === name)
    }

    test('a batch is carried out with its example, and answered as documented', async () => {
      const [name = ''] = names
      const id = exampleId(0)
      for (const other of names.toReversed())
        await server.call('DELETE', `/${alias}/${other}/${exampleId(names.indexOf(other))}`)
      expect((await server.call('GET', `/${alias}/${name}/${id}`)).status).toBe(404)
      for (const body of bodyExamples('POST', '/batch')) {
        const { status, body: answer } = await ask('POST', '/batch', { body })
        expect([status, answer.results.length]).toEqual([200, body.commands.length])
      }
    })

    test('a batch whose commands refer to one another, as its description shows, is valid and carried out', async () => {
      const { description, requestBody } = contract.said('POST', '/batch')
      const body = JSON.parse(/```json\n([\s\S]*)```/.exec(description)?.[1] ?? '')
      const { schema } = requestBody.content['application/json']
      expect(JSON.stringify(body)).toContain('{"$ref":"')
      expect(contract.mistakes(schema, body)).toEqual([])
      expect((await ask('POST', '/batch', { body })).status).toBe(200)
      const wrong = { commands: [{ do: 'create', resource: 'users', id: exampleId(0), body: {} }] }
      expect(contract.mistakes(schema, wrong)).not.toEqual([])
    })
  },
)

test('after its sunset every operation of a version answers 410, as its document says', async () => {
  const ended = await testApp(() => ({ now: () => Date.parse('2030-03-01') }))
  try {
    const contract = new Contract(JSON.parse(openApiDocument(model, buildViews(model).get('v1')!)))
    const key = await ended.key()
    for (const { method, path, value } of contract.operations.filter(({ value }) => value.tags[0] !== 'node')) {
      const url = path.replace('{id}', '019a3f00-0000-7000-8000-000000000001')
      const headers = { Authorization: `Bearer ${key}` }
      const response = await ended.app.fetch(
        new Request(`http://127.0.0.1/v1${url}`, { method, headers: { ...headers, Host: '127.0.0.1' } }),
      )
      const text = await response.text()
      const answer = { status: response.status, headers: response.headers, text, body: JSON.parse(text) }
      expect([value.operationId, answer.status, answer.body.type]).toEqual([
        value.operationId,
        410,
        '/problems/version-sunset',
      ])
      expect(contract.breaches(method, url, answer)).toEqual([])
    }
  } finally {
    await ended.stop()
  }
})
