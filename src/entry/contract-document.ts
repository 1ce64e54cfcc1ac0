/**
 * What an OpenAPI document says of a model: its operations, parameters, bodies and answers. What Perigee says of every
 * request alike, headers, problems and the node's own paths, and the examples, are left out: they promise nothing of the
 * model, and are ten times as long.
 */
export function modelDocument(document: Members, resources: readonly string[]): Members {
  const isOwn = (path: string) => [...resources, 'batch'].includes(path.split('/')[1] ?? '')
  const paths = entriesOf(document.paths).filter(([path]) => isOwn(path))
  const whole = {
    ...document,
    paths: mapMembers(Object.fromEntries(paths), (methods) => mapMembers(methods, operation)),
  }
  return { ...whole, components: usedComponents(whole) }
}

export type Members = Readonly<Record<string, unknown>>

/** The methods of each path of a document. */
export function pathsOf(document: Members): Record<string, string[]> {
  return Object.fromEntries(entriesOf(document.paths).map(([path, methods]) => [path, Object.keys(methods as Members)]))
}

function operation(whole: Members): Members {
  const { parameters, requestBody, responses } = whole as { [name: string]: Members & Members[] }
  const answers = entriesOf(responses).filter(([status]) => status < '400')
  return {
    ...whole,
    ...(parameters && { parameters: parameters.map(withoutExamples) }),
    ...(requestBody && { requestBody: { ...requestBody, content: mapMembers(requestBody.content, withoutExamples) } }),
    responses: mapMembers(Object.fromEntries(answers), ({ headers: _, content, ...answer }) => ({
      ...answer,
      ...(content !== undefined && { content: mapMembers(content, withoutExamples) }),
    })),
  }
}

function withoutExamples({ example: _, examples: __, ...rest }: Members): Members {
  return rest
}

/** The components that a document refers to, and those that they refer to. */
function usedComponents({ components, ...rest }: Members): Members {
  const all = new Map<string, Members>(
    entriesOf(components).flatMap(([kind, named]) =>
      entriesOf(named).map(([name, each]) => [`${kind}/${name}`, withoutExamples(each as Members)] as const),
    ),
  )
  const used = new Set<string>([...all.keys()].filter((name) => name.startsWith('securitySchemes/')))
  const open: unknown[] = [rest]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const [, name = ''] of JSON.stringify(next).matchAll(/"#\/components\/([^"]+)"/g)) {
      if (!used.has(name)) open.push(all.get(name))
      used.add(name)
    }
  }
  const kinds = entriesOf(components).map(([kind, named]) => {
    const kept = Object.keys(named as Members).filter((name) => used.has(`${kind}/${name}`))
    return [kind, Object.fromEntries(kept.map((name) => [name, all.get(`${kind}/${name}`)]))] as const
  })
  return Object.fromEntries(kinds.filter(([, named]) => Object.keys(named).length > 0))
}

function entriesOf(value: unknown): [string, unknown][] {
  return Object.entries((value ?? {}) as Members)
}

function mapMembers(value: unknown, made: (member: Members) => Members): Members {
  return Object.fromEntries(entriesOf(value).map(([name, each]) => [name, made(each as Members)]))
}
