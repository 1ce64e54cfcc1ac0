import type { Model } from '../schema/model.ts'
import type { Version } from '../schema/versions.ts'
import { newNonce, pageResponse } from './page.ts'

/**
 * What Scalar is told: the documents are ours, and nothing of them or of their reader goes anywhere else. Its defaults
 * would load fonts, offer an assistant and link to services of its makers.
 */
const configuration = {
  authentication: { preferredSecurityScheme: 'apiKey' },
  agent: { disabled: true },
  mcp: { disabled: true },
  telemetry: false,
  showDeveloperTools: 'never',
  hideClientButton: true,
  withDefaultFonts: false,
  documentDownloadType: 'json',
  orderSchemaPropertiesBy: 'preserve',
}

/** Each version's document, the newest first; the page opens with the default. */
function sourcesOf({ defaultVersion }: Model, versions: readonly Version[]) {
  return versions.toReversed().map(({ date, alias, deprecated }) => ({
    title: `${date} (${alias})${deprecated === null ? '' : ', deprecated'}`,
    ...{ slug: alias, url: `/${alias}/openapi.json`, default: date === defaultVersion.date },
  }))
}

/** The documentation page: Scalar over the documents of these versions, every file from this server. */
export function docsPage(model: Model, versions: readonly Version[]): Response {
  const nonce = newNonce()
  const options = JSON.stringify({ ...configuration, sources: sourcesOf(model, versions) })
  return pageResponse({
    title: `${model.title}: API reference`,
    body: `<div id="app"></div>
<noscript>This page needs JavaScript. What it shows is in <a href="/openapi.json">/openapi.json</a>; what changed is in <a href="/changelog">/changelog</a>.</noscript>
<script src="/docs/scalar.js"></script>
<script nonce="${nonce}">Scalar.createApiReference('#app', ${options})</script>`,
    policy: [
      // Of the page's own scripts, only the one that has the nonce.
      `script-src 'self' 'nonce-${nonce}'`,
      "style-src 'self' 'unsafe-inline'",
      "img-src 'self' data: blob:",
      "font-src 'self' data:",
      "connect-src 'self'",
      "worker-src 'self' blob:",
    ],
    caching: 'no-cache',
  })
}
