import type { Problem } from '../problem.ts'
import type { Page } from '../read/page.ts'

/**
 * Headers of every answer. They are put into each header object when it is written down: a middleware that added
 * them afterwards costs 7 us of a request's budget of 50.
 */
export const baseHeaders = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
} as const

export const jsonHeaders = { ...baseHeaders, 'Content-Type': 'application/json' } as const

/** Answers to a key belong to its holder; answers without one may be shared, and are checked again each time. */
export const privateCaching = 'private, no-cache'
export const publicCaching = 'public, no-cache'

/** Request headers that change what a read answers. */
export const readVary = 'Authorization, API-Version, Origin'

/** The headers of an answer that has no body, since its reader has it. */
export function withoutBodyHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !Object.hasOwn(jsonHeaders, name)))
}

/** A problem as JSON (RFC 9457). */
export function problemText(problem: Problem, instance: string): string {
  return JSON.stringify(problem.body(instance))
}

export function problemResponse(
  problem: Problem,
  instance: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(problemText(problem, instance), {
    status: problem.status,
    headers: {
      ...baseHeaders,
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      ...headers,
      ...problem.details.headers,
    },
  })
}

/** The body of a list. */
export function pageBody(page: Page): string {
  const next = page.next === null ? 'null' : `"${page.next}"`
  const count = page.count === null ? '' : `,"count":${page.count}`
  return `{"data":[${page.records}],"next":${next}${count}}`
}

/** The Link header of a page (RFC 8288), or null where there is no page before or after. */
export function pageLinks(path: string, search: string, page: Page): string | null {
  const links: string[] = []
  if (page.next !== null) links.push(`<${path}${withCursor(search, 'after', page.next)}>; rel="next"`)
  if (page.previous !== null) links.push(`<${path}${withCursor(search, 'before', page.previous)}>; rel="prev"`)
  return links.length === 0 ? null : links.join(', ')
}

function withCursor(search: string, name: 'after' | 'before', cursor: string): string {
  const kept = search
    .replace(/^\?/, '')
    .split('&')
    .filter((pair) => pair !== '' && !/^(after|before)(=|$)/.test(pair))
    .map((pair) => pair.replaceAll(/[<>"\\^`{|} ]/g, (char) => encodeURIComponent(char)))
  return `?${[...kept, `${name}=${cursor}`].join('&')}`
}

/** Stages and their times for Server-Timing, in milliseconds. */
export function serverTiming(stages: readonly (readonly [name: string, milliseconds: number])[]): string {
  let text = ''
  for (const [name, milliseconds] of stages) {
    if (text !== '') text += ', '
    text += `${name};dur=${Math.round(milliseconds * 1000) / 1000}`
  }
  return text
}
