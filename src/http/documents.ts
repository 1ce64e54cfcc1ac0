import type { Hono } from 'hono'
import { Problem, problemCodes, problemType } from '../problem.ts'
import { requireServed, stateOf, tellLife } from './life.ts'
import { chooseView } from './negotiation.ts'
import { baseHeaders, jsonHeaders, readVary } from './present.ts'
import type { Service } from './service.ts'

const keptMinute = { 'Cache-Control': 'public, max-age=60' }

/** What the API says of itself, to programs and to people: no key is needed, and no record is read. */
export function addDocuments(hono: Hono, service: Service) {
  const { versions } = service.model
  for (const alias of [null, ...versions.map((each) => each.alias)]) addOpenApi(hono, service, alias)
  hono.get('/docs', async () => {
    const { docsPage } = await import('./docs.ts')
    return docsPage(
      service.model,
      versions.filter((each) => stateOf(each, service.now()) !== 'sunset'),
    )
  })
  hono.get('/docs/scalar.js', () => service.docsScript())
  hono.get('/', () => new Response(null, { status: 302, headers: { ...baseHeaders, Location: '/docs' } }))
  hono.get('/versions', async () => {
    const { listVersions } = await import('./changelog.ts')
    return json({ data: listVersions(service.model, service.now()) })
  })
  hono.get('/changelog.json', async () => {
    const { changelog } = await import('./changelog.ts')
    return json({ data: changelog(service.model, service.now()) })
  })
  hono.get('/changelog', async () => {
    const { changelogPage } = await import('./changelog.ts')
    return changelogPage(service.model, service.now())
  })
  hono.get('/problems/:code', (c) => {
    const code = problemCodes.find((each) => each === c.req.param('code'))
    if (!code) throw new Problem('not-found', { detail: 'There is no such problem type.' })
    return new Response(JSON.stringify(problemType(code)), {
      headers: { ...jsonHeaders, 'Cache-Control': 'public, max-age=3600' },
    })
  })
}

function json(value: object): Response {
  return new Response(JSON.stringify(value), { headers: { ...jsonHeaders, ...keptMinute } })
}

/** The document of the version that the path or the header names, else of the default. */
function addOpenApi(hono: Hono, service: Service, alias: string | null) {
  const path = `${alias === null ? '' : `/${alias}`}/openapi.json`
  hono.get(path, async (c) => {
    const view = chooseView(service, undefined, alias, c.req.raw.headers.get('api-version'))
    requireServed(service, view)
    const { date } = view.version
    const headers: Record<string, string> = { ...jsonHeaders, ...keptMinute, 'API-Version': date, Vary: readVary }
    tellLife(headers, service.lives.get(date), path, null)
    return new Response(await service.openApi(service.model, view), { headers })
  })
}
