/**
 * Writes what a Worker serves as files beside its program, which has no room for what makes them: the OpenAPI document of
 * each version, and the script of the documentation page. `wrangler.toml` runs it before each deployment.
 */
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { model } from '../model/index.ts'
import { buildViews } from '../version/view.ts'
import { projectRoot } from './node.ts'
import { openApi } from './open-api.ts'

const folder = join(projectRoot, '.wrangler', 'assets')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
cpSync(join(projectRoot, 'node_modules/@scalar/api-reference/dist/browser/standalone.js'), join(folder, 'scalar.js'))
for (const view of new Set(buildViews(model).values()))
  writeFileSync(join(folder, `openapi-${view.version.date}.json`), await openApi(model, view))
