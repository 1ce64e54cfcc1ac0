import Ajv2020, { type ValidateFunction } from 'ajv/dist/2020'
import addFormats from 'ajv-formats'
import type { Answer } from './server.ts'

// biome-ignore lint/suspicious/noExplicitAny: the document is JSON that the tests walk through freely.
export type Json = any

/** An operation of the document, by its method and path template. */
export interface Operation {
  readonly method: string
  readonly path: string
  readonly value: Json
}

/** Headers of the connection and the message, which OpenAPI leaves out. */
const unspoken = ['content-type', 'content-length', 'content-encoding', 'date', 'connection', 'keep-alive']

/** What an OpenAPI document promises, held against real answers. */
export class Contract {
  readonly document: Json
  private readonly ajv: Ajv2020
  private readonly validators = new Map<string, ValidateFunction>()

  constructor(document: Json) {
    this.document = document
    this.ajv = new Ajv2020({ strict: false, allErrors: true })
    addFormats(this.ajv)
    this.ajv.addSchema(document, 'document')
  }

  get operations(): Operation[] {
    const methods = (item: Json) => Object.entries(item as Record<string, Json>)
    return Object.entries(this.document.paths as Record<string, Json>).flatMap(([path, item]) =>
      methods(item).map(([method, value]) => ({ method: method.toUpperCase(), path, value })),
    )
  }

  /** What the document says of the operation that a request is for. Throws where it says nothing. */
  said(method: string, url: string): Json {
    const operation = this.operation(method, url)
    if (!operation) throw new Error(`${method} ${url} is not in the document`)
    return operation.value
  }

  /** The operation that a request is for: a literal part of a path wins over a parameter. */
  operation(method: string, url: string): Operation | undefined {
    const parts = (url.split('?')[0] ?? '').split('/')
    const fitting = this.operations.filter((each) => {
      const template = each.path.split('/')
      const fits = template.every((part, i) => part.startsWith('{') || part === parts[i])
      return each.method === method && template.length === parts.length && fits
    })
    return fitting.sort((a, b) => a.path.split('{').length - b.path.split('{').length)[0]
  }

  /** What a `$ref` of the document stands for; any other value as it is. */
  resolve(value: Json): Json {
    if (typeof value?.$ref !== 'string') return value
    const parts = value.$ref.slice(2).split('/') as string[]
    return parts.reduce((at, part) => at?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], this.document)
  }

  /** The problem types that an operation says it may answer with a status. */
  problemTypes(method: string, url: string, status: number): string[] {
    const response = this.resolve(this.said(method, url).responses[status])
    return response?.content?.['application/problem+json']?.schema.allOf[1].properties.type.enum ?? []
  }

  /** Everything in which an answer differs from what the document says of its operation. */
  breaches(method: string, url: string, answer: Answer): string[] {
    const operation = this.operation(method, url)
    if (!operation) return [`${method} ${url} is not in the document`]
    const where = `${method} ${operation.path} ${answer.status}`
    const response = this.resolve(operation.value.responses[answer.status])
    if (!response) return [`${where}: the status is not in the document`]
    return [...this.headerBreaches(response, answer), ...this.bodyBreaches(response, answer)].map(
      (breach) => `${where}: ${breach}`,
    )
  }

  private headerBreaches(response: Json, answer: Answer): string[] {
    const documented = new Map(
      Object.entries(response.headers ?? {}).map(([name, header]) => [name.toLowerCase(), this.resolve(header)]),
    )
    return [...answer.headers].flatMap(([name, text]) => {
      if (unspoken.includes(name)) return []
      const header = documented.get(name)
      if (!header) return [`the header ${name} is not in the document`]
      const value = header.schema.type === 'integer' ? Number(text) : text
      return this.mistakes(header.schema, value).map((mistake) => `${name}: ${text}: ${mistake}`)
    })
  }

  private bodyBreaches(response: Json, answer: Answer): string[] {
    const type = answer.headers.get('content-type')?.split(';')[0] ?? ''
    if (!response.content) return answer.text === '' ? [] : ['a body is not in the document']
    const content = response.content[type]
    if (!content) return [`the type ${type} is not in the document`]
    return this.mistakes(content.schema, answer.body)
  }

  /** In what a value differs from a schema, whose references are to this document. */
  mistakes(schema: Json, value: unknown): string[] {
    const absolute = JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"document#/')
    const validate = this.validators.get(absolute) ?? this.ajv.compile(JSON.parse(absolute))
    this.validators.set(absolute, validate)
    if (validate(value)) return []
    return (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`)
  }
}
