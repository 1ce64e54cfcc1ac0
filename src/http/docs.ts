import { baseHeaders } from './present.ts'

/**
 * What Scalar is told: the document is ours, and nothing of it or of its reader goes anywhere else. Its defaults would
 * load fonts, offer an assistant and link to services of its makers.
 */
const configuration = JSON.stringify({
  url: '/openapi.json',
  authentication: { preferredSecurityScheme: 'apiKey' },
  agent: { disabled: true },
  mcp: { disabled: true },
  telemetry: false,
  showDeveloperTools: 'never',
  hideClientButton: true,
  withDefaultFonts: false,
  documentDownloadType: 'json',
  orderSchemaPropertiesBy: 'preserve',
})

/** An orbit, and the point of it nearest the earth. */
const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><ellipse cx="16" cy="16" rx="14" ry="10" fill="none" stroke="#8892a6" stroke-width="2"/><circle cx="10" cy="16" r="5" fill="#2b6cb0"/><circle cx="2.5" cy="16" r="2.5" fill="#dd6b20"/></svg>'

/** Only this server's files, and of the page's own scripts only the one that has the nonce. */
function policyFor(nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}'`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** The documentation page: Scalar over `/openapi.json`, every file from this server. */
export function docsPage(title: string): Response {
  const name = title.replaceAll(/[&<>"]/g, '')
  const nonce = crypto.getRandomValues(new Uint8Array(16)).toBase64()
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${name}: API reference</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(icon)}">
</head>
<body>
<div id="app"></div>
<noscript>This page needs JavaScript. What it shows is in <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/scalar.js"></script>
<script nonce="${nonce}">Scalar.createApiReference('#app', ${configuration})</script>
</body>
</html>
`
  return new Response(html, {
    headers: {
      ...baseHeaders,
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy': policyFor(nonce),
      'Cache-Control': 'no-cache',
    },
  })
}
