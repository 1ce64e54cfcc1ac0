import { z } from '@hono/zod-openapi'
import { limits } from '../../schema/limits.ts'
import type { ResourceView } from '../../version/view.ts'
import { jsonType } from '../body.ts'
import { problemsByKind } from './codes.ts'
import type { Draft, Route } from './draft.ts'
import * as example from './example.ts'
import { ofEveryWrite, type Parts } from './operation.ts'
import { bodySchema, type RecordSchemas, schemaName } from './record.ts'
import { answerHeaders } from './response-header.ts'
import { idSchema, wholeNumber } from './value.ts'

const commandName = z.string().openapi({ pattern: '^[\\w-]+$', maxLength: 64 })

/** `POST /batch`: many commands, one transaction. */
export function batchRoute(draft: Draft, { headers, problems, schemas }: Parts): Route {
  const views = writableViews(draft)
  const reference = draft.registry.register(
    'CommandReference',
    z.record(z.string(), commandName).openapi(referenceForm),
  )
  const commands = views.flatMap((view) => commandSchemas(draft, view, schemas, reference))
  const results = views.map((view) => resultSchema(draft, view, schemas))
  return {
    operationId: 'batch',
    tags: ['batch'],
    summary: 'Carry out several commands, all or nothing',
    description: describe(draft),
    security: [{ apiKey: ['write'] }],
    method: 'post',
    path: '/batch',
    parameters: [headers.version, headers.key, headers.requestId],
    request: {
      body: {
        required: true,
        content: {
          [jsonType]: {
            schema: draft.registry.register(
              'Batch',
              z.strictObject({ commands: z.array(z.union(commands)).min(1).max(limits.batchCommandsMax) }),
            ),
            examples: { commands: { summary: 'Create, change, delete', value: exampleBatch(draft) } },
          },
        },
      },
    },
    responses: {
      200: {
        description: 'What became of each command, in their order. All are durable.',
        headers: answerHeaders(...ofEveryWrite),
        content: {
          [jsonType]: {
            schema: draft.registry.register(
              'BatchResults',
              z.object({ results: z.array(z.union(results)).max(limits.batchCommandsMax) }),
            ),
            examples: { results: { summary: 'Created, changed, deleted', value: exampleResults(draft) } },
          },
        },
      },
      ...problems('batch', problemsByKind.batch),
    },
  }
}

function describe(draft: Draft): string {
  const text = `Up to ${limits.batchCommandsMax} commands on any resources commit in one transaction, in their order; where one fails, none has happened, and the problem's pointers name the command. \`ifVersion\` does what If-Match does for one record; 0 on a \`replace\` expects that there is none.

An id that an earlier command made can be used before it is known: name the command with \`as\`, and write \`{ "$ref": "name" }\` wherever an id may stand.`
  const commands = referringCommands(draft)
  return commands === null ? text : `${text}\n\n\`\`\`json\n${JSON.stringify({ commands }, null, 2)}\n\`\`\``
}

/** A record and those that it refers to, all new; null where the model has none that simple. */
function referringCommands(draft: Draft): object[] | null {
  const alone = new Set(exampleViews(draft).map((view) => view.resource.name))
  const view = writableViews(draft).find(
    ({ resource }) => resource.references.length > 0 && resource.references.every(({ to }) => alone.has(to)),
  )
  if (!view) return null
  const targets = [...new Set(view.resource.references.map((reference) => reference.to))]
  const makes = targets.map((target) => {
    const other = view.other(target)
    return { do: 'create', resource: other.name, as: `new-${target}`, body: example.exampleInput(draft.model, other) }
  })
  const body = example.exampleInput(draft.model, view)
  for (const [name, field] of view.fields) {
    const reference = view.resource.references.find((each) => each.column === field.column?.field.name)
    if (reference) body[name] = { $ref: `new-${reference.to}` }
  }
  return [...makes, { do: 'create', resource: view.name, body }]
}

/** Its member is named by a pattern: tools would take a schema with a property of that name for a reference. */
const referenceForm: Readonly<Record<string, unknown>> = {
  description: 'Stands for the id that an earlier command of the batch made: its name.',
  patternProperties: { '^\\$ref$': { type: 'string', pattern: '^[\\w-]+$', maxLength: 64 } },
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
}

function commandSchemas(
  draft: Draft,
  view: ResourceView,
  schemas: ReadonlyMap<string, RecordSchemas>,
  reference: z.ZodType,
): z.ZodType[] {
  const own = schemas.get(view.resource.name)
  if (!own) throw new Error(`broken invariant: ${view.name} has schemas`)
  const prefix = schemaName(view)
  const hasReferences = [...view.fields.values()].some((field) => field.writable && field.kind === 'id')
  const id = z.union([idSchema, reference])
  const body = (use: 'input' | 'patch', name: string) =>
    hasReferences ? draft.registry.register(prefix + name, bodySchema(view, use, id)) : own[use]
  const input = body('input', 'CommandInput')
  const patch = body('patch', 'CommandPatch')
  const resource = z.literal(view.name)
  const as = commandName.optional().openapi({ description: 'Names the command, for references by later ones.' })
  const ifVersion = (least: 0 | 1) =>
    wholeNumber(least)
      .optional()
      .openapi({
        description: `The version that the record must have${least === 0 ? ', 0 where there must be none' : ''}.`,
      })
  const register = (kind: string, shape: Record<string, z.ZodType>) =>
    draft.registry.register(
      `${prefix}${kind.charAt(0).toUpperCase()}${kind.slice(1)}Command`,
      z.strictObject({ do: z.literal(kind), resource, ...shape }),
    )
  return [
    register('create', { as, body: input }),
    register('replace', { id, as, ifVersion: ifVersion(0), body: input }),
    register('patch', { id, as, ifVersion: ifVersion(1), body: patch }),
    register('delete', { id, as, ifVersion: ifVersion(1) }),
  ]
}

function resultSchema(draft: Draft, view: ResourceView, schemas: ReadonlyMap<string, RecordSchemas>): z.ZodType {
  const record = schemas.get(view.resource.name)?.record ?? z.null()
  return draft.registry.register(
    `${schemaName(view)}Result`,
    z.object({
      status: z.int().openapi({ format: 'int32', minimum: 200, maximum: 204, enum: [200, 201, 204] }),
      resource: z.literal(view.name),
      id: idSchema,
      version: wholeNumber(1).nullable().openapi({ description: 'Null after a deletion.' }),
      record: z.union([record, z.null()]),
    }),
  )
}

function exampleBatch(draft: Draft) {
  const [view] = exampleViews(draft)
  if (!view) return { commands: [] }
  const resource = view.name
  const id = example.exampleId(draft.model, view.resource.name)
  return {
    commands: [
      { do: 'replace', resource, id, ifVersion: 0, body: example.exampleInput(draft.model, view) },
      { do: 'patch', resource, id, body: example.examplePatch(draft.model, view) },
      { do: 'delete', resource, id },
    ],
  }
}

function exampleResults(draft: Draft) {
  const [view] = exampleViews(draft)
  if (!view) return { results: [] }
  const shared = { resource: view.name, id: example.exampleId(draft.model, view.resource.name) }
  return {
    results: [
      { status: 201, ...shared, version: 1, record: example.exampleRecord(draft.model, view) },
      { status: 200, ...shared, version: 2, record: example.exampleChanged(draft.model, view) },
      { status: 204, ...shared, version: null, record: null },
    ],
  }
}

/** The resources whose example stands by itself, because it refers to no other. */
function exampleViews(draft: Draft): ResourceView[] {
  return writableViews(draft).filter((view) => view.resource.references.length === 0)
}

function writableViews({ view }: Draft): ResourceView[] {
  return [...view.resources.values()].filter(({ resource }) => !resource.isReadOnly)
}
