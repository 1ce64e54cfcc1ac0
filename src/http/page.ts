import { baseHeaders } from './present.ts'

/** An orbit, and the point of it nearest the earth. */
const icon =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><ellipse cx="16" cy="16" rx="14" ry="10" fill="none" stroke="#8892a6" stroke-width="2"/><circle cx="10" cy="16" r="5" fill="#2b6cb0"/><circle cx="2.5" cy="16" r="2.5" fill="#dd6b20"/></svg>'

export interface Page {
  readonly title: string
  /** HTML beside the title. */
  readonly head?: string
  readonly body: string
  /** The directives of its Content-Security-Policy, beside those of every page: it loads and sends nothing else. */
  readonly policy: readonly string[]
  readonly caching: string
}

/** A page for people, every file of it from this server. */
export function pageResponse({ title, head = '', body, policy, caching }: Page): Response {
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:image/svg+xml,${encodeURIComponent(icon)}">
${head}</head>
<body>
${body}
</body>
</html>
`
  const directives = [
    "default-src 'none'",
    ...policy,
    ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
  ]
  return new Response(html, {
    headers: {
      ...baseHeaders,
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Security-Policy': directives.join('; '),
      'Cache-Control': caching,
    },
  })
}

/** The value of a `'nonce-...'` of a policy. */
export function newNonce(): string {
  return crypto.getRandomValues(new Uint8Array(16)).toBase64()
}

export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}
