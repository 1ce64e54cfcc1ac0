import { baseHeaders } from './present.ts'

/** The documentation page: Scalar over `/openapi.json`, every file from this server. */
export function docsPage(title: string): Response {
  const configuration = JSON.stringify({ url: '/openapi.json', withDefaultFonts: false, telemetry: false })
  const name = title.replaceAll(/[&<>"]/g, '')
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${name}: API reference</title>
</head>
<body>
<div id="app"></div>
<script src="/docs/scalar.js"></script>
<script>Scalar.createApiReference('#app', ${configuration})</script>
</body>
</html>
`
  return new Response(html, {
    headers: {
      ...baseHeaders,
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy':
        "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'",
      'Cache-Control': 'no-cache',
    },
  })
}
